"""Moves workflows on in the transaction that ends or stores their tasks; the same text for every storage."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from everact.storage.changes import Answer, Changes, Move, Order, OrderKind, Stop
from everact.storage.compensations import again, compensation
from everact.storage.protocol import NOBODY, Batch, Outcome
from everact.tasks import status as st
from everact.tasks import unwinding
from everact.tasks.record import COMPENSATION, TASK, HistoryRow, Record, TaskError
from everact.tasks.unwinding import Entry, EntryState, Part, WorkflowRow
from everact.tasks.workflow import WorkflowState


class WorkflowTable(Protocol):
    """What a ledger reads and writes, inside of one transaction."""

    def load(self, ids: Collection[bytes]) -> dict[bytes, WorkflowRow]:
        """Read workflows; the ledger may change what it is given."""
        ...

    def save(self, rows: Sequence[WorkflowRow]) -> None:
        """Write workflows, new ones too."""
        ...

    def task(self, id: bytes) -> Record | None:
        """Read a task."""
        ...

    def root(self, id: bytes) -> None:
        """Note in a task's row that it is not alone in its workflow."""
        ...

    def insert(self, record: Record) -> None:
        """Store a task that the ledger itself has made."""
        ...

    def add(self, entries: Sequence[Entry]) -> None:
        """Write new entries."""
        ...

    def update(self, entry: Entry) -> None:
        """Write an entry's position, state, round and note."""
        ...

    def entries(self, workflow: bytes, state: EntryState) -> list[Entry]:
        """Read the entries in a state, in order of their positions."""
        ...

    def wait(self, deltas: Mapping[bytes, int]) -> list[bytes]:
        """Change the number of tasks that each of these sagas waits for.

        Returns:
            Those that are parked and wait for nothing more.
        """
        ...

    def waiting(self, workflow: bytes) -> list[bytes]:
        """The parked sagas of a workflow that wait for nothing more."""
        ...

    def wake(self, saga: bytes, now: int, owner: int) -> Record:
        """Queue a parked saga again, as the owner's."""
        ...

    def stop(self, workflow: bytes, reason: str) -> list[bytes]:
        """Note in the rows of all open steps that they are to stop, and return their ids."""
        ...


