"""Workflows and undo entries in SQL, as a `Ledger` wants them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from everact.storage import statements
from everact.storage.protocol import NOBODY
from everact.storage.rows import RECORD, as_record, fetch
from everact.storage.statements import ManyRows, chunks
from everact.tasks.record import Record
from everact.tasks.schedule import FOREVER
from everact.tasks.unwinding import Entry, EntryState, WorkflowRow
from everact.tasks.workflow import WorkflowState

_SOME = ManyRows("workflow WHERE id IN (VALUES {rows})", "(?)")
_SAVE = ManyRows(
    """
INSERT INTO workflow (id, state, created, finished, open, forward, pending, body) VALUES {rows}
ON CONFLICT (id) DO UPDATE SET state = excluded.state, finished = excluded.finished, open = excluded.open,
    forward = excluded.forward, pending = excluded.pending, body = excluded.body
""",
    "(?,?,?,nullif(?,-9223372036854775808),?,?,?,?)",
)
_ADD = """
INSERT INTO undo (workflow, number, position, step, state, type, outcome, round, at, note, source, record)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = "UPDATE undo SET position = ?, state = ?, round = ?, note = ? WHERE workflow = ? AND number = ?"
_ENTRY = (
    "hex(workflow), number, position, hex(step), state, type, outcome, round, at, note, "
    "iif(source IS NULL, NULL, hex(source)), iif(record IS NULL, NULL, hex(record))"
)
_OVER = f"awaits <= 0 AND status = 0 AND due = {FOREVER}"
_STOP = """
UPDATE task SET cancel_requested = coalesce(cancel_requested, ?)
WHERE workflow = ? AND status < 3 AND kind = 'task'
"""
_ASKED = "task INDEXED BY task_asked WHERE cancel_requested IS NOT NULL AND status < 3"
_UNOWNED = f"task INDEXED BY task_waiting WHERE status < 2 AND owner = {NOBODY} LIMIT 500"
_ADOPTED = "adoption WHERE adopter = ?"
_UNDER_WAY = """
workflow INDEXED BY workflow_open WHERE finished IS NULL AND id > ? AND state IN (SELECT value FROM json_each(?))
"""

_body = msgspec.json.Decoder(WorkflowRow).decode
_record = msgspec.msgpack.Decoder(Record).decode


