"""`Simulation`: an application on one node or several, under a seeded scheduler, a virtual clock and a fault plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from everact import ActorSystem, Settings
from everact.storage.protocol import Selection
from everact.tasks.cancellation import CancelOutcome, WorkflowCancelOutcome
from everact.tasks.errors import ConfigurationError, EverActError, WaitTimeout
from everact.tasks.ids import TaskId
from everact.tasks.registration import specify
from everact.tasks.task import type_name
from everact.tasks.workflow import Workflow
from everact.testing.checkers import check_all
from everact.testing.choices import Policy, RandomWalk, Replay
from everact.testing.client import Client
from everact.testing.evidence import Evidence
from everact.testing.expectation import Expectation
from everact.testing.fault_points import names
from everact.testing.faults import Faults
from everact.testing.fiber import NodeDied
from everact.testing.fingerprint import check_fingerprint, fingerprint
from everact.testing.history import History, What
from everact.testing.node import Node
from everact.testing.report import report
from everact.testing.schedule import Schedule
from everact.testing.sim_task import SimTask
from everact.testing.strays import Strays
from everact.testing.trace import Trace, undo_of
from everact.testing.until import Until, idle
from everact.testing.world import INLINE, World

__tracebackhide__ = True  # for pytest
DAY = 86_400.0
ALL = 1_000_000_000
Named = SimTask | TaskId


class NotAtRest(EverActError, TimeoutError):
    """A simulation was to run until something is the case, and it was not in that time."""


class Simulation:
    """Runs your handlers on real systems, with chance, time and faults in your hands. Use it as a context manager.

    The same arguments give the same history, event for event. A task's code runs as in production, on threads of which
    one at a time goes on; where it waits through everact (`ctx.cancellation.wait`), virtual time passes.

    Args:
        handlers: As for `ActorSystem`.
        nodes: How many systems share the storage; "node-1", "node-2" and so on.
        seed: Decides who runs when, ids and jitter.
        schedule: What a failing run has printed, to be replayed; in the place of `seed`, and of `faults` if these are
            not given.
        policy: Another way to make the choices; in the place of both.
        faults: What goes wrong.
        max_faults: How many more faults the seed, or the policy, may add where something could go wrong.
        storage: "sqlite", a file that is removed in the end; "memory", which stands for a file, is faster and serves
            one node; or "memory://" for what applications have under that name: its commits do not fail, and as
            nothing outlives the node, it may not die.
        settings: As for `ActorSystem`; metrics are off.
        middleware: As for `ActorSystem`.
        events: Whether somebody subscribes to events. Where nobody does, nobody waits for what a task has come to, and
            its end may be written along with something else.

    Raises:
        ConfigurationError: An argument has no meaning.
        StaleSchedule: The schedule was recorded with another application.

    Example:
        >>> from everact import task
        >>> from everact.testing import Faults, Simulation, What, attempt
        >>> @task(name="Charge")
        ... def charge(amount: int) -> int:
        ...     return amount
        >>> plan = Faults(fail=[("Charge", attempt(1), TimeoutError)], crash_at=[2])
        >>> with Simulation([charge], seed=7, faults=plan) as sim:
        ...     order = sim.dispatch(charge.task(5))
        ...     sim.run()
        ...     _ = sim.expect(order).completed(5)
        ...     sim.check_all()
        ...     [event.detail for event in sim.history.of(What.CRASHED)]
        ['before commit 2']
    """

    def __init__(
        self,
        handlers: Iterable[object],
        *,
        nodes: int = 1,
        seed: int = 0,
        schedule: str | None = None,
        policy: Policy | None = None,
        faults: Faults | None = None,
        max_faults: int = 0,
        storage: str = "sqlite",
        settings: Settings | None = None,
        middleware: Sequence[Any] = (),
        events: bool = True,
    ) -> None:
        self.specs = specify(handlers)
        self._node_count = nodes
        if faults is None and schedule is not None:
            faults = Faults.from_data(Schedule.parse(schedule).more.get("faults", {}))
        self._check(nodes, storage, faults or Faults(), max_faults)
        self._fingerprint = fingerprint(self.specs, nodes, storage)
        if schedule is not None:
            check_fingerprint(Schedule.parse(schedule), self._fingerprint, self.specs, nodes, storage)
        self._policy = policy or (RandomWalk(seed) if schedule is None else Replay(schedule))
        quiet = replace(settings or Settings(), metrics=False)
        self._world = World(
            self._policy, faults or Faults(), storage, quiet, self.specs, middleware, max_faults, events
        )
        self._client = Client(self._world, self._stored_name)
        self._left: list[str] = []
        self.strays = Strays(self._policy.seed)
        self._open = ExitStack()
        self.reports = True
        """Whether an error that leaves the `with` gets a report as its note."""

    def _check(self, nodes: int, storage: str, faults: Faults, max_faults: int) -> None:
        if type(nodes) is not int or nodes < 1:
            msg = f"nodes={nodes!r} must be a whole number of at least 1"
            raise ConfigurationError(msg)
        if storage not in ("sqlite", "memory", INLINE) or (storage != "sqlite" and nodes > 1):
            msg = f'storage={storage!r} for {nodes} node(s) has no meaning; it is "sqlite", or "memory" for one node'
            raise ConfigurationError(msg)
        refused = [*faults.durable_ones(), *["max_faults"] * bool(max_faults)] if storage == INLINE else []
        if refused:
            msg = (
                f'{", ".join(refused)} would let a node or a commit fail; give {INLINE} none, or take storage="memory"'
            )
            raise ConfigurationError(msg)
        known = [name for spec in self.specs for name in (spec.name, *([undo_of(spec.name)] * spec.compensates))]
        for name in sorted(faults.task_names()):
            if not any(names(name, each) for each in known):
                msg = f"the fault plan names task {name!r}, but no handler is for it; there are {', '.join(known)}"
                raise ConfigurationError(msg)
        strangers = faults.node_names() - {f"node-{number + 1}" for number in range(nodes)}
        if strangers:
            msg = f"the fault plan names {', '.join(sorted(strangers))}; there are node-1 to node-{nodes}"
            raise ConfigurationError(msg)

    # -- from beginning to end -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._open.enter_context(self.strays)
            self._world.begin(self._node_count)
            for name, step in self.faults.cancel:
                self._cancel_at(name, step, self._client.cancel, "cancel")
            for name, step in self.faults.cancel_workflow:
                self._cancel_at(name, step, self._client.cancel_workflow, "cancel the workflow of")
        except BaseException:
            self.close()
            raise
        return self

    def _cancel_at(self, name: str, step: int, cancel: Callable[[UUID], object], verb: str) -> None:
        firsts, history = self._world.book.firsts, self.history

        def act() -> None:
            try:
                cancel(UUID(bytes=firsts[name]))
            except EverActError as error:  # whoever has asked is told that
                history.add("client", What.REFUSED, history.known(firsts[name]), detail=type(error).__name__)

        self._world.at_step(step, lambda: name in firsts, act, f"{verb} {name}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.reports and isinstance(error, Exception) and not type(error).__module__.startswith("hypothesis"):
            error.add_note(f"\n{report(self, error)}")
        self.close()

    def close(self) -> None:
        """End it where it is, as a kill would: no thread is left behind, and no file."""
        self._left = self._world.end()
        self._open.close()

    # -- what a client does --------------------------------------------------------------------------------

    def dispatch(self, task: object, *, node: str | None = None, id: TaskId | None = None, **options: Any) -> SimTask:
        """Dispatch a task as a careful client does: asked again, with the same id, when the outcome is unknown.

        Args:
            task: As for `ActorSystem.dispatch`.
            node: Where; by default at the first one that lives.
            id: The task's id.
            **options: As for `ActorSystem.dispatch`.

        Raises:
            StorageFull, StorageBusy: Nothing was stored.
            Others as `ActorSystem.dispatch`.
        """
        return SimTask(self, self._client.dispatch(task, node, id, options))

    def cancel(self, task: Named, reason: str = "") -> CancelOutcome:
        """Cancel a task; see `ActorSystem.cancel`."""
        return self._client.cancel(_id(task), reason)

    def cancel_workflow(self, task: Named, reason: str = "") -> WorkflowCancelOutcome:
        """Cancel a workflow, named by its root, and have it undone; see `ActorSystem.cancel_workflow`."""
        return self._client.cancel_workflow(_id(task), reason)

    def resume(self, task: Named, *, skip: bool = False, note: str = "") -> None:
        """Let a stuck workflow, named by its root, go on; see `ActorSystem.resume`."""
        self._client.resume(_id(task), skip=skip, note=note)

    # -- what happens to nodes -----------------------------------------------------------------------------

    def kill(self, node: str = "node-1") -> None:
        """Kill a node where it is, between two steps of its threads."""
        self._world.node(node).kill("by the test")

    def restart(self, node: str = "node-1") -> None:
        """Start a node that is dead; one that lives is killed first."""
        found = self._world.node(node)
        found.kill("by the test, to be restarted")
        self._world.start(found)

    def stop(self, node: str = "node-1", timeout: float = 30.0) -> None:
        """Stop a node as a deploy does; `restart` starts it again, and so does `run`."""
        with suppress(NodeDied):
            self._world.node(node).stop(timeout)

    # -- time ----------------------------------------------------------------------------------------------

    @property
    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._world.scheduler.time

    def advance(self, seconds: float) -> None:
        """Let so many virtual seconds pass. Dead nodes stay dead."""
        self._world.scheduler.wait(lambda: False, seconds, "lets time pass", None)

    def run(self, until: Until = idle, timeout: float = DAY) -> None:
        """Let things happen until something is the case. Nodes that die, or are dead, are started again.

        Args:
            until: `idle`, `drained`, or any function of the simulation that says whether it is the case.
            timeout: Virtual seconds.

        Raises:
            NotAtRest: It was not the case in that time.
            Deadlock, Hung: Nobody can run any more, or one thread keeps all others from it.
        """
        scheduler = self._world.scheduler
        deadline = scheduler.time + timeout
        while True:
            revival = self._world.revive()
            if until(self):
                if self._settle(until, deadline):
                    return
                continue
            if scheduler.time >= deadline:
                raise NotAtRest(self._busy(until, timeout))
            end = deadline if revival is None else min(revival, deadline)
            alive = [node for node in self._world.nodes.values() if node.alive]
            scheduler.wait(
                lambda alive=alive: until(self) or not all(node.alive for node in alive),  # type: ignore[misc]
                end - scheduler.time,
                "lets things happen",
                None,
            )

    def _settle(self, until: Until, deadline: float) -> bool:
        """Let nodes come to rest as well, where it is rest that is waited for; False if that has changed something."""
        if until is not idle and until.__name__ != "drained":
            return True
        for node in self._world.nodes.values():
            if not node.alive:
                continue
            try:
                with node.called() as system:
                    system.wait_idle(max(deadline - self.time, 1.0))
                    self._hear(system)
            except NodeDied:
                return False
            except WaitTimeout as error:
                raise NotAtRest(str(error)) from error
        return bool(until(self))

    def _hear(self, system: ActorSystem) -> None:
        """Let subscribers be told what there is to tell."""
        inbox = system._running().node.stream.actor_inbox
        self._world.scheduler.wait(lambda: not inbox.qsize(), None, "lets subscribers be told", None)

    def _busy(self, until: Until, timeout: float) -> str:
        book, history = self._world.book, self.history
        busy = ", ".join(sorted(map(history.known, book.busy))) or "nothing"
        later = ", ".join(sorted(map(history.known, book.later))) or "nothing"
        wanted = getattr(until, "__name__", "what was waited for")
        return (
            f"not {wanted} after {timeout:g} virtual seconds: {busy} is queued, running or waits for a retry, "
            f"{later} is scheduled for later"
        )

    # -- looking at it -------------------------------------------------------------------------------------

    @property
    def history(self) -> History:
        """What has happened."""
        return self._world.history

    @property
    def faults(self) -> Faults:
        """What was planned to go wrong, with what the policy has added: with the schedule, this replays the run."""
        return self._world.points.plan

    @property
    def trace(self) -> Trace:
        """The steps of the scheduler."""
        return self._world.scheduler.trace

    @property
    def steps(self) -> int:
        """How many steps there were."""
        return self._world.scheduler.steps

    @property
    def schedule(self) -> str:
        """What replays this run, so far: `Simulation(..., schedule=...)` with the same faults."""
        return str(Schedule(self._fingerprint, self._policy.seed, tuple(self._world.scheduler.choices)))

    def replay(self, **more: Any) -> str:
        """The schedule with the fault plan in it, where that is plain data, and with whatever is given."""
        if not self.faults.portable:
            more.pop("faults", None)
        elif self.faults.count:
            more["faults"] = self.faults.to_data()
        return str(Schedule(self._fingerprint, self._policy.seed, tuple(self._world.scheduler.choices), more))

    @property
    def system(self) -> ActorSystem:
        """The system of a node that lives, to read from it; the first is started if none does."""
        return self._world.living().system

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes by name."""
        return self._world.nodes

    def workflow(self, task: Named) -> Workflow:
        """Read a workflow, named by its root."""
        return self.system.workflow(_id(task))

    def expect(self, task: Named) -> Expectation:
        """Say what is expected of a task, and of the workflow that it is the root of."""
        return Expectation(self, UUID(str(_id(task))))

    def check_all(self) -> None:
        """Hold the history to everact's promises.

        Raises:
            PromiseBroken: It breaks some; the message says which, in the names of your tasks.
            NotSimulated: A handler did what the simulation does not control, and the seed does not decide.
        """
        self.strays.check()
        check_all(self)

    def evidence(self) -> Evidence:
        """What the checkers look at: the history, and what is stored now."""
        world = self._world
        storage = world.living().storage
        workflows = storage.workflows(None, b"", ALL)
        return Evidence(
            history=self.history,
            records=storage.select(Selection(limit=ALL)),
            workflows=workflows,
            logs={row.id: storage.undo_log(row.id) for row in workflows},
            specs={name: spec for spec in self.specs for name in (spec.name, *spec.aliases)},
            faults=self.faults,
            at_rest=idle(self),
            errors=world.scheduler.errors,
            resident={node: (most, world.room(self.specs)) for node, most in world.book.resident.items()},
            time=self.time,
            events=world.events,
        )

    def __repr__(self) -> str:
        return f"<Simulation of {self._node_count} node(s) after {self.steps} steps and {self.time:.3f} s>"

    def _stored_name(self, task: object) -> str:
        found = next((spec.name for spec in self.specs if spec.task_type is type(task)), None)
        return found or type_name(type(task))


def _id(task: Named) -> TaskId:
    return task.id if isinstance(task, SimTask) else task