class Ledger:
    """One transaction's view of the workflows that it concerns; used once.

    Attributes:
        changes: What there is to tell.
        history: What there is to write into the history of workflows' roots.
    """

    def __init__(self, table: WorkflowTable, batch: Batch, owner: int) -> None:
        self.changes = Changes()
        self.history: list[HistoryRow] = []
        self._table = table
        self._now = batch.now
        self._batch = batch
        self._owner = owner
        self._rows: dict[bytes, WorkflowRow] = {}
        self._before: dict[bytes, WorkflowState | None] = {}
        self._joins: dict[bytes, int] = {}
        self._workflow_of: dict[bytes, bytes] = {}
        self._arrivals: list[tuple[WorkflowRow, Record]] = []

    @property
    def told(self) -> Changes | None:
        """What there is to tell; None for nothing."""
        c = self.changes
        if c.moves or c.made or c.woken or c.stops or c.barred or c.rooted or c.answers or c.entries:
            return c
        return None

    # -- what the batch asks for ---------------------------------------------------------------------------

    def end(self, outcomes: Sequence[Outcome]) -> list[Record]:
        """Take ends of deliveries into account, in their order; their rows are written already.

        Returns:
            Their follow-ups as they are to be stored.
        """
        self._load(outcome.part.workflow for outcome in outcomes if outcome.part is not None)
        for outcome in outcomes:
            if outcome.part is not None:
                self._end(self._row(outcome.part.workflow, outcome.id), outcome.part, outcome)
        # Only now: what a later one of them unwinds must not start what follows from an earlier one.
        follow_ups: list[Record] = []
        for outcome in outcomes:
            row = None if outcome.part is None else self._rows[outcome.part.workflow]
            follow_ups += outcome.follow_ups if row is None else self._admit(row, outcome.follow_ups)
        return follow_ups

    def arrive(self, records: Sequence[Record]) -> list[Record]:
        """Take new tasks into account, some of them dispatched inside of workflows; returns them as they are stored."""
        self._load(record.workflow for record in records if record.workflow is not None)
        admitted: list[Record] = []
        for record in records:
            if record.workflow is None:
                admitted.append(record)
            else:
                admitted += self._admit(self._row(record.workflow, None), (record,))
        return admitted

    def stored(self, taken: Mapping[bytes, Record]) -> None:
        """Count what has been admitted and, as it met no taken id or key, is stored."""
        arrivals, self._arrivals = self._arrivals, []
        for row, record in arrivals:
            if record.id in taken and taken[record.id].seq != record.seq:
                continue
            unwinding.opened(row, record.kind)
            if record.flow is not None and record.flow.join is not None:
                self._expect(record.flow.join, row, 1)

    def obey(self, order: Order) -> None:
        """Carry out what an operator wants, if it can be done; the answer says."""
        self._load((order.workflow,))
        if order.kind is OrderKind.CANCEL:
            self.changes.answers.append(self._cancel(order))
        else:
            self.changes.answers.append(self._resume(order))

    def conclude(self) -> None:
        """After all of that: let sagas go on, play the next entries, end what is over, and write it all down."""
        if self._joins:
            self._wake(self._table.wait(self._joins))
        for row in self._rows.values():
            if unwinding.wants_play(row):
                self._play(row)
            unwinding.conclude(row, self._now)
            if row.state is not self._before[row.id]:
                self._tell(row)
        self._table.save(list(self._rows.values()))

    # -- rows ----------------------------------------------------------------------------------------------

    def _load(self, ids: Iterable[bytes]) -> None:
        wanted = [id for id in dict.fromkeys(ids) if id not in self._rows]  # noqa: A001 - the workflow's own word
        if wanted:
            found = self._table.load(wanted)
            for row in [found[id] for id in wanted if id in found]:  # noqa: A001 - in the same order in each storage
                self._rows[row.id] = row
                self._before[row.id] = row.state

    def _row(self, id: bytes, ending: bytes | None) -> WorkflowRow:
        """A loaded row, or the first row of a workflow that was one task until now: that, or it, is ending."""
        row = self._rows.get(id)
        if row is None:
            row = self._rows[id] = WorkflowRow(id=id, created=self._now)
            self._before[id] = None
            root = self._table.task(id)
            is_open = root is not None and root.status < st.COMPLETED
            if is_open or ending == id:
                unwinding.opened(row, TASK)
            if is_open:
                self._table.root(id)
                self.changes.rooted.append(id)
        return row

    def _tell(self, row: WorkflowRow) -> None:
        if self._before[row.id] is None and row.state is WorkflowState.RUNNING:
            return
        self.changes.moves.append(Move(row.id, row.state, row.reason))
        if row.state in (WorkflowState.STUCK, WorkflowState.COMPENSATED):
            self.history.append(self._note(row, row.state.value, row.reason))

    def _note(self, row: WorkflowRow, event: str, detail: str) -> HistoryRow:
        return HistoryRow(row.id, self._now, event, 0, detail)

    # -- ends ----------------------------------------------------------------------------------------------

    def _end(self, row: WorkflowRow, part: Part, outcome: Outcome) -> None:
        self._promise(row, part, outcome)
        heirs = [record.id for record in outcome.follow_ups if record.kind == COMPENSATION]
        played = unwinding.ended(row, part, outcome.id, outcome.status, continued=heirs[0] if heirs else None)
        if played is not None:
            self._move_entry(row, part, played)
        if part.join is not None and outcome.status >= st.COMPLETED:
            self._expect(part.join, row, -1)
        if part.parked:
            self._expect(outcome.id, row, 0)
            if row.unwinding:
                self.changes.stops.append(Stop(row.id, row.reason, [outcome.id]))
        if unwinding.begins_to_unwind(row):
            self._stop(row)

    def _promise(self, row: WorkflowRow, part: Part, outcome: Outcome) -> None:
        """Write the entries of a delivery; those of earlier ones count now, if the step has not ended well."""
        if row.pivoted:
            return
        is_over, held = outcome.status >= st.COMPLETED, self._held(row, outcome)
        for entry in held if is_over else ():
            unwinding.place(row, entry)
            self._table.update(entry)
        entries = [copy.copy(entry) for entry in unwinding.new_ones(part.entries, held)]  # a failed commit is repeated
        for entry in entries:
            (unwinding.place if is_over else unwinding.hold)(row, entry)
        if entries:
            self._table.add(entries)

    def _held(self, row: WorkflowRow, outcome: Outcome) -> list[Entry]:
        """What earlier deliveries of a step that has not ended well have promised."""
        if not row.held or outcome.status == st.COMPLETED:
            return []
        return [entry for entry in self._table.entries(row.id, EntryState.HELD) if entry.step == outcome.id]

    def _move_entry(self, row: WorkflowRow, part: Part, state: EntryState) -> None:
        for entry in self._table.entries(row.id, EntryState.PLAYING):
            if entry.number == part.undoes:
                entry.state = state
                entry.note = part.cause if state is EntryState.STUCK else ""
                self._table.update(entry)
                if state is not EntryState.PLAYING:
                    self.changes.entries.append(state)

    def _expect(self, saga: bytes, row: WorkflowRow, count: int) -> None:
        self._joins[saga] = self._joins.get(saga, 0) + count
        self._workflow_of[saga] = row.id

    def _admit(self, row: WorkflowRow, records: Iterable[Record]) -> list[Record]:
        admitted: list[Record] = []
        for record in records:
            if record.kind == TASK and row.unwinding:
                admitted.append(self._barred(row, record))
            else:
                self._arrivals.append((row, record))
                admitted.append(record)
        return admitted

    def _barred(self, row: WorkflowRow, record: Record) -> Record:
        self.changes.barred.add(record.id)
        error = TaskError("everact.tasks.errors.TaskCancelled", row.reason)
        return msgspec.structs.replace(record, status=st.CANCELLED, finished=self._now, error=error)

    def _stop(self, row: WorkflowRow) -> None:
        self.history.append(self._note(row, "compensating", row.reason))
        tasks = self._table.stop(row.id, row.reason)
        if tasks:
            self.changes.stops.append(Stop(row.id, row.reason, tasks))

    # -- going on ------------------------------------------------------------------------------------------

    def _wake(self, sagas: Iterable[bytes]) -> None:
        for saga in sagas:
            if self._rows[self._workflow_of[saga]].state is WorkflowState.RUNNING:
                record = self._table.task(saga)
                assert record is not None  # noqa: S101 - its row has just been changed
                self.changes.woken.append(self._table.wake(saga, self._now, self._home(record)))

    def _home(self, record: Record) -> int:
        """Who is to run it."""
        return self._owner if self._batch.handles(record.type) else NOBODY

    def _make(self, row: WorkflowRow, record: Record) -> None:
        """Store a task that the workflow's own rules ask for."""
        record = self._batch.number(record)
        record.owner = self._home(record)
        self._table.insert(record)
        unwinding.opened(row, record.kind)
        self.changes.made.append(record)

    def _play(self, row: WorkflowRow) -> None:
        entry = self._table.entries(row.id, EntryState.PENDING)[-1]
        step, source = self._table.task(entry.step), self._table.task(entry.source) if entry.source else None
        record = compensation(entry, step, source, self._now)
        self._make(row, record)
        row.playing = record.id
        entry.state = EntryState.PLAYING
        self._table.update(entry)

    # -- orders --------------------------------------------------------------------------------------------

    def _cancel(self, order: Order) -> Answer:
        row = self._rows.get(order.workflow)
        if row is None:
            root = self._table.task(order.workflow)
            if root is None or root.workflow not in (None, order.workflow):
                return Answer.NOT_FOUND
            if root.status >= st.COMPLETED:
                return Answer.FINISHED
            row = self._row(order.workflow, None)
        if row.state.final:
            return Answer.FINISHED
        if row.unwinding:
            return Answer.UNWINDING
        if row.pivoted:
            return Answer.PAST_PIVOT
        row.trigger, row.reason = unwinding.CANCEL, order.text
        unwinding.begins_to_unwind(row)
        self._stop(row)
        return Answer.DONE

    def _resume(self, order: Order) -> Answer:
        row = self._rows.get(order.workflow)
        if row is None:
            return Answer.NOT_FOUND if self._table.task(order.workflow) is None else Answer.NOT_STUCK
        if row.state is not WorkflowState.STUCK:
            return Answer.NOT_STUCK
        skip = order.kind is OrderKind.SKIP
        self.history.append(self._note(row, "skipped" if skip else "resumed", order.text))
        for entry in self._table.entries(row.id, EntryState.STUCK):
            self._take_up(row, entry, order.text, skip=skip)
        failed = row.stuck if row.pivoted and not skip else ()
        unwinding.resumed(row)
        for id in failed:  # noqa: A001 - the task's own word
            self._repeat(row, id)
        if row.pivoted:
            joins = set(self._table.waiting(row.id))
            self._workflow_of |= dict.fromkeys(joins, row.id)
            self._wake(joins.difference(self._joins))
        return Answer.DONE

    def _take_up(self, row: WorkflowRow, entry: Entry, note: str, *, skip: bool) -> None:
        entry.round += not skip
        entry.state = EntryState.SKIPPED if skip else EntryState.PENDING
        entry.note = note
        row.pending -= skip
        self._table.update(entry)
        if skip:
            self.changes.entries.append(EntryState.SKIPPED)

    def _repeat(self, row: WorkflowRow, id: bytes) -> None:
        """Run a step that failed after the pivot once more, as a new task in the place of the old one."""
        failed = self._table.task(id)
        if failed is None or failed.status == st.COMPLETED:
            return  # it aborted the workflow, and there is nothing to repeat
        record = again(failed, self._now)
        self._make(row, record)
        if record.flow is not None and record.flow.join is not None:
            self._expect(record.flow.join, row, 1)