class SqliteWorkflows:
    """A `WorkflowTable` over the connection of an open transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load(self, ids: Collection[bytes]) -> dict[bytes, WorkflowRow]:
        """See `WorkflowTable.load`."""
        found: dict[bytes, WorkflowRow] = {}
        for chunk in chunks(list(ids), statements.ROWS):
            parameters: list[object] = [*chunk]
            for row in fetch(self._connection, "hex(id), body", _SOME.text_for(parameters), parameters):
                found[bytes.fromhex(row[0])] = as_workflow(row)
        return found

    def save(self, rows: Sequence[WorkflowRow]) -> None:
        """See `WorkflowTable.save`."""
        for chunk in chunks(rows, statements.ROWS):
            _SAVE.execute(self._connection, [value for row in chunk for value in _values(row)])

    def task(self, id: bytes) -> Record | None:
        """See `WorkflowTable.task`."""
        rows = fetch(self._connection, RECORD, "task WHERE id = ?", (id,))
        return as_record(rows[0]) if rows else None

    def root(self, id: bytes) -> None:
        """See `WorkflowTable.root`."""
        self._connection.execute("UPDATE task SET workflow = id WHERE id = ?", (id,))

    def insert(self, record: Record) -> None:
        """See `WorkflowTable.insert`."""
        statements.insert(self._connection, (record,))

    def add(self, entries: Sequence[Entry]) -> None:
        """See `WorkflowTable.add`; entries are few, so they are written one by one."""
        for entry in entries:
            record = None if entry.record is None else msgspec.msgpack.encode(entry.record)
            self._connection.execute(
                _ADD,
                (
                    entry.workflow,
                    entry.number,
                    entry.position,
                    entry.step,
                    int(entry.state),
                    entry.type,
                    entry.outcome,
                    entry.round,
                    entry.at,
                    entry.note,
                    entry.source,
                    record,
                ),
            )

    def update(self, entry: Entry) -> None:
        """See `WorkflowTable.update`."""
        values = (entry.position, int(entry.state), entry.round, entry.note, entry.workflow, entry.number)
        self._connection.execute(_UPDATE, values)

    def entries(self, workflow: bytes, state: EntryState) -> list[Entry]:
        """See `WorkflowTable.entries`."""
        source = "undo WHERE workflow = ? AND state = ? ORDER BY position LIMIT -1"
        return [_entry(row) for row in fetch(self._connection, _ENTRY, source, (workflow, int(state)))]

    def wait(self, deltas: Mapping[bytes, int]) -> list[bytes]:
        """See `WorkflowTable.wait`."""
        over: list[bytes] = []
        for saga, delta in deltas.items():
            self._connection.execute(
                "UPDATE task SET awaits = coalesce(awaits, 0) + ? WHERE id = ? AND status < 3", (delta, saga)
            )
            over += self._ids(f"task WHERE id = ? AND {_OVER}", (saga,))
        return over

    def waiting(self, workflow: bytes) -> list[bytes]:
        """See `WorkflowTable.waiting`."""
        return self._ids(f"task WHERE workflow = ? AND {_OVER}", (workflow,))

    def wake(self, saga: bytes, now: int, owner: int) -> Record:
        """See `WorkflowTable.wake`."""
        self._connection.execute(
            "UPDATE task SET status = 1, due = ?, owner = ?, suspect = 0, awaits = NULL WHERE id = ?",
            (now, owner, saga),
        )
        record = self.task(saga)
        assert record is not None  # noqa: S101 - it has just been updated
        return record

    def stop(self, workflow: bytes, reason: str) -> list[bytes]:
        """See `WorkflowTable.stop`."""
        self._connection.execute(_STOP, (reason, workflow))
        return self._ids("task WHERE workflow = ? AND status < 3 AND kind = 'task' ORDER BY seq LIMIT -1", (workflow,))

    def _ids(self, source: str, parameters: Sequence[object]) -> list[bytes]:
        return [bytes.fromhex(id) for (id,) in fetch(self._connection, "hex(id)", source, parameters)]  # noqa: A001


def as_workflow(row: list[Any]) -> WorkflowRow:
    """Make a row of what `hex(id), body` has read; the id comes from its own column."""
    return msgspec.structs.replace(_body(row[1]), id=bytes.fromhex(row[0]))


def _values(row: WorkflowRow) -> tuple[object, ...]:
    finished = statements.NO_NUMBER if row.finished is None else row.finished
    body = msgspec.json.encode(row).decode()
    return bytearray(row.id), row.state.value, row.created, finished, row.open, row.forward, row.pending, body


def _entry(row: list[Any]) -> Entry:
    return Entry(
        workflow=bytes.fromhex(row[0]),
        number=row[1],
        position=row[2],
        step=bytes.fromhex(row[3]),
        state=row[4],
        type=row[5],
        outcome=row[6],
        round=row[7],
        at=row[8],
        note=row[9],
        source=None if row[10] is None else bytes.fromhex(row[10]),
        record=None if row[11] is None else _record(bytes.fromhex(row[11])),
    )


def workflow(connection: sqlite3.Connection, id: bytes) -> WorkflowRow | None:
    """Read one; see `Storage.workflow`."""
    return SqliteWorkflows(connection).load((id,)).get(id)


def workflows(
    connection: sqlite3.Connection, states: Collection[WorkflowState] | None, after: bytes, limit: int
) -> list[WorkflowRow]:
    """List them; see `Storage.workflows`."""
    wanted = json.dumps([state.value for state in (WorkflowState if states is None else states)])
    under_way = states is not None and not any(state.final for state in states)
    source = _UNDER_WAY if under_way else "workflow WHERE id > ? AND state IN (SELECT value FROM json_each(?))"
    source += " ORDER BY id LIMIT ?"
    return [as_workflow(row) for row in fetch(connection, "hex(id), body", source, (after, wanted, limit))]


def undo_log(connection: sqlite3.Connection, id: bytes) -> list[Entry]:
    """Read the entries of a workflow; see `Storage.undo_log`."""
    source = "undo WHERE workflow = ? ORDER BY position = 0, position, number LIMIT -1"
    return [_entry(row) for row in fetch(connection, _ENTRY, source, (id,))]


def asked(connection: sqlite3.Connection, me: int, types: Collection[str]) -> list[Record]:
    """Read what was asked to stop, usually nothing; see `Storage.asked`."""
    found = [as_record(row) for row in fetch(connection, RECORD, _ASKED)]
    if not found:
        return []
    mine = {(number, type_) for number, type_ in fetch(connection, "incarnation, type", _ADOPTED, (me,))}
    mine |= {(me, type_) for type_ in types}
    return [record for record in found if record.type in types and (record.owner, record.type) in mine]


def unowned(connection: sqlite3.Connection, types: Collection[str]) -> list[Record]:
    """Read what is nobody's, usually nothing; see `Storage.unowned`."""
    found = [as_record(row) for row in fetch(connection, RECORD, _UNOWNED)]
    return [record for record in found if record.type in types]
