"""The rules by which a workflow goes on, is undone and ends: as sentences, and against a model that is all lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from everact.tasks import status, unwinding
from everact.tasks.record import CLEANUP, COMPENSATION, TASK
from everact.tasks.unwinding import Entry, EntryState, Part, WorkflowRow
from everact.tasks.workflow import WorkflowState

W, ROOT = b"w" * 16, b"w" * 16
STEP, OTHER, UNDO = b"s" * 16, b"o" * 16, b"u" * 16
RUNNING, COMPENSATING, STUCK = WorkflowState.RUNNING, WorkflowState.COMPENSATING, WorkflowState.STUCK


def row(**fields: object) -> WorkflowRow:
    return WorkflowRow(**{"id": W, "created": 0} | fields)  # type: ignore[arg-type]


def entry(step: bytes = STEP) -> Entry:
    return Entry(workflow=W, step=step, outcome="completed", at=0, type="t")


def part(**fields: object) -> Part:
    return Part(**{"workflow": W} | fields)  # type: ignore[arg-type]


def running(*, steps: int = 1, entries: int = 0, **fields: object) -> WorkflowRow:
    made = row(**fields)
    for _ in range(steps):
        unwinding.opened(made, TASK)
    for _ in range(entries):
        unwinding.place(made, entry())
    return made


def end(workflow: WorkflowRow, task_status: int, id: bytes = STEP, **fields: object) -> None:
    unwinding.ended(workflow, part(**fields), id, task_status)
    unwinding.begins_to_unwind(workflow)
    unwinding.conclude(workflow, 1)


def test_a_workflow_is_completed_when_its_last_task_has_ended() -> None:
    workflow = running(steps=2)
    end(workflow, status.COMPLETED)
    assert (workflow.state, workflow.finished) == (RUNNING, None)
    end(workflow, status.COMPLETED)
    assert (workflow.state, workflow.finished) == (WorkflowState.COMPLETED, 1)


@pytest.mark.parametrize("broken", [status.FAILED, status.QUARANTINED])
def test_a_failure_with_nothing_to_undo_lets_the_rest_run_on(broken: int) -> None:
    workflow = running(steps=2)
    end(workflow, broken)
    assert workflow.state is RUNNING
    end(workflow, status.COMPLETED)
    assert workflow.state is WorkflowState.FAILED


def test_what_is_not_critical_may_fail() -> None:
    workflow = running(entries=1)
    end(workflow, status.FAILED, critical=False)
    assert workflow.state is WorkflowState.COMPLETED


def test_failure_and_entry_may_come_in_either_order() -> None:
    first, second = running(steps=2, entries=1), running(steps=2)
    end(first, status.FAILED)
    assert first.state is COMPENSATING
    end(second, status.FAILED)
    assert second.state is RUNNING
    unwinding.place(second, entry())
    assert unwinding.begins_to_unwind(second)
    assert not unwinding.begins_to_unwind(second)


def test_an_abort_unwinds_at_once_with_nothing_to_undo() -> None:
    workflow = running(steps=2)
    end(workflow, status.COMPLETED, abort="no stock")
    assert (workflow.state, workflow.reason) == (COMPENSATING, "no stock")
    end(workflow, status.CANCELLED)
    assert workflow.state is WorkflowState.CANCELLED


def test_the_cancel_of_a_lone_root_is_the_workflows_but_that_of_a_step_is_not() -> None:
    root, step = running(), running()
    end(root, status.CANCELLED, ROOT)
    end(step, status.CANCELLED)
    assert (root.state, step.state) == (WorkflowState.CANCELLED, WorkflowState.COMPLETED)


def test_the_cancel_of_a_saga_unwinds() -> None:
    workflow = running(steps=2, entries=1)
    end(workflow, status.CANCELLED, coordinates=True, cause="saga")
    assert (workflow.state, workflow.trigger, workflow.reason) == (COMPENSATING, "cancel", "saga was cancelled")


def test_the_first_failure_gives_the_reason_but_an_abort_overrules_it() -> None:
    workflow = running(steps=4)
    for task_status, cause, abort in (
        (status.FAILED, "one", None),
        (status.FAILED, "two", None),
        (status.COMPLETED, "", "three"),
    ):
        unwinding.ended(workflow, part(cause=cause, abort=abort), STEP, task_status)
        assert workflow.reason == ("three" if abort else "one")
    assert workflow.trigger == "abort"


def test_nothing_is_played_while_a_step_is_open_or_another_compensation_plays() -> None:
    workflow = running(steps=2, entries=2)
    end(workflow, status.FAILED)
    assert not unwinding.wants_play(workflow)
    end(workflow, status.CANCELLED)
    assert unwinding.wants_play(workflow)
    workflow.playing = UNDO
    assert not unwinding.wants_play(workflow)


def test_an_open_cleanup_is_not_waited_for_by_the_undoing_but_by_the_end() -> None:
    workflow = running(steps=1, entries=1)
    unwinding.opened(workflow, CLEANUP)
    end(workflow, status.FAILED)
    assert unwinding.wants_play(workflow)
    workflow.pending = 0
    assert not unwinding.conclude(workflow, 2)


def test_a_held_entry_counts_only_when_it_is_placed_and_takes_its_place_then() -> None:
    workflow, held = running(), entry()
    unwinding.hold(workflow, held)
    assert (held.number, held.position, held.state) == (1, 0, EntryState.HELD)
    other = entry(OTHER)
    unwinding.place(workflow, other)
    unwinding.place(workflow, held)
    assert (held.number, held.state) == (1, EntryState.PENDING)
    assert held.position > other.position
    assert (workflow.held, workflow.pending, workflow.placed) == (0, 2, 2)


def test_a_failed_compensation_parks_and_a_resumed_one_goes_on() -> None:
    workflow = running(steps=1, entries=1)
    end(workflow, status.FAILED)
    unwinding.opened(workflow, COMPENSATION)
    workflow.playing = UNDO
    undoing = part(kind=COMPENSATION, cause="Refund", undoes=1)
    assert unwinding.ended(workflow, undoing, UNDO, status.SCHEDULED) is None
    assert workflow.playing == UNDO
    assert unwinding.ended(workflow, undoing, UNDO, status.FAILED) is EntryState.STUCK
    assert (workflow.state, workflow.stuck, workflow.reason) == (STUCK, (UNDO,), "Refund")
    assert not unwinding.conclude(workflow, 2)
    assert not unwinding.wants_play(workflow)
    unwinding.resumed(workflow)
    assert (workflow.state, workflow.stuck) == (COMPENSATING, ())
    assert unwinding.wants_play(workflow)


def test_a_compensation_that_goes_on_in_another_task_is_still_playing() -> None:
    workflow = row(state=COMPENSATING, open=1, pending=1, placed=1, playing=UNDO)
    undoing = part(kind=COMPENSATION, undoes=1)
    assert unwinding.ended(workflow, undoing, UNDO, status.COMPLETED, continued=OTHER) is EntryState.PLAYING
    assert (workflow.playing, workflow.pending) == (OTHER, 1)


@pytest.mark.parametrize("fields", [{}, {"abort": "no"}])
def test_after_the_pivot_a_trigger_parks_and_a_resumed_workflow_goes_forward(fields: dict[str, Any]) -> None:
    workflow = running(steps=3, entries=1)
    end(workflow, status.COMPLETED, pivot=True)
    assert workflow.pivoted
    end(workflow, status.COMPLETED if fields else status.FAILED, **fields)
    assert (workflow.state, workflow.stuck, workflow.unwinding) == (STUCK, (STEP,), False)
    unwinding.resumed(workflow)
    assert (workflow.state, unwinding.wants_play(workflow)) == (RUNNING, False)
    end(workflow, status.COMPLETED)
    assert workflow.state is WorkflowState.COMPLETED


def test_a_failure_with_nothing_to_undo_is_the_workflows_though_the_pivot_completes_after_it() -> None:
    workflow = running(steps=2)
    end(workflow, status.FAILED)
    end(workflow, status.COMPLETED, pivot=True)
    assert workflow.state is WorkflowState.FAILED


def test_a_pivot_that_completes_too_late_parks() -> None:
    workflow = running(steps=1, entries=1, state=COMPENSATING)
    end(workflow, status.COMPLETED, pivot=True, cause="Ship")
    assert (workflow.state, workflow.pivoted) == (STUCK, False)
    assert "the pivot Ship completed while" in workflow.reason


@dataclass
class Model:
    """The same workflow with no counters: it keeps everything and looks."""

    open: list[str] = field(default_factory=list)
    entries: dict[int, str] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)
    pivoted: bool = False
    unwinds: bool = False
    stuck: bool = False

    def begins(self) -> bool:
        wanted = [cause for cause in self.causes if cause != "failure" or self._count("pending", "playing", "stuck")]
        now = bool(wanted) and not (self.unwinds or self.pivoted or self.stuck)
        self.unwinds = self.unwinds or now
        return now

    def plays(self) -> int | None:
        """The entry that is played next."""
        waits = not self.unwinds or self.stuck or TASK in self.open or self._count("playing")
        return None if waits else max((p for p, state in self.entries.items() if state == "pending"), default=None)

    def final(self) -> WorkflowState | None:
        if self.open or self.stuck or (self.unwinds and self._count("pending", "playing")):
            return None
        if self.unwinds:
            return WorkflowState.COMPENSATED if self.entries else WorkflowState.CANCELLED
        return WorkflowState.FAILED if self.causes else WorkflowState.COMPLETED

    def _count(self, *states: str) -> int:
        return sum(state in states for state in self.entries.values())


@dataclass(frozen=True)
class Act:
    """Something that happens: `kind` is a task's kind if `what` is about a task."""

    what: str
    kind: str = TASK
    ends: int = status.COMPLETED
    entries: int = 0
    critical: bool = True
    abort: bool = False
    pivot: bool = False


