"""Adoption in SQL: one pass in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator

from everact.storage.adoption import Group, Pair, Plan, plan_adoption
from everact.storage.batch_writer import Transaction
from everact.storage.remarks import recovered_detail
from everact.storage.rows import fetch

_RUNNING = "(SELECT owner, type, count(*) AS n FROM task WHERE status = 2 GROUP BY owner, type)"
# Waiting rows may be millions, so the index is not walked but entered at each owner and type.
_NEXT_OWNER = "(SELECT min(owner) AS o FROM task INDEXED BY task_waiting WHERE status < 2 AND owner > ?)"
_NEXT_TYPE = "(SELECT min(type) AS t FROM task INDEXED BY task_waiting WHERE status < 2 AND owner = ? AND type > ?)"
_ROWS = """
(SELECT count(*) AS n FROM (
    SELECT 1 FROM task INDEXED BY task_waiting WHERE status < 2 AND owner = ? AND type = ? LIMIT ?))
"""
COUNTED = 100_000
"""Waiting rows of one owner and type are counted up to this, as the number is only told."""


def dead_incarnations(connection: sqlite3.Connection, me: int, alive: Callable[[int], bool]) -> dict[int, bool]:
    """Tell which registered incarnations are gone, and for each whether it ended cleanly."""
    rows = fetch(connection, "number, ended IS NOT NULL", "incarnation")
    return {number: bool(ended) for number, ended in rows if number != me and not alive(number)}


def adopt(
    connection: sqlite3.Connection,
    me: int,
    types: Collection[str],
    now: int,
    alive: Callable[[int], bool],
    forget: Callable[[int], None],
) -> Plan:
    """Take over what dead incarnations left behind, and forget those that own nothing any more.

    `forget` removes the lock file of a dead incarnation. It is called before the commit: a kill in between leaves a
    row without a file, which is dead all the same, and not a file that no row reminds of.

    Raises:
        sqlite3.Error: It failed and was rolled back.
    """
    with Transaction(connection):
        dead = dead_incarnations(connection, me, alive)
        plan = plan_adoption(
            unfinished(connection, dead), me=me, types=types, adopters=_adopters(connection), alive=alive
        )
        for pair in plan.pairs:
            _take_over(connection, pair, me)
        for pair in plan.interrupted:
            _recover(connection, pair, me, now, crashed=not dead.get(pair[0], False))
        for number in dead.keys() - plan.owners:
            forget(number)
            _forget(connection, number)
    return plan


def unfinished(connection: sqlite3.Connection, dead: Collection[int]) -> list[Group]:
    """List who owns unfinished rows, by type; the rows that wait are counted only for dead owners."""
    groups = [Group(owner, type_, True, n) for owner, type_, n in fetch(connection, "owner, type, n", _RUNNING)]
    for owner, type_ in _waiting(connection):
        rows = 1
        if owner in dead:
            ((rows,),) = fetch(connection, "n", _ROWS, (owner, type_, COUNTED))
        groups.append(Group(owner, type_, False, rows))
    return groups


def _waiting(connection: sqlite3.Connection) -> Iterator[Pair]:
    owner = -1
    while True:
        ((owner,),) = fetch(connection, "o", _NEXT_OWNER, (owner,))
        if owner is None:
            return
        type_ = ""
        while True:
            ((type_,),) = fetch(connection, "t", _NEXT_TYPE, (owner, type_))
            if type_ is None:
                break
            yield owner, type_


def _adopters(connection: sqlite3.Connection) -> dict[Pair, int]:
    rows = fetch(connection, "incarnation, type, adopter", "adoption")
    return {(number, type_): adopter for number, type_, adopter in rows}


def _take_over(connection: sqlite3.Connection, pair: Pair, me: int) -> None:
    connection.execute(
        "INSERT INTO adoption (incarnation, type, adopter) VALUES (?, ?, ?) "
        "ON CONFLICT (incarnation, type) DO UPDATE SET adopter = excluded.adopter",
        (*pair, me),
    )


def _recover(connection: sqlite3.Connection, pair: Pair, me: int, now: int, *, crashed: bool) -> None:
    """Queue again what was running; a node that had stopped cleanly did not crash on it.

    A recovered row is this node's own from now on, so that nothing its former owner might still write fits. The
    other adopted rows keep their owner until they are claimed.
    """
    detail = recovered_detail(pair[0], crashed=crashed)
    connection.execute(
        "INSERT INTO history (task, at, event, attempt, detail) "
        "SELECT id, ?, 'recovered', attempt + 1, ? FROM task WHERE status = 2 AND owner = ? AND type = ?",
        (now, detail, *pair),
    )
    connection.execute(
        "UPDATE task SET status = 1, owner = ?, crashes = crashes + ?, suspect = 1, due = min(due, ?) "
        "WHERE status = 2 AND owner = ? AND type = ?",
        (me, int(crashed), now, *pair),
    )


def _forget(connection: sqlite3.Connection, number: int) -> None:
    # Never the highest: the next incarnation takes its number from that, and a number must not come twice.
    connection.execute(
        "DELETE FROM incarnation WHERE number = ? AND number < (SELECT max(number) FROM incarnation)", (number,)
    )
    connection.execute("DELETE FROM adoption WHERE incarnation = ?", (number,))
