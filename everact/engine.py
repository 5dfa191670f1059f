"""One start of a system: its actors wired together, its way up and its way down."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from everact.actors.backlog import Backlog
from everact.actors.baton import Waiter
from everact.actors.dispatcher import Dispatcher
from everact.actors.elastic_executor import ElasticExecutor
from everact.actors.environment import Environment
from everact.actors.event_stream import EventStream
from everact.actors.executor import LoopExecutor, PinnedExecutor
from everact.actors.handler_actor import HandlerActor
from everact.actors.journal import Journal
from everact.actors.liveness import Liveness
from everact.actors.messages import FinishDelivery, InTurn, Retire
from everact.actors.node import Node
from everact.actors.pool import Pool
from everact.actors.retention import Retention
from everact.actors.router import Router
from everact.actors.runtime import Runtime
from everact.actors.shared_executor import SharedExecutor
from everact.actors.storage_seam import StorageSeam
from everact.actors.ticket import Delivery
from everact.actors.timer import Timer
from everact.config import Settings
from everact.meter import Meter
from everact.storage.codec import TaskCodec
from everact.storage.protocol import Storage, outcome_of
from everact.supervision.compensation import CompensationSupervisor
from everact.supervision.dead_letters import DeadLetters
from everact.supervision.guardian import Guardian
from everact.supervision.handler_supervisor import HandlerSupervisor
from everact.supervision.intensity import Intensity
from everact.tasks import status as st
from everact.tasks.cancellation import CancelReason
from everact.tasks.errors import RestartsExhausted, SystemNotRunning
from everact.tasks.events import ActorRestarted, ChildFailed, Event
from everact.tasks.failure import error_name, error_text
from everact.tasks.registration import HandlerSpec
from everact.version import __version__

logger = logging.getLogger("everact")
POLL_SECONDS = 0.005
LONGEST_JOIN = 5.0
ROOT_INTENSITY = Intensity(10, within=10)
"""What internal actors may fail, all together. One that has failed in a turn goes on in place, its state being what
storage and the resident tickets say; ten times in ten seconds is not going on."""
ACTOR_RESERVE = 3.0
"""Of that, what is kept for actors that do not stop in their time, and for what stops after them."""


class Engine:
    """The actors of one incarnation.

    Built by `ActorSystem.start`. Its parts start in the order journal, timer, pools and stop in reverse.

    Attributes:
        node: What the actors share.
        nowhere: The pool of task types that have no handler here.
    """

    def __init__(
        self,
        name: str,
        runtime: Runtime,
        storage: Storage,
        settings: Settings,
        handlers: Sequence[tuple[HandlerSpec, TaskCodec]],
        middleware: tuple[Any, ...],
    ) -> None:
        self._storage = storage = StorageSeam(runtime, storage)
        self.settings = settings
        self._name = name
        self._runtime = runtime
        incarnation = storage.open(runtime.now())
        stream = EventStream(runtime, f"{name}/events")
        journal = Journal(runtime, f"{name}/journal", storage, incarnation, stream)
        # What memory:// holds is in memory already, in the mailbox or not.
        high = settings.high_water if storage.durable else math.inf
        pools = [Pool(spec, codec, high) for spec, codec in handlers]
        dispatcher = Dispatcher(runtime, storage, pools, stream.call_back)
        backlog = Backlog(storage, journal.tickets, dispatcher.named, incarnation)
        router = Router(runtime, journal.tickets, backlog, pools, max_crashes=settings.max_crashes, agenda_bound=high)
        timer = Timer(runtime, f"{name}/timer", lambda: journal.submit(InTurn(router.due)))
        router.submit, router.wake_at, router.call_after = journal.submit, timer.wake_at, timer.call_after
        journal.router = journal.settlement.router = router
        journal.call_after = timer.call_after
        journal.reserve.call_after = timer.call_after
        journal.patience.seconds = settings.commit_timeout
        retention = Retention(storage, settings.retention, runtime.monotonic)
        self._liveness = Liveness(storage, stream, journal, router, timer, pools, retention)
        self.node = Node(
            runtime, journal, timer, stream, dispatcher, settings.grace, settings.error_limit, middleware, pools
        )
        journal.settlement.signalled = CompensationSupervisor(self.node).signalled
        self.nowhere = Pool.nowhere()
        journal.tell_restart = timer.tell_restart = self._tell_restart
        self._elastic = ElasticExecutor(runtime, f"{name}/worker")
        self._elastic.call_after = timer.call_after
        self._elastic.keeps_back, self._elastic.let_go = journal.keeps_back, journal.let_go
        self._elastic.urgent = not journal.inline
        self._loop: LoopExecutor | None = None
        self._restarts: tuple[float, ...] = ()
        self._spawning = runtime.lock()
        self._actors_stop = False
        self._deadline = math.inf
        self.guardian: Guardian | None = None
        self.dead_letters = DeadLetters(stream.publish)
        self.environment = Environment(
            runtime,
            shared=SharedExecutor(runtime, f"{name}/actors"),
            make_loop=self._event_loop,
            call_after=timer.call_after,
            on_dead_letter=self.dead_letters.add,
            publish=self._publish,
        )
        self._build_cells()
        self.meter = Meter(name, __version__, self) if settings.metrics else None

    @property
    def storage(self) -> Storage:
        """Where records are, with all that was dispatched and has ended by now."""
        self.node.journal.catch_up(self.settings.commit_timeout)
        return self._storage

    # -- the way up ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the actors, then take over what dead incarnations left behind. Returns when that is routed."""
        node = self.node
        node.stream.start_thread()
        node.timer.start_thread()
        adoption = self._liveness.adopt_at_start(self._runtime.now())
        node.journal.start_thread()
        self._liveness.begin(adoption)
        if self.meter is not None:
            self.meter.expose()

    def _tell_restart(self, path: str, error: BaseException) -> None:
        told = f"{error_name(error)}: {error_text(error)}"
        self.node.decided("internal", "resume")
        self.node.stream.publish(ActorRestarted(self._runtime.now(), path, told))
        history = ROOT_INTENSITY.admit(self._runtime.monotonic(), self._restarts)
        if history is not None:
            self._restarts = history
            return
        limit = ROOT_INTENSITY
        gives_up = RestartsExhausted(self._name, path, told, limit.restarts, limit.within)
        gives_up.__cause__ = error
        self.node.dispatcher.system._escalated(gives_up)

    def _build_cells(self) -> None:
        if any(pool.spec.is_async for pool in self.node.pools):
            self._event_loop()
        for pool in self.node.pools:
            path = f"{self._name}/{pool.spec.name}"
            supervisor = HandlerSupervisor(self.node, f"{path}/supervisor", pool, self._elastic)
            for number in range(pool.spec.concurrency):
                cell = HandlerActor(self.node, f"{path}/{number}", pool, self._executor_for(pool.spec, path))
                cell.supervisor = supervisor
                supervisor.tell_restart = self._tell_restart
                pool.add(cell)

    def _executor_for(self, spec: HandlerSpec, path: str) -> Callable[[], Any]:
        if spec.is_async:
            return lambda: self._loop
        if spec.pinned:
            return partial(PinnedExecutor, self._runtime, path)
        return lambda: self._elastic

    @property
    def unhandled(self) -> int:
        """How many stored tasks have no handler here."""
        return sum(self._liveness.unhandled.values())

    def _publish(self, event: Event) -> None:
        """What a supervisor of the user's actors has to tell."""
        if isinstance(event, ChildFailed):
            self.node.decided("user", event.decision)
        self.node.stream.publish(event)

    def _event_loop(self) -> LoopExecutor:
        if self._loop is None:
            self._loop = LoopExecutor(self._runtime, f"{self._name}/loop")
        return self._loop

    def guardian_of_users(self) -> Guardian:
        """The top of the tree of spawned actors, made for the first of them."""
        with self._spawning:
            if self._actors_stop:
                raise SystemNotRunning(self._name, "stopping")
            if self.guardian is None:
                system = self.node.dispatcher.system
                self.guardian = Guardian(self.environment, f"{self._name}/user", system._escalated)
            return self.guardian

    # -- the way down --------------------------------------------------------------------------------------

    def stop(self, timeout: float) -> None:
        """Stop: nothing new starts, running work may finish for `timeout` seconds, then it is told to stop.

        What has not stopped `grace` seconds later is left behind; its task is QUEUED again and the attempt
        does not count. Returns within timeout + grace + 5 s.

        What is raised on the way, a Ctrl-C above all, ends one step only, and comes out after the last one.
        """
        self._deadline = self._runtime.monotonic() + timeout + self.settings.grace + LONGEST_JOIN
        steps: list[Callable[[], object]] = [
            self._close_doors,
            partial(self._wait_until_quiet, timeout),
            self._hurry,
            self._leave_all_behind,
            self._give_claims_back,
            partial(self._stop_actors, timeout),
            self._retire_instances,
            *(partial(self._stop_thread, actor) for actor in (self.node.timer, self.node.journal, self.node.stream)),
            self._dismiss,
            self._close_executors,
            self._storage.close,
        ]
        raised: BaseException | None = None
        for step in steps:
            try:
                step()
            except BaseException as error:
                # Ctrl-C is impatience with this step; without the others the file would stay open, and tasks claimed.
                raised = raised or error
                timely = self._runtime.monotonic() + self.settings.grace + LONGEST_JOIN
                self._deadline = min(self._deadline, timely)
        if raised is not None:
            raise raised

    def _close_doors(self) -> None:
        if self.meter is not None:
            self.meter.close()
        for pool in self.node.pools:
            pool.closed = True

    def _hurry(self) -> None:
        """Tell what still runs to stop."""
        for delivery in self._deliveries():
            delivery.signal(CancelReason.SHUTDOWN)
        self._wait_until_quiet(self.settings.grace)

    def _leave_all_behind(self) -> None:
        for delivery in self._deliveries():
            self._leave_behind(delivery)

    def _stop_thread(self, actor: Any) -> None:
        if not actor.stop_thread(self._left()):
            logger.error("%s did not stop in time; it is left behind", actor.actor_urn)

    def _dismiss(self) -> None:
        self.node.journal.flush()
        self.node.journal.dismiss(SystemNotRunning(self._name, "stopped"))
        self._report_unfinished()

    def _stop_actors(self, timeout: float) -> None:
        """Handlers may use the user's actors, so these stop after them; they may dispatch, so before the journal."""
        with self._spawning:
            self._actors_stop = True
        if self.guardian is not None:
            in_order = min(self._left() - ACTOR_RESERVE, max(timeout, self.settings.grace))
            self.guardian.stop(max(in_order, 0.0))

    def _left(self) -> float:
        return max(self._deadline - self._runtime.monotonic(), 0.05)

    def _close_executors(self) -> None:
        for pool in self.node.pools:
            for cell in pool.cells:
                cell.close()
        self._elastic.close()
        self.environment.shared.close()
        if self._loop is not None:
            self._loop.close()
            self._loop.join(self._left())

    def _deliveries(self) -> list[Delivery]:
        running = self.node.journal.tickets.running()
        return [ticket.delivery for ticket in running if ticket.delivery is not None and not ticket.delivery.closed]

    def _wait_until_quiet(self, timeout: float) -> bool:
        """Wait for running deliveries to end, looking now and then: a stop is rare, and waits on many things."""
        deadline = self._runtime.monotonic() + timeout
        while self._deliveries():
            left = deadline - self._runtime.monotonic()
            if left <= 0:
                return False
            self._runtime.gate().wait(min(POLL_SECONDS, left))
        return True

    def _leave_behind(self, delivery: Delivery) -> None:
        delivery.abandoned = True
        delivery.cell.leave_behind(delivery)
        logger.warning("%r did not stop in its grace time; it is left behind and runs again", delivery.ctx)

    def _give_claims_back(self) -> None:
        """Adopted rows that were claimed and never started go back to QUEUED, or they would look crashed."""
        for ticket in list(self.node.journal.tickets.resident.values()):
            record = ticket.record
            if ticket.delivery is None and record.status == st.RUNNING:
                outcome = outcome_of(record, st.QUEUED)
                outcome.due = min(record.due, self._runtime.now())  # QUEUED is what may start now
                self.node.journal.submit(FinishDelivery(ticket, outcome, ()))

    def _retire_instances(self) -> None:
        waiters = []
        for pool in self.node.pools:
            for cell in pool.cells:
                if cell.instance is not None and "on_actor_stop" in pool.spec.hooks:
                    waiter = Waiter(self._runtime.gate)
                    waiters.append(waiter)
                    cell.tell(Retire(waiter))
        for waiter in waiters:
            if not waiter.wait(self._left()):
                logger.warning("an on_actor_stop did not return in time; it is left behind")

    def _report_unfinished(self) -> None:
        unfinished = len(self.node.journal.tickets.resident)
        if unfinished and not self._storage.durable:
            logger.warning("%s kept its tasks in memory: %d unfinished task(s) are dropped", self._name, unfinished)
