"""What is wrong with a database after a power cut."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from everact import TaskStatus
from power.ledger import CANCELLED, ENDED, Promises
from power.workload import GROUP, WAIT, system_on

LOST = "lost"
"""A task is missing whose dispatch had returned."""
UNDONE = "undone"
"""An outcome is missing that a caller was told."""
SPLIT = "split"
"""Half of a transaction is there: a follow-up without its parent's completion or the reverse, part of a group."""
DAMAGED = "damaged"
"""SQLite cannot read the file, or finds it inconsistent."""
STRANDED = "stranded"
"""A task does not run on after a restart."""

_COMPLETED = int(TaskStatus.COMPLETED)
_STATUS = {ENDED: _COMPLETED, CANCELLED: int(TaskStatus.CANCELLED)}
_REST = {TaskStatus.COMPLETED, TaskStatus.CANCELLED, TaskStatus.SCHEDULED}  # scheduled for an hour later


class _Payload(msgspec.Struct, gc=False):
    number: int
    group: int = 0


class _Row(NamedTuple):
    id: bytes
    status: int
    parent: bytes | None
    packs: bool
    result: bytes | None
    payload: bytes


_ROWS = "SELECT id, status, parent, type LIKE '%PackOrder', result, payload FROM task"
_decode = msgspec.json.Decoder(_Payload).decode


def faults(folder: Path, promises: Promises) -> set[str]:
    """Open the database as SQLite does after a crash, and look for each promise."""
    try:
        with closing(sqlite3.connect(folder / "tasks.db")) as connection:
            connection.executescript("PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = OFF")
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                return {DAMAGED}
            rows = {row.id: row for row in _rows(connection)}
        return {*_broken_promises(rows, promises), *_half_transactions(rows)}
    except (sqlite3.DatabaseError, msgspec.DecodeError):
        return {DAMAGED}


def _rows(connection: sqlite3.Connection) -> Iterator[_Row]:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'task'").fetchone():
        yield from map(_Row._make, connection.execute(_ROWS))


def _broken_promises(rows: dict[bytes, _Row], promises: Promises) -> Iterator[str]:
    if not promises.stored <= rows.keys():
        yield LOST
    told = ((rows[task_id], promise) for task_id, promise in promises.final.items() if task_id in rows)
    if any(row.status != _STATUS[promise] or (promise == ENDED and not _is_own(row)) for row, promise in told):
        yield UNDONE


def _is_own(row: _Row) -> bool:
    """Whether the result is the one that this payload must have."""
    return row.result == str(_decode(row.payload).number).encode()


def _half_transactions(rows: dict[bytes, _Row]) -> Iterator[str]:
    packed = [row.id for row in rows.values() if row.packs and row.status == _COMPLETED]
    follow_ups = [row.parent for row in rows.values() if row.parent is not None]
    if sorted(packed) != sorted(follow_ups):
        yield SPLIT
    groups = Counter(_decode(row.payload).group for row in rows.values() if row.packs)
    if any(size != GROUP for group, size in groups.items() if group):
        yield SPLIT


def faults_after_restart(folder: Path, promises: Promises) -> set[str]:
    """Have everact go on with the database until nothing is left to do, and look again."""
    with system_on(folder) as system:
        system.wait_idle(WAIT)
        stranded = {status for status, count in system.counts().items() if count} - _REST
    return faults(folder, promises) | ({STRANDED} if stranded else set())
