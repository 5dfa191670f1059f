"""Workflows and undo entries in dictionaries, as a `Ledger` wants them."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter

from everact.storage.protocol import Committed
from everact.tasks import status as st
from everact.tasks.record import TASK, Record
from everact.tasks.schedule import FOREVER
from everact.tasks.unwinding import Entry, EntryState, WorkflowRow
from everact.tasks.workflow import WorkflowState


class MemoryWorkflows:
    """A `WorkflowTable`; `tasks` and `insert` are the storage's own.

    Attributes:
        rows: All workflows of several tasks, by id.
        members: Their tasks.
        logs: Their undo entries.
    """

    def __init__(self, tasks: Mapping[bytes, Record], insert: Callable[[Sequence[Record], Committed], None]) -> None:
        self.rows: dict[bytes, WorkflowRow] = {}
        self.members: dict[bytes, list[Record]] = {}
        self.logs: dict[bytes, list[Entry]] = {}
        self._tasks = tasks
        self._insert = insert
        self._awaited: dict[bytes, int] = {}

    def load(self, ids: Collection[bytes]) -> dict[bytes, WorkflowRow]:
        """See `WorkflowTable.load`."""
        return {id: copy.copy(self.rows[id]) for id in ids if id in self.rows}  # noqa: A001 - the workflow's own word

    def save(self, rows: Sequence[WorkflowRow]) -> None:
        """See `WorkflowTable.save`."""
        self.rows.update((row.id, row) for row in rows)

    def task(self, id: bytes) -> Record | None:
        """See `WorkflowTable.task`."""
        return self._tasks.get(id)

    def root(self, id: bytes) -> None:
        """See `WorkflowTable.root`."""
        record = self._tasks[id]
        record.workflow = id
        self.members.setdefault(id, []).append(record)

    def insert(self, record: Record) -> None:
        """See `WorkflowTable.insert`."""
        self._insert((record,), Committed())

    def add(self, entries: Sequence[Entry]) -> None:
        """See `WorkflowTable.add`."""
        for entry in entries:
            self.logs.setdefault(entry.workflow, []).append(entry)

    def update(self, entry: Entry) -> None:
        """See `WorkflowTable.update`; the entries handed out are copies."""
        log = self.logs[entry.workflow]
        log[:] = [entry if each.number == entry.number else each for each in log]

    def entries(self, workflow: bytes, state: EntryState) -> list[Entry]:
        """See `WorkflowTable.entries`."""
        found = [copy.copy(entry) for entry in self.logs.get(workflow, ()) if entry.state == state]
        return sorted(found, key=lambda entry: entry.position)

    def wait(self, deltas: Mapping[bytes, int]) -> list[bytes]:
        """See `WorkflowTable.wait`."""
        for saga, delta in deltas.items():
            self._awaited[saga] = self._awaited.get(saga, 0) + delta
        return [saga for saga in deltas if self._is_over(saga)]

    def waiting(self, workflow: bytes) -> list[bytes]:
        """See `WorkflowTable.waiting`."""
        return [record.id for record in self.members.get(workflow, ()) if self._is_over(record.id)]

    def _is_over(self, saga: bytes) -> bool:
        record = self._tasks.get(saga)
        parked = record is not None and record.status == st.SCHEDULED and record.due == FOREVER
        return parked and saga in self._awaited and self._awaited[saga] <= 0

    def wake(self, saga: bytes, now: int, owner: int) -> Record:
        """See `WorkflowTable.wake`."""
        record = self._tasks[saga]
        self._awaited.pop(saga, None)
        record.due, record.owner, record.suspect, record.status = now, owner, False, st.QUEUED
        return copy.copy(record)

    def stop(self, workflow: bytes, reason: str) -> list[bytes]:
        """See `WorkflowTable.stop`."""
        open_steps = [r for r in self.members.get(workflow, ()) if r.status < st.COMPLETED and r.kind == TASK]
        for record in open_steps:
            if record.cancel_requested is None:
                record.cancel_requested = reason
        return [record.id for record in open_steps]

    def select(self, states: Collection[WorkflowState] | None, after: bytes, limit: int) -> list[WorkflowRow]:
        """See `Storage.workflows`."""
        fitting = [
            row for row in list(self.rows.values()) if row.id > after and (states is None or row.state in states)
        ]
        return [copy.copy(row) for row in heapq.nsmallest(limit, fitting, key=attrgetter("id"))]

    def log(self, workflow: bytes) -> list[Entry]:
        """See `Storage.undo_log`."""
        entries = map(copy.copy, self.logs.get(workflow, ()))
        return sorted(entries, key=lambda entry: (not entry.position, entry.position, entry.number))

    def forget(self, record: Record) -> None:
        """Forget what belongs to a task that is deleted."""
        workflow = record.workflow_id
        members = self.members.get(workflow)
        if members is not None:
            members[:] = [each for each in members if each.id != record.id]
        if not members:
            self.members.pop(workflow, None)
            self.rows.pop(workflow, None)
            self.logs.pop(workflow, None)
