"""Plays a plan, and writes down what is committed and what handlers do, in the order in which it happens."""

from __future__ import annotations

import json
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from everact import ActorSystem, Retry, Saga, Settings, Step, TaskContext, TaskHandler, WorkflowState, parallel
from everact.storage.changes import Changes
from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Batch, Committed, Outcome, Selection
from everact.storage.sqlite import SqliteStorage
from everact.tasks import status
from everact.tasks.errors import EverActError, TaskTimeout
from everact.tasks.record import COMPENSATION, TASK, Record
from everact.tasks.unwinding import EntryState
from everact.testing.seeded import SeededRuntime
from undoing.plans import Doing, Plan, Stages

DEADLINE = 600.0
"""Virtual seconds in which each workflow must have ended, or be stuck."""
TIMEOUT, GRACE, LONG = 5.0, 1.0, 30.0
NO_STEP = -1
SMALL = Settings(grace=GRACE, metrics=False)


@dataclass(frozen=True)
class Do:
    n: int


@dataclass(frozen=True)
class DoMinor:
    n: int


@dataclass(frozen=True)
class DoOwn:
    n: int


@dataclass(frozen=True)
class DoOwnMinor:
    n: int


@dataclass(frozen=True)
class Undo:
    n: int
    how: str


TYPES: dict[tuple[bool, bool], Callable[[int], Any]] = {
    (False, True): Do,
    (False, False): DoMinor,
    (True, True): DoOwn,
    (True, False): DoOwnMinor,
}


class Line(NamedTuple):
    """One line of the diary."""

    what: str
    n: int
    at: float
    node: int
    more: Any = None


class Wrong(AssertionError):
    """A property does not hold."""


class Killable(SeededRuntime):
    """A runtime whose threads the driver stops for good, wherever they are, and which dies more than once."""

    def revive(self, crash_at: int | None) -> None:
        self.crashed, self.crash_at, self.commits = False, crash_at, 0