ends = st.builds(
    Act,
    what=st.just("ends"),
    kind=st.sampled_from([TASK, TASK, TASK, COMPENSATION, CLEANUP]),
    ends=st.sampled_from([status.COMPLETED] * 3 + [status.FAILED, status.CANCELLED, status.SCHEDULED]),
    entries=st.integers(0, 2),
    critical=st.booleans(),
    abort=st.sampled_from([False, False, False, True]),
    pivot=st.sampled_from([False] * 5 + [True]),
)
acts = st.lists(
    ends
    | ends
    | st.builds(Act, what=st.just("opens"), kind=st.sampled_from([TASK, TASK, CLEANUP]))
    | st.builds(Act, what=st.just("resumes")),
    max_size=30,
)


class Pair:
    """A row and the model, given the same."""

    def __init__(self) -> None:
        self.row, self.model = running(), Model(open=[TASK])
        self.log: list[Entry] = []

    def do(self, act: Act) -> None:
        if self.row.state.final:
            return
        if act.what == "opens":
            self._open(act.kind)
        elif act.what == "resumes":
            self._resume()
        elif act.kind in self.model.open:
            self._end(act)
        assert unwinding.begins_to_unwind(self.row) == self.model.begins()
        if unwinding.wants_play(self.row):
            self._play()
        else:
            assert self.model.plays() is None
        unwinding.conclude(self.row, 1)
        self.compare()

    def _open(self, kind: str) -> None:
        if not (kind == TASK and self.row.unwinding):  # those are stored as CANCELLED
            unwinding.opened(self.row, kind)
            self.model.open.append(kind)

    def _resume(self) -> None:
        if self.row.state is STUCK:
            unwinding.resumed(self.row)
            self.model.stuck = False
            self.model.entries = {p: s.replace("stuck", "pending") for p, s in self.model.entries.items()}

    def _end(self, act: Act) -> None:
        over = act.ends >= status.COMPLETED
        makes = act.entries if over and act.kind == TASK and not self.model.pivoted else 0
        for _ in range(makes):
            self.log.append(entry())
            unwinding.place(self.row, self.log[-1])
            self.model.entries[len(self.model.entries) + 1] = "pending"
        is_step = act.kind == TASK
        abort = "enough" if act.abort and over and is_step else None
        plays = part(kind=act.kind, critical=act.critical, abort=abort, pivot=act.pivot and is_step)
        unwinding.ended(self.row, plays, UNDO if act.kind == COMPENSATION else STEP, act.ends)
        if over:
            self.model.open.remove(act.kind)
            self._model_compensated(act) if act.kind == COMPENSATION else self._model_judges(act, abort)

    def _model_compensated(self, act: Act) -> None:
        position = next(p for p, state in self.model.entries.items() if state == "playing")
        self.model.entries[position] = "played" if act.ends == status.COMPLETED else "stuck"
        self.model.stuck = self.model.stuck or act.ends != status.COMPLETED

    def _model_judges(self, act: Act, abort: str | None) -> None:
        if act.kind != TASK:
            return
        if act.pivot and act.ends == status.COMPLETED:
            self.model.stuck = self.model.stuck or self.model.unwinds
            self.model.pivoted = self.model.pivoted or not self.model.unwinds
        causes = ["failure"] * (act.critical and act.ends == status.FAILED) + ["abort"] * (abort is not None)
        if causes and self.model.pivoted:
            self.model.stuck = True
        else:
            self.model.causes += causes

    def _play(self) -> None:
        position = self.model.plays()
        assert position is not None
        self.row.playing = UNDO
        unwinding.opened(self.row, COMPENSATION)
        self.model.open.append(COMPENSATION)
        self.model.entries[position] = "playing"

    def compare(self) -> None:
        row_, model = self.row, self.model
        to_play = [state for state in model.entries.values() if state != "played"]
        assert (row_.open, row_.forward) == (len(model.open), model.open.count(TASK))
        assert (row_.pending, row_.placed) == (len(to_play), len(model.entries))
        assert (row_.playing is not None) == ("playing" in to_play)
        assert (row_.state is STUCK, row_.pivoted) == (model.stuck, model.pivoted)
        assert not ({TASK} & set(model.open) and "playing" in to_play)
        assert row_.state is (STUCK if model.stuck else model.final() or (COMPENSATING if model.unwinds else RUNNING))
        assert (row_.finished is not None) == row_.state.final
        assert len({each.position for each in self.log}) == len(self.log)


