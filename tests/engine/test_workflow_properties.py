"""Workflows drawn at random, as plain tasks and as sagas, crashed at any commit: what must be true of their undoing.

A plan says which steps there are and how each ends. It is played in a seeded runtime, so one plan is one history.
What was committed and what handlers did are lines of one diary, in the order in which they happened; all properties
are read off that diary, not off what the engine says about itself.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import types
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from everact import ActorSystem, Retry, Saga, Settings, Step, TaskContext, TaskHandler, WorkflowState, parallel
from everact.actors import ending
from everact.storage.changes import Answer, Changes
from everact.storage.ledger import Ledger
from everact.storage.memory import MemoryStorage
from everact.storage.memory_workflows import MemoryWorkflows
from everact.storage.protocol import Batch, Committed, Outcome, Selection
from everact.storage.sqlite import SqliteStorage
from everact.storage.sqlite_workflows import SqliteWorkflows
from everact.tasks import status, unwinding
from everact.tasks.errors import EverActError, TaskTimeout
from everact.tasks.record import COMPENSATION, TASK, Record
from everact.tasks.unwinding import EntryState, Part, WorkflowRow
from everact.testing.seeded import SeededRuntime

EXAMPLES = int(os.environ.get("EVERACT_WORKFLOW_EXAMPLES", "60"))
DEADLINE = 600.0
"""Virtual seconds in which each workflow must have ended, or be stuck."""
TIMEOUT, GRACE, LONG = 5.0, 1.0, 30.0
NO_STEP = -1
SMALL = Settings(grace=GRACE)


# -- plans -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doing:
    """What one step does.

    Attributes:
        undo: How it is undone, in any combination: by its handler's `compensate` ("own"), by `compensate_with`
            ("promise"), and, as a step of a saga, by the step's undo ("saga").
        ends: "well", "raises", "flaky" (the first attempt raises), "hangs" (it is out of time, and deaf), "listens"
            (it waits until it is told to stop), "aborts".
        failures: How many attempts at undoing it fail; there are two in each round.
        children: Tasks that it dispatches.
    """

    undo: frozenset[str] = frozenset()
    critical: bool = True
    ends: str = "well"
    nap: float = 0.0
    failures: int = 0
    children: tuple[Doing, ...] = ()
    pivot: bool = False


Stages = tuple[tuple["Doing | Stages", ...], ...]


@dataclass(frozen=True)
class Plan:
    """A workflow, what is done to it from outside, and when its node dies."""

    root: Doing | Stages
    seed: int
    crashes: tuple[int, ...]
    cancel_at: float | None = None
    redeploy_at: float | None = None
    in_file: bool = False


UNDOS = st.sampled_from([frozenset(), frozenset({"own"}), frozenset({"promise"}), frozenset({"own", "promise"})])
ENDS = st.sampled_from(["well"] * 9 + ["raises", "raises", "flaky", "hangs", "listens", "aborts"])
NAPS = st.sampled_from([0.0, 0.0, 0.3, 2.0])
FAILURES = st.sampled_from([0, 0, 0, 0, 1, 2, 4])


def doings(children: st.SearchStrategy[tuple[Doing, ...]]) -> st.SearchStrategy[Doing]:
    critical = st.sampled_from([True, True, True, False])
    return st.builds(Doing, undo=UNDOS, critical=critical, ends=ENDS, nap=NAPS, failures=FAILURES, children=children)


def some(doing: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(doing, max_size=most).map(tuple)


trees = st.recursive(doings(st.just(())), lambda inner: doings(some(inner, 3)), max_leaves=8)


@st.composite
def saga_stages(draw: st.DrawFn, depth: int = 0) -> Stages:
    pivot_after = draw(st.sampled_from([None, None, None, 0, 1, 2])) if depth == 0 else None
    stages: list[tuple[Doing | Stages, ...]] = []
    for number in range(draw(st.integers(1, 4))):
        nested = depth == 0 and draw(st.integers(0, 5)) == 0
        width = draw(st.sampled_from([1, 1, 1, 2, 3]))
        past = pivot_after is not None and number > pivot_after
        stages.append(
            (draw(saga_stages(depth=1)),) if nested and not past else tuple(draw(saga_step(past)) for _ in range(width))
        )
        if number == pivot_after:
            ends = draw(st.sampled_from(["well", "well", "well", "raises", "flaky"]))
            stages.append((Doing(ends=ends, nap=draw(NAPS), pivot=True),))
    return tuple(stages)


@st.composite
def saga_step(draw: st.DrawFn, past_pivot: bool) -> Doing:
    doing = draw(doings(st.just(()) if draw(st.integers(0, 3)) else some(doings(st.just(())), 2)))
    undo = doing.undo if past_pivot or draw(st.booleans()) else doing.undo | {"saga"}
    return Doing(undo, doing.critical, doing.ends, doing.nap, doing.failures, doing.children)


plans = st.builds(
    Plan,
    root=trees | saga_stages(),
    seed=st.integers(0, 1000),
    crashes=st.sampled_from([(), ()]) | st.lists(st.integers(1, 25), min_size=1, max_size=2).map(tuple),
    cancel_at=st.sampled_from([None, None, None, 0.0, 0.1, 1.0, 4.0]),
    redeploy_at=st.sampled_from([None] * 5 + [0.2, 3.0]),
    in_file=st.sampled_from([False, False, False, True]),
)


# -- the world that plays one ------------------------------------------------------------------------------------


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
        undo = (lambda given: Undo(n, "saga")) if "saga" in doing.undo else None
        return Step(lambda given: self._task(n), undo, name=name, pivot=doing.pivot, critical=doing.critical)

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
        with suppress(EverActError) if self.runtime.crash_at else nullcontext():
            act()
            if not self.runtime.crashed:
                return True
        if not self.runtime.crashed:
            return True
        before = self.kept() if self.open else None
        self.storage.abandon()
        self.note("crash", NO_STEP)
        self.runtime.revive(self._crashes.pop(0) if self._crashes else None)
        self.system = self._start()
        if self._try(self.system.start) and before not in (None, self.kept()):
            self.note("forgets", NO_STEP, f"before: {before}, after: {self.kept()}")
        return False

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
        gate, until = self.runtime.gate(), self.runtime.monotonic() + DEADLINE
        while self.runtime.monotonic() < until:
            found = self.system.workflow(self.ROOT)
            listed = {each.id for each in self.system.workflows(state=found.state)}
            if found.state is WorkflowState.STUCK and found.id not in listed:
                raise Wrong("it is stuck, and is not listed")
            if found.state.final or found.state is WorkflowState.STUCK:
                return found.state
            gate.wait(1.0)
            if self.runtime.crashed:
                raise EverActError("crashed")
        raise Wrong(f"it has not ended: {found}\n{found.tree()}")


def _handler(task_type: Any, members: dict[str, Any]) -> Any:
    base: Any = TaskHandler
    return types.new_class(f"{task_type.__name__}Handler", (base[task_type],), exec_body=lambda ns: ns.update(members))


# -- what must be true -------------------------------------------------------------------------------------------


class Audit:
    """Reads the diary of a workflow that has ended."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._diary = list(enumerate(world.diary))
        self.state = world.system.workflow(world.ROOT).state
        self._ended: dict[int, int] = {}
        self._status: dict[int, int] = {}
        for i, line in self._all("ends"):
            self._ended[line.n], self._status[line.n] = i, line.more
        self._moves = [(i, line.more) for i, line in self._all("moves")]
        self._begun = {line.n for _, line in self._all("begins")}
        self.pivoted = self._pivoted()

    def _all(self, *what: str) -> list[tuple[int, Line]]:
        return [(i, line) for i, line in self._diary if line.what in what]

    def _state_at(self, i: int) -> WorkflowState:
        return next((state for j, state in reversed(self._moves) if j < i), WorkflowState.RUNNING)

    def _pivoted(self) -> int | None:
        """When the pivot completed, if it was not too late."""
        ends = [i for n, i in self._ended.items() if self._pivot(n) and self._status[n] == status.COMPLETED]
        return next((i for i in ends if self._state_at(i) is WorkflowState.RUNNING), None)

    def _pivot(self, n: int) -> bool:
        return n >= 0 and self._world.doing[n].pivot

    def check(self) -> None:
        for _, line in self._all("miscounts", "forgets"):
            raise Wrong(f"it {line.what}: {line.more}")
        self.each_completed_step_is_undone_if_and_only_if_it_ends_compensated()
        self.no_step_is_undone_before_its_outcome_is_known()
        self.steps_are_undone_one_at_a_time_the_last_one_first()
        self.nothing_is_undone_after_the_pivot()
        self.a_failed_undo_holds_the_others_until_it_is_resumed()
        self.no_step_starts_once_the_workflow_is_being_undone()
        self.it_ends_as_its_steps_ended()

    def _owed(self, n: int) -> set[str]:
        """The undos of a step that has had its effect, or may have."""
        hows = set(self._world.doing[n].undo)
        if self._status.get(n) == status.COMPLETED:
            return hows
        owed: set[str] = set()
        for lost in self._uncertain_attempts(n):
            owed |= hows - {"promise"} if lost else hows
        return owed

    def _uncertain_attempts(self, n: int) -> Iterator[bool]:
        """For each attempt of which nobody knows what it did: whether its node died during it."""
        open_since: int | None = None
        for i, line in self._diary:
            if line.what == "crash" and open_since is not None:
                yield True
                open_since = None
            elif line.n == n and line.what == "begins":
                if open_since is not None:
                    yield False
                open_since = i
            elif line.n == n and line.what == "raises" and not line.more:
                open_since = None
            elif line.n == n and line.what == "ends" and open_since is not None:
                yield False
                open_since = None

    def _undone(self, n: int) -> set[str]:
        return {line.more[0] for i, line in self._all("undone") if line.n == n and i > self._ended[n]}

    def each_completed_step_is_undone_if_and_only_if_it_ends_compensated(self) -> None:
        if self.state is not WorkflowState.COMPENSATED:
            if undone := self._all("undo begins"):
                raise Wrong(f"it ended {self.state}, and was undone: {undone}")
            return
        for n in self._ended:
            if n >= 0 and (left := self._owed(n) - self._undone(n)):
                raise Wrong(f"step {n} was not undone: {left}")

    def no_step_is_undone_before_its_outcome_is_known(self) -> None:
        for i, line in self._all("undo begins"):
            if i < self._ended.get(line.n, i + 1):
                raise Wrong(f"step {line.n} was undone before its outcome was known")
            if line.n not in self._begun and not self._all("crash"):
                raise Wrong(f"step {line.n} was undone, and had never begun")

    def steps_are_undone_one_at_a_time_the_last_one_first(self) -> None:
        last: Line | None = None
        for _, line in self._all("undo begins", "undo ends"):
            if line.what == "undo ends":
                last = None if line.more == status.COMPLETED else last
                position = self._ended[line.n]
            elif last is not None and (last.n, last.more) != (line.n, line.more):
                raise Wrong(f"the undos of {last.n} and {line.n} overlap")
            elif (last := line) and self._ended[line.n] > locals().get("position", len(self._diary)):
                raise Wrong(f"the undo of step {line.n} came after that of an older one")

    def nothing_is_undone_after_the_pivot(self) -> None:
        after = [line for i, line in self._all("undo begins") if self.pivoted is not None and i > self.pivoted]
        if after:
            raise Wrong(f"undone after the pivot: {after}")

    def a_failed_undo_holds_the_others_until_it_is_resumed(self) -> None:
        for i, line in self._all("undo ends"):
            if line.more != status.COMPLETED and self._state_at(i + 2) is not WorkflowState.STUCK:
                raise Wrong(f"the undo of step {line.n} failed, and the workflow is not stuck")
        resumed = False
        for i, line in self._all("undo begins", "resumed", "moves"):
            resumed = line.what == "resumed" or (resumed and line.what != "moves")
            if line.what == "undo begins" and self._state_at(i) is WorkflowState.STUCK and not resumed:
                raise Wrong(f"step {line.n} was undone while the workflow was stuck")

    def no_step_starts_once_the_workflow_is_being_undone(self) -> None:
        """But for one that starts while that is written; it is told to stop in the next commit."""
        for i, line in self._all("begins"):
            began = [move for j, move in self._all("moves") if j < i and move.more is WorkflowState.COMPENSATING]
            told = any(other.n == line.n for j, other in self._all("told to stop") if j < i)
            if self.pivoted is None and began and (told or line.node != began[0].node or line.at > began[0].at):
                raise Wrong(f"step {line.n} started when the workflow was being undone")

    def it_ends_as_its_steps_ended(self) -> None:
        if self.pivoted is not None:
            expected = {WorkflowState.COMPLETED, WorkflowState.FAILED}
        elif any(self._owed(n) for n in self._ended if n >= 0) and self._triggered():
            expected = {WorkflowState.COMPENSATED}
        elif self._triggered():
            expected = {WorkflowState.FAILED, WorkflowState.CANCELLED, WorkflowState.COMPENSATED}
        else:
            expected = {WorkflowState.COMPLETED}
        if self.state not in expected:
            raise Wrong(f"it ended {self.state}, not {expected}")

    def _triggered(self) -> bool:
        broken = (status.FAILED, status.QUARANTINED)
        doing = {n: self._world.doing[n] for n in self._ended if n >= 0}
        failed = any(each.critical and self._status[n] in broken for n, each in doing.items())
        aborted = any(each.ends == "aborts" and self._status[n] == status.COMPLETED for n, each in doing.items())
        return failed or aborted or any(line.more is Answer.DONE for _, line in self._all("order cancel"))


