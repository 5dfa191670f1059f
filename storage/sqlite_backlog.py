"""Pages of what waits in the file for this node: ready rows handler by handler, scheduled rows by time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator
from typing import NamedTuple

from everact.storage.protocol import Waiting
from everact.storage.rows import RECORD, as_record, fetch
from everact.tasks.record import Record
from everact.tasks.schedule import FOREVER

_OWNERS = "(SELECT ? AS owner UNION SELECT incarnation FROM adoption WHERE adopter = ? AND type = ?)"

# One stretch of task_waiting per priority: rows of that priority which are not due yet are never walked over.
_HIGHEST = "(SELECT max(priority) AS p FROM task WHERE status < 2 AND owner = ? AND type = ? AND priority < ?)"
_LEVEL = """
task INDEXED BY task_waiting
WHERE status < 2 AND owner = ? AND type = ? AND priority = ? AND due <= ? AND (due <= ? OR status = 1)
ORDER BY due, seq LIMIT ?
"""
_ABOVE_ALL = 1 << 62

_NEWEST = "task ORDER BY seq DESC LIMIT 1"
_FIRST_LATER = """
(SELECT max(due) AS latest FROM (
    SELECT due, status FROM task INDEXED BY task_waiting
    WHERE status < 2 AND owner = ? AND type = ? AND priority = ? AND due > ? ORDER BY due LIMIT ?) WHERE status = 1)
"""
LOOKED_AT = 10_000
"""Rows of a dead node that are due later, at which to look for such as were QUEUED before the clock was set back."""

_ADOPTED = "adoption WHERE adopter = ?"
# What is due at the end of time waits for something else: a saga for its stage.
_LATER = (
    "task INDEXED BY task_scheduled "
    f"WHERE status = 0 AND owner = ? AND due > ? AND due < {FOREVER} ORDER BY due, seq LIMIT ?"
)
_RETRYING = "task INDEXED BY task_retrying WHERE status = 0 AND attempt > 0 AND owner = ? AND type = ? LIMIT 1"

Key = tuple[int, int, int]


class Clock(NamedTuple):
    """The wall clock, which may have been set back.

    Attributes:
        now: What it shows.
        latest: The latest that it is known to have shown. What was QUEUED by then may start.
    """

    now: int
    latest: int


def ready(
    connection: sqlite3.Connection, me: int, types: Collection[str], clock: Clock, skip: Collection[int], limit: int
) -> list[Record]:
    """Read a page of rows that may start; see `Storage.ready`."""
    keys: list[Key] = []
    for type_ in types:
        for (owner,) in fetch(connection, "owner", _OWNERS, (me, me, type_)):
            keys += _ready_keys(connection, owner, type_, clock, skip, limit)
    return _rows(connection, sorted(keys)[:limit])


def scheduled(
    connection: sqlite3.Connection, me: int, types: Collection[str], after: int, skip: Collection[int], limit: int
) -> list[Record]:
    """Read a page of rows that are due later; see `Storage.scheduled`."""
    adopted = {(number, type_) for number, type_ in fetch(connection, "incarnation, type", _ADOPTED, (me,))}
    wanted = {(me, type_) for type_ in types} | {pair for pair in adopted if pair[1] in types}
    keys: list[Key] = []
    for owner in {owner for owner, _ in wanted}:
        pairs = {type_ for number, type_ in wanted if number == owner}
        keys += _later_keys(connection, owner, pairs, after, skip, limit)
    return _rows(connection, sorted(keys)[:limit])


def retrying(connection: sqlite3.Connection, me: int, types: Collection[str]) -> bool:
    """Tell whether a task of these types waits for its next attempt; see `Storage.retrying`."""
    return any(
        fetch(connection, "seq", _RETRYING, (owner, type_))
        for type_ in types
        for (owner,) in fetch(connection, "owner", _OWNERS, (me, me, type_))
    )


def newest(connection: sqlite3.Connection) -> int:
    """When the newest row was made; 0 if there is none. The clock has shown that."""
    return max((created for (created,) in fetch(connection, "created", _NEWEST)), default=0)


def latest_queued(connection: sqlite3.Connection, owner: int, type_: str, now: int) -> int:
    """The latest due time of QUEUED rows, `now` if none is later: a dead node's clock has shown that."""
    latest = now
    for priority in _levels(connection, owner, type_):
        ((due,),) = fetch(connection, "latest", _FIRST_LATER, (owner, type_, priority, now, LOOKED_AT))
        latest = max(latest, due or 0)
    return latest


def _ready_keys(
    connection: sqlite3.Connection, owner: int, type_: str, clock: Clock, skip: Collection[int], limit: int
) -> list[Key]:
    keys: list[Key] = []
    for priority in _levels(connection, owner, type_):
        wanted = limit - len(keys)
        if wanted <= 0:
            break
        parameters = (owner, type_, priority, clock.latest, clock.now, wanted + len(skip))
        found = fetch(connection, "due, seq", _LEVEL, parameters)
        keys += [(-priority, due, seq) for due, seq in found if seq not in skip]
    return keys


def _levels(connection: sqlite3.Connection, owner: int, type_: str) -> Iterator[int]:
    """Go through the priorities that occur, highest first; there are 201 at the most, and usually one."""
    below = _ABOVE_ALL
    while True:
        ((priority,),) = fetch(connection, "p", _HIGHEST, (owner, type_, below))
        if priority is None:
            return
        yield priority
        below = priority


def _later_keys(
    connection: sqlite3.Connection, owner: int, types: Collection[str], after: int, skip: Collection[int], limit: int
) -> list[Key]:
    """Rows of types that are not wanted may be in the way, so read on until there are enough."""
    keys: list[Key] = []
    reach = limit + len(skip)
    while True:
        found = fetch(connection, "due, seq, type", _LATER, (owner, after, reach))
        keys = [(due, seq, seq) for due, seq, type_ in found if type_ in types and seq not in skip]
        if len(keys) >= limit or len(found) < reach:
            return keys
        reach *= 2


def _rows(connection: sqlite3.Connection, keys: list[Key]) -> list[Record]:
    seqs = [key[-1] for key in keys]
    found = fetch(connection, RECORD, "task WHERE seq IN (SELECT value FROM json_each(?))", (json.dumps(seqs),))
    by_seq = {record.seq: record for record in map(as_record, found)}
    return [by_seq[seq] for seq in seqs]


_WAITING = """
(SELECT type, sum(due <= ? OR status = 1) AS ready, sum(due > ? AND status = 0) AS later,
        min(iif(due <= ? OR status = 1, due, NULL)) AS oldest
 FROM task INDEXED BY task_waiting
 WHERE status < 2 AND seq NOT IN (SELECT value FROM json_each(?)) GROUP BY type)
"""


def waiting(connection: sqlite3.Connection, now: int, skip: Collection[int]) -> list[Waiting]:
    """Count what waits by type; see `Storage.waiting`."""
    rows = fetch(connection, "type, ready, later, oldest", _WAITING, (now, now, now, json.dumps(sorted(skip))))
    return [Waiting(*row) for row in rows]
