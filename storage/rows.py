"""Reading from SQLite: many rows come as one JSON text, made by SQLite itself.

Fetching row by row gives up the GIL at every row; beside a thread that computes, a page of 1,000 rows then
takes seven seconds instead of 20 ms. On a quiet machine there is no difference.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from everact.tasks.record import Flow, Record, TaskError

T = TypeVar("T")

# Bytes travel as hex: JSON has none, and SQLite 3.40 has no base64.
_BLOBS = ("parent", "workflow", "retry_of", "result")
_MAIN = [
    "seq",
    "id",
    "type",
    "status",
    "owner",
    "priority",
    "due",
    "attempt",
    "created",
    "started",
    "finished",
    "queue",
    "kind",
    "payload",
    "checksum",
]
_REST = {
    "crashes": "0",
    "suspect": "0",
    "codec": "'json'",
    "version": "1",
    "key_id": "NULL",
    "key": "NULL",
    "tags": "NULL",
    "parent": "NULL",
    "workflow": "NULL",
    "retry_of": "NULL",
    "cancel_requested": "NULL",
    "headers": "NULL",
    "error": "NULL",
    "result": "NULL",
    "flow": "NULL",
}
"""Columns that have these values in nearly all rows: they are read together, and only where one has not."""


def _cell(column: str) -> str:
    if column in {"id", "payload"}:
        return f"hex({column})"
    return f"iif({column} IS NULL, NULL, hex({column}))" if column in _BLOBS else column


def _record() -> str:
    usual = " AND ".join(f"{column} IS {value}" for column, value in _REST.items())
    rest = f"iif({usual}, NULL, json_array({', '.join(map(_cell, _REST))}))"
    return ", ".join([*map(_cell, _MAIN), rest])


RECORD = _record()
"""What `as_record` reads."""

_decode_rows = msgspec.json.Decoder(list[list[Any]]).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode
_decode_error = msgspec.json.Decoder(TaskError).decode
_decode_flow = msgspec.json.Decoder(Flow).decode


def fetch(
    connection: sqlite3.Connection, cells: str, source: str, parameters: Sequence[object] = ()
) -> list[list[Any]]:
    """Read rows in one step.

    Args:
        connection: Used by no other thread at this moment.
        cells: The expressions to read, none of them a blob.
        source: What follows FROM; where the order matters, it ends with ORDER BY and LIMIT.
        parameters: Those of `source`.
    """
    query = f"SELECT json_group_array(json_array({cells})) FROM (SELECT * FROM {source})"
    try:
        (text,) = connection.execute(query, parameters).fetchone()
        return _decode_rows(text)
    except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
        if not _is_about_content(error):
            raise
        return _fetch_singly(connection, cells, source, parameters)


def _is_about_content(error: Exception) -> bool:
    """Whether the rows are there, but too large for one text, or not UTF-8 (an error without a code)."""
    if isinstance(error, msgspec.DecodeError | sqlite3.DataError):
        return True
    return isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode")


def _fetch_singly(
    connection: sqlite3.Connection, cells: str, source: str, parameters: Sequence[object]
) -> list[list[Any]]:
    """Read rows one by one, replacing what is not UTF-8: one damaged row must not hide the others."""
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        query = f"SELECT json_array({cells}) FROM (SELECT * FROM {source})"
        return [msgspec.json.decode(text) for (text,) in connection.execute(query, parameters)]
    finally:
        connection.text_factory = str


def as_record(row: list[Any]) -> Record:
    """Make a record of what `RECORD` has read.

    What cannot be decoded is left out: the engine quarantines such a task, and can only do so if it gets it.
    """
    record = Record(
        seq=row[0],
        id=bytes.fromhex(row[1]),
        type=row[2],
        status=row[3],
        owner=row[4],
        priority=row[5],
        due=row[6],
        attempt=row[7],
        created=row[8],
        started=row[9],
        finished=row[10],
        queue=row[11],
        kind=row[12],
        payload=bytes.fromhex(row[13]),
        checksum=row[14],
    )
    if row[15] is not None:
        _add_rest(record, row[15])
    return record


def _add_rest(record: Record, rest: list[Any]) -> None:
    record.crashes, suspect, record.codec, record.version, record.key_id, record.key, *others = rest
    record.suspect = bool(suspect)
    tags, parent, workflow, retry_of, record.cancel_requested, headers, error, result, flow = others
    record.tags = _decoded(_decode_tags, tags) or ()
    record.parent, record.workflow = _bytes(parent), _bytes(workflow)
    record.retry_of, record.result = _bytes(retry_of), _bytes(result)
    record.headers = _decoded(_decode_headers, headers)
    record.error = _decoded(_decode_error, error)
    record.flow = _decoded(_decode_flow, flow)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _decoded(decode: Callable[[str], T], text: str | None) -> T | None:
    if text is None:
        return None
    try:
        return decode(text)
    except msgspec.DecodeError:
        return None