def play(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(plan, Path(folder))
        world.play()
        Audit(world).check()
        world.system.stop(5.0)


@settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
@given(plan=plans)
def test_whatever_happens_a_workflow_is_undone_as_it_must_be(plan: Plan) -> None:
    play(plan)


# -- what would catch it if it were not --------------------------------------------------------------------------


def is_sure_of_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ending, "is_uncertain", lambda delivery: False)


def drops_promises(patch: pytest.MonkeyPatch) -> None:
    promise = Ledger._promise

    def drop(ledger: Ledger, row: WorkflowRow, part: Part, outcome: Outcome) -> None:
        entries = [entry for entry in part.entries if entry.record is None]
        promise(ledger, row, msgspec.structs.replace(part, entries=entries), outcome)

    patch.setattr(Ledger, "_promise", drop)


def plays_too_early(patch: pytest.MonkeyPatch) -> None:
    def wants(row: WorkflowRow) -> bool:
        return row.state is WorkflowState.COMPENSATING and row.pending > 0 and row.playing is None

    patch.setattr(unwinding, "wants_play", wants)
    patch.setattr(unwinding, "hold", unwinding.place)


def plays_two_at_once(patch: pytest.MonkeyPatch) -> None:
    play_one = Ledger._play

    def play_two(ledger: Ledger, row: WorkflowRow) -> None:
        play_one(ledger, row)
        if ledger._table.entries(row.id, EntryState.PENDING):
            play_one(ledger, row)

    patch.setattr(Ledger, "_play", play_two)