@dataclass
class World:
    """Plays a plan.

    Attributes:
        diary: Everything that happened.
        doing: The plan's steps by number.
    """

    plan: Plan
    folder: Path
    diary: list[Line] = field(default_factory=list)
    doing: list[Doing] = field(default_factory=list)
    children: dict[int, list[int]] = field(default_factory=dict)
    forgiving: bool = False
    node: int = 0
    open: bool = False

    def __post_init__(self) -> None:
        crashes = list(self.plan.crashes)
        self.runtime = Killable(self.plan.seed, crashes.pop(0) if crashes else None)
        self._crashes = crashes
        self._failed: Counter[tuple[int, str]] = Counter()
        self._memory = MemoryStorage()
        self._memory.inline = False
        self.root = self._task(self._number(self.plan.root)) if isinstance(self.plan.root, Doing) else None
        self.saga = None if isinstance(self.plan.root, Doing) else self._saga(self.plan.root, "saga")
        self.system = self._start()

    # -- what steps do ---------------------------------------------------------------------------------------

    def note(self, what: str, n: int, more: Any = None) -> None:
        self.diary.append(Line(what, n, self.runtime.monotonic(), self.node, more))

    def do(self, n: int, ctx: TaskContext) -> int:
        doing = self.doing[n]
        self.note("begins", n)
        if "promise" in doing.undo:
            ctx.compensate_with(Undo(n, "promise"))
        if self.forgiving:
            doing = Doing(children=doing.children)
        self._pass_time(doing, ctx)
        if doing.ends == "raises" or (doing.ends == "flaky" and ctx.attempt == 1):
            self.note("raises", n, ctx.cancellation.cancelled)
            raise ValueError(n)
        if doing.ends == "aborts":
            ctx.abort_workflow()
        for child in self.children[n]:
            ctx.dispatch(self._task(child))
        self.note("returns", n)
        return n

    def _pass_time(self, doing: Doing, ctx: TaskContext) -> None:
        left = LONG if doing.ends in ("hangs", "listens") else doing.nap
        while left > 0:
            nap = left if doing.ends == "hangs" else min(left, 0.5)
            self.runtime.gate().wait(nap)
            left -= nap
            if doing.ends == "listens":
                ctx.cancellation.raise_if_cancelled()

    def undo(self, n: int, how: str, ctx: TaskContext) -> None:
        self.note("undo begins", n, (how, ctx.outcome))
        self.runtime.gate().wait(0.2)
        if self._failed[n, how] < self.doing[n].failures:
            self._failed[n, how] += 1
            raise OSError(n)
        self.note("undone", n, (how, ctx.outcome))

    # -- what they are made of -------------------------------------------------------------------------------

    def _number(self, doing: Doing) -> int:
        n = len(self.doing)
        self.doing.append(doing)
        self.children[n] = [self._number(child) for child in doing.children]
        return n

    def _task(self, n: int) -> Any:
        return TYPES["own" in self.doing[n].undo, self.doing[n].critical](n)

    def _saga(self, stages: Stages, name: str) -> Saga:
        made = [[self._step(each, f"{name}-{i}-{j}") for j, each in enumerate(row)] for i, row in enumerate(stages)]
        return Saga(name, *[steps[0] if len(steps) == 1 else parallel(*steps) for steps in made], input=int)

    def _step(self, doing: Doing | Stages, name: str) -> Step:
        if not isinstance(doing, Doing):
            return Step(self._saga(doing, name), name=name)
        n = self._number(doing)
        undo = (lambda _: Undo(n, "saga")) if "saga" in doing.undo else None
        return Step(lambda _: self._task(n), undo, name=name, pivot=doing.pivot, critical=doing.critical)

    def _handlers(self) -> Iterator[Any]:
        for (own, critical), task_type in TYPES.items():
            members: dict[str, Any] = {
                "handle": lambda _, task, ctx: self.do(task.n, ctx),
                "retry": Retry(attempts=2, delay=1.0, on=(Exception, TaskTimeout)),
                "timeout": TIMEOUT,
                "critical": critical,
                "concurrency": 2,
            }
            if own:
                members["compensate"] = lambda _, task, ctx: self.undo(task.n, "own", ctx)
            yield _handler(task_type, members)
        undo = {"handle": lambda _, task, ctx: self.undo(task.n, task.how, ctx), "retry": Retry(attempts=2, delay=1.0)}
        yield _handler(Undo, undo)
        if self.saga is not None:
            yield self.saga

    def _start(self) -> ActorSystem:
        self.node += 1
        runtime = self.runtime
        self.storage = SqliteStorage(self.folder / "tasks.db", "process") if self.plan.in_file else self._memory
        self.open = True
        self._watch_commits()

        class Seeded(ActorSystem):
            _make_runtime = staticmethod(lambda: runtime)

        return Seeded(f"node-{self.node}", handlers=list(self._handlers()), storage=self.storage, settings=SMALL)

    def _watch_commits(self) -> None:
        write = type(self.storage).commit.__get__(self.storage)

        def commit(batch: Batch) -> Committed:
            committed: Committed = write(batch)
            for outcome in (*batch.outcomes, *batch.cancels):
                if outcome.seq not in committed.lost:
                    self._note_end(outcome)
            for request in batch.requests:
                self.note("told to stop", self._step_of(self.storage.get(request.id)))
            changes = committed.changes or Changes()
            for order, answer in zip(batch.orders, changes.answers, strict=True):
                self.note(f"order {order.kind.value}", NO_STEP, answer)
            for move in changes.moves:
                self.note("moves", NO_STEP, move.state)
            self._count()
            return committed

        def close() -> None:
            """The driver goes on in `stop` when the node has died there; it must not end that cleanly."""
            self.open = False
            self.storage.abandon() if self.runtime.crashed else end()

        end = type(self.storage).close.__get__(self.storage)
        self.storage.commit = commit  # type: ignore[method-assign]
        self.storage.close = close  # type: ignore[method-assign]

    def _count(self) -> None:
        """A workflow's row counts what is in the other tables."""
        row = self.storage.workflow(self.ROOT.bytes)
        if row is None:
            return
        open_kinds = [r.kind for r in self._rows() if r.status < status.COMPLETED]
        log = [(EntryState(each.state), bool(each.position)) for each in self.storage.undo_log(row.id)]
        to_play = (EntryState.PENDING, EntryState.PLAYING, EntryState.STUCK)
        counted = {
            "open": len(open_kinds),
            "forward": open_kinds.count(TASK),
            "held": sum(state is EntryState.HELD for state, _ in log),
            "pending": sum(state in to_play for state, _ in log),
            "placed": sum(placed for _, placed in log),
        }
        kept = {name: getattr(row, name) for name in counted}
        if kept != counted:
            self.note("miscounts", NO_STEP, f"the row says {kept}, there is {counted}")

    def _rows(self) -> list[Record]:
        return self.storage.select(Selection(workflow=self.ROOT.bytes, limit=1000))

    def kept(self) -> tuple[Any, ...]:
        """What the storage has of the workflow, apart from who owns it."""
        rows = [(r.id, r.kind, r.attempt) for r in self._rows()]
        return self.storage.workflow(self.ROOT.bytes), self.storage.undo_log(self.ROOT.bytes), rows

    def _note_end(self, outcome: Outcome) -> None:
        record = self.storage.get(outcome.id)
        if record is None or outcome.status < status.COMPLETED:
            return
        if record.kind == TASK:
            self.note("ends", self._step_of(record), outcome.status)
        elif record.kind == COMPENSATION and not outcome.follow_ups:
            assert record.flow is not None
            assert record.flow.undoes is not None
            self.note("undo ends", self._step_of(self.storage.get(record.flow.undoes)), outcome.status)

    @staticmethod
    def _step_of(record: Record | None) -> int:
        """The step's number; a saga has none."""
        assert record is not None
        return int(json.loads(record.payload).get("n", NO_STEP))

    # -- what is done to it ----------------------------------------------------------------------------------

    def play(self) -> None:
        self._try(self.system.start)
        while not self._try(self._dispatch):
            pass
        for at, act in sorted([(self.plan.cancel_at, self._cancel), (self.plan.redeploy_at, self._redeploy)], key=str):
            if at is not None:
                self.runtime.gate().wait(max(at - self.runtime.monotonic(), 0.0))
                self._try(act)
        while not self._try(self._see_it_end):
            pass

    def _try(self, act: Callable[[], object]) -> bool:
        """Do something; if the node dies meanwhile, start the next one in its place."""
        try:
            act()
        except EverActError:
            if not self.runtime.crashed:
                raise
        if not self.runtime.crashed:
            return True
        before = self.kept() if self.open else None
        self.storage.abandon()
        self.note("crash", NO_STEP)
        self.runtime.revive(self._crashes.pop(0) if self._crashes else None)
        self._forget_system()
        self.system = self._start()
        if self._try(self.system.start) and before not in (None, self.kept()):
            self.note("forgets", NO_STEP, f"before: {before}, after: {self.kept()}")
        return False

    def end(self) -> None:
        """Let go of what a crash, or a failure, has left where it was."""
        self._forget_system()
        self.runtime.end()

    def _forget_system(self) -> None:
        self.system._engine, self.system.state = None, "killed"  # else it is stopped at exit

    ROOT = UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001)

    def _dispatch(self) -> None:
        self.system.dispatch(self.root if self.saga is None else self.saga(1), id=self.ROOT)

    def _cancel(self) -> None:
        self.system.cancel_workflow(self.ROOT)

    def _redeploy(self) -> None:
        self.system.stop(0.5)
        if not self.runtime.crashed:
            self.note("redeploys", NO_STEP)
            self.system = self._start()
            self.system.start()

    def _see_it_end(self) -> None:
        for _ in range(20):
            if self._wait() is not WorkflowState.STUCK:
                return
            self.note("resumed", NO_STEP)
            self.forgiving = True
            self.system.resume(self.ROOT)
        raise Wrong("it is stuck again and again")

    def _wait(self) -> WorkflowState:
        gate, nap, until = self.runtime.gate(), 1.0, self.runtime.monotonic() + DEADLINE
        while self.runtime.monotonic() < until:
            found = self.system.workflow(self.ROOT)
            listed = {each.id for each in self.system.workflows(state=found.state)}
            if found.state is WorkflowState.STUCK and found.id not in listed:
                raise Wrong("it is stuck, and is not listed")
            if found.state.final or found.state is WorkflowState.STUCK:
                return found.state
            gate.wait(nap)
            nap = min(nap * 1.5, 60.0)
            if self.runtime.crashed:
                raise EverActError("crashed")
        raise Wrong(f"it has not ended: {found}\n{found.tree()}")


def _handler(task_type: Any, members: dict[str, Any]) -> Any:
    base: Any = TaskHandler
    return types.new_class(f"{task_type.__name__}Handler", (base[task_type],), exec_body=lambda ns: ns.update(members))
