"""What stands in the place of rows that an insert has left out, looked up only after that has happened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from everact.storage.rows import RECORD, as_record, fetch
from everact.storage.statements import ManyRows
from everact.tasks.record import Record

_BY_SEQ = ManyRows("task WHERE seq IN (VALUES {rows})", "(?)")
_BY_ID = ManyRows("task WHERE id IN (VALUES {rows})", "(?)")
_BY_KEY = ManyRows(
    """
(VALUES {rows}) AS wanted CROSS JOIN task ON type = wanted.column1 AND key = wanted.column2
WHERE key IS NOT NULL AND status < 3
""",
    "(?,?)",
)


class HolderGone(Exception):
    """The task that held a key ended between the insert and the look; another node writes to the file."""


def present(connection: sqlite3.Connection, seqs: Sequence[int]) -> set[int]:
    """Tell which of these rows exist."""
    parameters: list[object] = [*seqs]
    return {seq for (seq,) in fetch(connection, "seq", _BY_SEQ.text_for(parameters), parameters)}


def exists(connection: sqlite3.Connection, id: bytes) -> bool:
    """Tell whether there is a task of this id."""
    return bool(fetch(connection, "seq", "task WHERE id = ?", (id,)))


def left_out(connection: sqlite3.Connection, records: Sequence[Record]) -> dict[bytes, Record]:
    """Find which of the rows just inserted were left out.

    A row that stood there before with the same id and the same seq counts as stored: that batch was sent
    again because its outcome was unknown.

    Returns:
        By the id of each: the row with the same id, else the unfinished task of its type that holds its key.

    Raises:
        HolderGone: There is neither any more.
    """
    parameters: list[object] = [record.id for record in records]
    found = fetch(connection, "hex(id), seq", _BY_ID.text_for(parameters), parameters)
    seqs = {bytes.fromhex(id_): seq for id_, seq in found}
    missing = [record for record in records if seqs.get(record.id) != record.seq]
    taken = _by_id(connection, [record.id for record in missing if record.id in seqs])
    return taken | _by_key(connection, [record for record in missing if record.id not in seqs])


def _by_id(connection: sqlite3.Connection, ids: Iterable[bytes]) -> dict[bytes, Record]:
    parameters: list[object] = [*ids]
    if not parameters:
        return {}
    rows = fetch(connection, RECORD, _BY_ID.text_for(parameters), parameters)
    return {record.id: record for record in map(as_record, rows)}


def _by_key(connection: sqlite3.Connection, records: Sequence[Record]) -> dict[bytes, Record]:
    parameters: list[object] = [value for record in records for value in (record.type, record.key)]
    if not parameters:
        return {}
    rows = fetch(connection, RECORD, _BY_KEY.text_for(parameters), parameters)
    holders = {(holder.type, holder.key): holder for holder in map(as_record, rows)}
    try:
        return {record.id: holders[record.type, record.key] for record in records}
    except KeyError:
        raise HolderGone from None