def plays_the_first_one_first(patch: pytest.MonkeyPatch) -> None:
    for table in (MemoryWorkflows, SqliteWorkflows):
        entries = table.entries
        patch.setattr(table, "entries", lambda *args, entries=entries: entries(*args)[::-1])


def changes_the_part(**change: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(patch: pytest.MonkeyPatch) -> None:
        end = unwinding.ended

        def ended(row: WorkflowRow, part: Part, *args: Any, **options: Any) -> EntryState | None:
            return end(row, msgspec.structs.replace(part, **change), *args, **options)

        patch.setattr(unwinding, "ended", ended)

    return plant


def passes_over_failed_undos(patch: pytest.MonkeyPatch) -> None:
    compensated = unwinding._compensated

    def passing(row: WorkflowRow, part: Part, id: bytes, status_: int, continued: bytes | None) -> EntryState | None:
        ended = min(status_, status.COMPLETED)
        return compensated(row, part, id, ended, continued)

    patch.setattr(unwinding, "_compensated", passing)


def hides_the_stuck(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryWorkflows, "select", lambda *args: [])


def stops_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "_stop", lambda ledger, row: None)


def calls_it_failed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(unwinding, "_final", lambda row: WorkflowState.FAILED)


def never_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(unwinding, "conclude", lambda row, now: False)


