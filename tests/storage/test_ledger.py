"""Workflows in storage: memory and SQLite make the same of them, however what happens is cut into batches."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from everact.storage import sqlite_retention, sqlite_workflows
from everact.storage.changes import Order, OrderKind
from everact.storage.ledger import Ledger
from everact.storage.memory import MemoryStorage
from everact.storage.memory_workflows import MemoryWorkflows
from everact.storage.protocol import Batch, Outcome, Selection, Storage
from everact.storage.sqlite import SqliteStorage
from everact.tasks.record import CLEANUP, COMPENSATION, TASK, Flow, Record
from everact.tasks.schedule import FOREVER
from everact.tasks.status import CANCELLED, COMPLETED, FAILED, SCHEDULED
from everact.tasks.unwinding import Entry, Part
from everact.tasks.workflow import WorkflowState

NOW = 1_700_000_000_000_000
ALL = Selection(limit=1000)
ROOTS = [bytes([number]) * 16 for number in (1, 2)]


@dataclass(frozen=True)
class End:
    """One delivery ends.

    Attributes:
        which: Among the open tasks.
        promises: Undo entries with a record of their own; `own` is one more, with the task as its source.
        fenced: Whether another incarnation says so, whose word counts for nothing.
        parks: Whether it is a saga that waits for its follow-ups.
    """

    which: int
    status: int
    follow_ups: int = 0
    promises: int = 0
    own: bool = False
    critical: bool = True
    abort: bool = False
    pivot: bool = False
    fenced: bool = False
    parks: bool = False
    continues: bool = False


SELDOM = st.sampled_from([False] * 5 + [True])
ends = st.builds(
    End,
    which=st.integers(0, 7),
    status=st.sampled_from([COMPLETED] * 4 + [FAILED, FAILED, CANCELLED, SCHEDULED]),
    follow_ups=st.sampled_from([0, 0, 1, 2, 3]),
    promises=st.sampled_from([0, 0, 1, 2]),
    own=st.booleans(),
    critical=st.booleans(),
    abort=SELDOM,
    pivot=SELDOM,
    fenced=SELDOM,
    parks=SELDOM,
    continues=SELDOM,
)
orders = st.builds(Order, workflow=st.sampled_from(ROOTS), kind=st.sampled_from(OrderKind), text=st.just("why"))
Act = End | Order
batches = st.lists(st.lists(ends | ends | ends | orders, min_size=1, max_size=4), max_size=12)


def root(number: int) -> Record:
    return Record(id=ROOTS[number], type="t", payload=b"{}", due=NOW, created=NOW, seq=number + 1, owner=1)


class Pair:
    """Both storages with two roots, given the same; rows are numbered here, by their ids."""

    def __init__(self, folder: str) -> None:
        self.memory, self.sqlite = MemoryStorage(), SqliteStorage(Path(folder, "t.db"), "process")
        self.seqs: dict[bytes, int] = {}
        for storage in self.both():
            assert storage.open(NOW) == 1
        self.commit(Batch(NOW, inserts=[root(0), root(1)]))

    def both(self) -> tuple[Storage, Storage]:
        return self.memory, self.sqlite

    def number(self, record: Record) -> Record:
        record.seq, record.owner = self.seqs.setdefault(record.id, len(self.seqs) + 10), 1
        return record

    def commit(self, batch: Batch) -> None:
        answers = [storage.commit(self.own(batch)) for storage in self.both()]
        assert answers[0] == answers[1]

    def own(self, batch: Batch) -> Batch:
        """A copy for one storage, which keeps the rows that it is given."""
        copied = copy.deepcopy(batch)
        copied.number = self.number
        return copied

    def act(self, acts: Sequence[Act]) -> None:
        self.commit(self.batch(acts))
        self.compare()

    def batch(self, acts: Sequence[Act]) -> Batch:
        """The acts as one batch; no two of them are about the same task."""
        batch = Batch(NOW, in_workflows=True)
        open_tasks = [record for record in self.memory.select(ALL) if record.status < COMPLETED]
        for act in acts:
            if isinstance(act, Order):
                batch.orders.append(act)
            elif open_tasks:
                record = open_tasks.pop(act.which % len(open_tasks))
                batch.outcomes.append(self.outcome(record, act))
        return batch

    def outcome(self, record: Record, act: End) -> Outcome:
        over, parks = act.status >= COMPLETED, act.parks and record.kind == TASK
        outcome = Outcome(
            id=record.id,
            seq=record.seq,
            owner=99 if act.fenced else record.owner,
            expected=record.attempt,
            status=SCHEDULED if parks else act.status,
            attempt=record.attempt + (over and not parks),
            due=FOREVER if parks else NOW,
            finished=NOW if over and not parks else None,
            follow_ups=list(self.follow_ups(record, act, parks=parks)),
        )
        outcome.part = self.part(record, act, outcome, parks=parks)
        return outcome

    def follow_ups(self, record: Record, act: End, *, parks: bool) -> Iterator[Record]:
        kind = TASK if record.kind == TASK and act.status in (COMPLETED, SCHEDULED) else CLEANUP
        for number in range(act.follow_ups):
            yield self.child(record, number, kind, Flow(join=record.id) if parks else None)
        if act.continues and record.kind == COMPENSATION and act.status == COMPLETED and not record.tags:
            assert record.flow is not None
            heir = self.child(record, 9, COMPENSATION, Flow(undoes=record.flow.undoes, number=record.flow.number))
            heir.tags = ("heir",)
            yield heir

    def child(self, parent: Record, number: int, kind: str, flow: Flow | None) -> Record:
        id = hashlib.sha256(parent.id + bytes([number, parent.attempt])).digest()[:16]
        return self.number(
            Record(
                id=id,
                type="t",
                payload=b"{}",
                due=NOW,
                created=NOW,
                workflow=parent.workflow_id,
                parent=parent.id,
                kind=kind,
                flow=flow,
            )
        )

    def part(self, record: Record, act: End, outcome: Outcome, *, parks: bool) -> Part:
        is_step, flow = record.kind == TASK and not parks, record.flow or Flow()
        known = "completed" if outcome.status == COMPLETED else "unknown"
        fields: dict[str, Any] = {"workflow": record.workflow_id, "step": record.id, "outcome": known, "at": NOW}
        entries = [Entry(**fields, type="t", source=record.id)] if act.own and is_step else []
        for number in range(act.promises if is_step else 0):
            undo = Record(id=bytes(16), type="t", payload=b"%d" % number, due=NOW, created=NOW)
            entries.append(Entry(**fields, type="t", record=undo))
        return Part(
            workflow=record.workflow_id,
            kind=record.kind,
            critical=act.critical,
            pivot=act.pivot and is_step,
            join=flow.join,
            parked=parks,
            entries=entries,
            abort="enough" if act.abort and is_step else None,
            undoes=flow.number,
            cause="a step",
        )

    def stop_what_is_asked(self) -> None:
        """What the journal does next; what a batch has kept from starting, others have started by then."""
        asked = [record for record in self.memory.asked(["t"]) if record.kind == TASK]
        outcomes = [self.outcome(record, End(0, CANCELLED)) for record in asked]
        self.commit(Batch(NOW, cancels=outcomes, in_workflows=True))

    def compare(self) -> None:
        assert state(self.memory) == state(self.sqlite)
        for id in ROOTS:
            assert self.memory.history(id) == self.sqlite.history(id)
        asked = [sorted(storage.asked(["t"]), key=lambda record: record.seq) for storage in self.both()]
        assert asked[0] == asked[1]


def state(storage: Storage) -> tuple[Any, ...]:
    logs = [storage.undo_log(id) for id in ROOTS]
    return storage.select(ALL), storage.workflows(None, bytes(16), 1000), logs


@contextmanager
def pair() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        made = Pair(folder)
        yield made
        made.sqlite.close()


def play(drawn: Sequence[Sequence[Act]]) -> None:
    with pair() as both:
        for acts in drawn:
            both.act(acts)


@settings(max_examples=40, deadline=None)
@given(drawn=batches)
def test_memory_and_sqlite_make_the_same_of_workflows(drawn: Sequence[Sequence[Act]]) -> None:
    play(drawn)


def steps_and_logs(storage: Storage) -> tuple[Any, ...]:
    """What must not depend on batches: not when a step was told to stop, nor what number a row was given."""
    rows = sorted((r.id, r.kind, r.status, r.workflow, r.flow) for r in storage.select(ALL))
    return rows, storage.workflows(None, bytes(16), 1000), [storage.undo_log(id) for id in ROOTS]


def split_and_whole(before: Sequence[Sequence[Act]], together: Sequence[End], cut: int) -> None:
    with pair() as whole, pair() as split:
        split.seqs = whole.seqs
        for acts in before:
            whole.act(acts)
            split.act(acts)
        batch = whole.batch(together)
        steps = [outcome for outcome in batch.outcomes if outcome.part is not None and outcome.part.kind == TASK]
        batch.outcomes = steps
        for piece in (steps[:cut], steps[cut:]):
            split.commit(Batch(NOW, outcomes=copy.deepcopy(piece), in_workflows=True))
        whole.commit(batch)
        for each in (whole, split):
            each.stop_what_is_asked()
        assert steps_and_logs(whole.sqlite) == steps_and_logs(split.sqlite)


@settings(max_examples=40, deadline=None)
@given(
    before=st.lists(st.lists(ends, min_size=1, max_size=3), max_size=4),
    together=st.lists(ends, min_size=2, max_size=4),
    cut=st.integers(1, 3),
)
def test_a_batch_cut_in_two_comes_to_the_same(
    before: Sequence[Sequence[Act]], together: Sequence[End], cut: int
) -> None:
    split_and_whole(before, together, cut)


def what_follows() -> None:
    with pair() as both:
        both.act([End(0, COMPLETED, follow_ups=2)])
        both.act([End(1, COMPLETED, follow_ups=1), End(1, COMPLETED, abort=True)])
        for storage in both.both():
            (row,) = storage.workflows(None, bytes(16), 9)
            assert (row.state, row.open) == (WorkflowState.CANCELLED, 0)
            statuses = sorted(record.status for record in storage.select(Selection(workflow=row.id)))
            assert statuses == [COMPLETED, COMPLETED, COMPLETED, CANCELLED]


def test_what_follows_from_a_step_does_not_start_if_another_one_of_the_same_batch_aborts() -> None:
    what_follows()


def test_a_stage_that_was_begun_before_does_not_keep_its_saga_from_beginning_the_next_one() -> None:
    with pair() as both:
        first = both.batch([End(0, COMPLETED, follow_ups=1, parks=True)])
        both.commit(first)
        both.act([End(1, COMPLETED)])  # the stage is over, and wakes the saga
        second = both.batch([End(0, COMPLETED, follow_ups=1, parks=True)])
        (saga,) = second.outcomes
        (step,) = saga.follow_ups
        step.id = bytes([7]) * 16
        both.number(step)
        second.outcomes = [*first.outcomes, saga]  # the first commit's outcome was not known: it comes once more
        answers = [storage.commit(both.own(second)) for storage in both.both()]
        assert [answer.lost for answer in answers] == [{saga.seq}, {saga.seq}]
        both.compare()
        assert both.sqlite.get(step.id) is not None


def fence_off(before: Sequence[Sequence[Act]], late: Sequence[End]) -> None:
    with pair() as both:
        for acts in before:
            both.act(acts)
        batch = both.batch([copy.copy(act) for act in late])
        for outcome in batch.outcomes:
            outcome.owner = 99
        for storage in both.both():
            was = copy.deepcopy(state(storage))
            answer = storage.commit(both.own(batch))
            assert (answer.lost, answer.changes) == ({outcome.seq for outcome in batch.outcomes}, None)
            assert state(storage) == was


@settings(max_examples=40, deadline=None)
@given(before=batches, late=st.lists(ends, min_size=1, max_size=4))
def test_outcomes_that_are_fenced_off_change_nothing(before: Sequence[Sequence[Act]], late: Sequence[End]) -> None:
    fence_off(before, late)


def sweep(drawn: Sequence[Sequence[Act]]) -> None:
    with pair() as both:
        for acts in drawn:
            both.act(acts)
        rows, workflows, logs = copy.deepcopy(state(both.memory))
        unfinished = {row.id for row in workflows if not row.state.final}
        unfinished |= {record.workflow_id for record in rows if record.status < COMPLETED}
        kept = [
            [record for record in rows if record.workflow_id in unfinished],
            [row for row in workflows if row.id in unfinished],
            [log if id in unfinished else [] for id, log in zip(ROOTS, logs, strict=True)],
        ]
        for storage in both.both():
            storage.sweep(NOW + 1, 0, 1000)
            assert list(state(storage)) == kept


@settings(max_examples=40, deadline=None)
@given(drawn=batches)
def test_retention_deletes_workflows_that_have_ended_as_a_whole_and_no_other(drawn: Sequence[Sequence[Act]]) -> None:
    sweep(drawn)


def test_what_is_told_of_several_workflows_is_in_the_order_of_the_batch() -> None:
    with pair() as both:
        both.act([Order(ROOTS[1], OrderKind.CANCEL, "why"), Order(ROOTS[0], OrderKind.CANCEL, "why")])
        both.act([End(1, COMPLETED), End(0, COMPLETED)])


STUCK = ([End(0, COMPLETED, follow_ups=1, own=True)], [End(1, FAILED)], [End(1, FAILED)])
"""A step that completes, one that fails, and an undo that fails."""


def test_a_stuck_workflow_is_kept_though_all_its_tasks_have_ended() -> None:
    with pair() as both:
        for acts in STUCK:
            both.act(acts)
        for storage in both.both():
            assert [row.state for row in storage.workflows((WorkflowState.STUCK,), bytes(16), 9)] == [
                WorkflowState.STUCK
            ]
            assert storage.sweep(NOW + 1, 0, 1000).deleted == 0
            assert len(storage.undo_log(ROOTS[0])) == 1


def keeps_no_rounds(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_workflows, "_UPDATE", sqlite_workflows._UPDATE.replace("round = ?", "round = 0 * ?"))


def stops_too_much(patch: pytest.MonkeyPatch) -> None:
    stop = MemoryWorkflows.stop
    patch.setattr(MemoryWorkflows, "stop", lambda table, *args: [*stop(table, *args), bytes(16)])


def admits_too_early(patch: pytest.MonkeyPatch) -> None:
    def end(ledger: Ledger, outcomes: Sequence[Outcome]) -> list[Record]:
        follow_ups: list[Record] = []
        for outcome in outcomes:
            assert outcome.part is not None
            ledger._load((outcome.part.workflow,))
            row = ledger._row(outcome.part.workflow, outcome.id)
            ledger._end(row, outcome.part, outcome)
            follow_ups += ledger._admit(row, outcome.follow_ups)
        return follow_ups

    patch.setattr(Ledger, "end", end)


def ends_what_was_fenced_off(patch: pytest.MonkeyPatch) -> None:
    end = MemoryStorage._end

    def trusting(storage: MemoryStorage, outcomes: Sequence[Outcome], *args: Any) -> None:
        for outcome in outcomes:
            outcome.owner = 1
        end(storage, outcomes, *args)

    patch.setattr(MemoryStorage, "_end", trusting)


def deletes_the_stuck(patch: pytest.MonkeyPatch) -> None:
    text = sqlite_retention._WHOLE.replace("finished IS NULL", "0")
    patch.setattr(sqlite_retention, "_WHOLE", text)


def leaves_undo_entries(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_retention, "_WORKFLOWS", "IN (SELECT ? WHERE 0)")


few = st.lists(ends, min_size=2, max_size=4)
PLANTED: list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[..., None], list[Any]]] = [
    (keeps_no_rounds, play, [st.just((*STUCK, [Order(ROOTS[0], OrderKind.RESUME, "")]))]),
    (stops_too_much, play, [batches]),
    (admits_too_early, what_follows, []),
    (ends_what_was_fenced_off, fence_off, [batches, few]),
    (deletes_the_stuck, sweep, [st.just(STUCK)]),
    (leaves_undo_entries, sweep, [batches]),
]


@pytest.mark.parametrize(("plant", "run", "drawn"), PLANTED, ids=[bug.__name__ for bug, *_ in PLANTED])
def test_a_planted_bug_is_caught(
    plant: Callable[[pytest.MonkeyPatch], None],
    run: Callable[..., None],
    drawn: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The controls: the same acts, and the same looks at both storages."""
    plant(monkeypatch)

    @settings(max_examples=2000, phases=[Phase.generate], derandomize=True, database=None, deadline=None)
    @given(arguments=st.tuples(*drawn))
    def search(arguments: tuple[Any, ...]) -> None:
        run(*arguments)

    with pytest.raises((AssertionError, ExceptionGroup)):
        search()