def play(drawn: Sequence[Act]) -> None:
    pair = Pair()
    for act in drawn:
        pair.do(act)


@settings(max_examples=200, deadline=None)
@given(drawn=acts)
def test_a_row_with_counters_comes_to_the_same_as_a_model_that_looks(drawn: Sequence[Act]) -> None:
    play(drawn)


opened, conclude = unwinding.opened, unwinding.conclude
PLANTED: dict[str, tuple[str, Any]] = {
    "an undo begins while steps are open": (
        "wants_play",
        lambda row: row.state is COMPENSATING and row.playing is None and row.pending > 0,
    ),
    "an undo begins while another one plays": (
        "wants_play",
        lambda row: row.state is COMPENSATING and row.forward == 0 and row.pending > 0,
    ),
    "a failure unwinds though there is nothing to undo": (
        "begins_to_unwind",
        lambda row: row.trigger is not None and row.state is RUNNING and _set(row, COMPENSATING),
    ),
    "a failed undo is passed over": ("_park", lambda *_: None),
    "a stuck workflow resumes backwards": ("resumed", lambda row: _set(row, COMPENSATING)),
    "compensations are steps": ("opened", lambda row, kind: opened(row, TASK)),
    "it ends while cleanups are open": ("conclude", lambda row, now: row.forward == 0 and conclude(_closed(row), now)),
}


def _set(workflow: WorkflowRow, state: WorkflowState) -> bool:
    workflow.state = state
    return True


def _closed(workflow: WorkflowRow) -> WorkflowRow:
    workflow.open = 0
    return workflow


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controls: the same acts and the same model."""
    monkeypatch.setattr(unwinding, *PLANTED[bug])

    @settings(max_examples=3000, phases=[Phase.generate], derandomize=True, database=None, deadline=None)
    @given(drawn=acts)
    def search(drawn: Sequence[Act]) -> None:
        play(drawn)

    with pytest.raises((AssertionError, StopIteration, ExceptionGroup)):
        search()