def counts_twice(patch: pytest.MonkeyPatch) -> None:
    opened = unwinding.opened
    patch.setattr(unwinding, "opened", lambda row, kind: [opened(row, kind), opened(row, kind)])


def forgets_at_a_start(patch: pytest.MonkeyPatch) -> None:
    open_storage = MemoryStorage.open

    def forgetful(storage: MemoryStorage, now: int) -> int:
        for log in storage._workflows.logs.values():
            del log[:1]
        return open_storage(storage, now)

    patch.setattr(MemoryStorage, "open", forgetful)


PLANTED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "a step of unknown outcome has no entry": (is_sure_of_everything, "was not undone"),
    "a completed step has no entry": (drops_promises, "was not undone"),
    "an undo begins before its step has ended": (plays_too_early, "before its outcome was known"),
    "undos run side by side": (plays_two_at_once, "overlap"),
    "the oldest step is undone first": (plays_the_first_one_first, "after that of an older one"),
    "the pivot is none": (changes_the_part(pivot=False), "undone after the pivot"),
    "a failed undo counts as played": (passes_over_failed_undos, "and the workflow is not stuck"),
    "a stuck workflow is not listed": (hides_the_stuck, "is not listed"),
    "steps are not stopped": (stops_nothing, "started when the workflow was being undone"),
    "a workflow that was undone is called failed": (calls_it_failed, "and was undone"),
    "a workflow never ends": (never_ends, "it has not ended"),
    "tasks are counted twice": (counts_twice, "it miscounts"),
    "a start forgets an entry": (forgets_at_a_start, "it forgets"),
}


class Caught(Exception):
    """The planted bug was found."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls: the same plans and the same audit."""
    plant, complaint = PLANTED[bug]
    plant(monkeypatch)

    @settings(max_examples=1000, phases=[Phase.generate], derandomize=True, database=None, deadline=None)
    @given(plan=plans)
    def search(plan: Plan) -> None:
        try:
            play(plan)
        except (Wrong, EverActError) as error:
            if re.search(complaint, str(error)):
                raise Caught from None

    with pytest.raises(Caught):
        search()
