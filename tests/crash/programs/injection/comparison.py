"""What callers were told about their bills, and what the database says of them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from everact import TaskStatus
from injection.bills import CONTINUED, ENDED, PAIR, RAN, REFUSED, STORED, payload_number
from power.ledger import NAME


class _Row(NamedTuple):
    id: bytes
    type: str
    status: TaskStatus
    parent: bytes | None
    number: int
    result: bytes | None

    @property
    def complete(self) -> bool:
        return self.status is TaskStatus.COMPLETED and self.result == str(self.number).encode()


def told(folder: Path) -> list[tuple[str, bytes]]:
    """Read the ledger, in the order in which it was written."""
    ledger = folder / NAME
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return [(word, bytes.fromhex(task_id)) for word, _, task_id in (line.partition(" ") for line in lines)]


def broken_promises(lines: list[tuple[str, bytes]], connection: sqlite3.Connection) -> Iterator[str]:
    """Compare: what was stored or ended is so, what was refused is not there, no transaction is there in part."""
    if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
        yield "the file is damaged"
    rows = {row.id: row for row in _rows(connection)}
    last = {task_id: word for word, task_id in lines if word != RAN}
    for task_id, word in last.items():
        if word in {STORED, ENDED} and task_id not in rows:
            yield f"a task that was {word} is lost"
        if word == ENDED and task_id in rows and not rows[task_id].complete:
            yield f"an outcome that was told is undone: {rows[task_id]}"
        if word == REFUSED and task_id in rows:
            yield "a task that was refused is there"
    yield from _half_transactions(rows.values())


def _rows(connection: sqlite3.Connection) -> Iterator[_Row]:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'task'").fetchone():
        for row in connection.execute("SELECT id, type, status, parent, payload, result FROM task"):
            yield _Row(row[0], row[1].rpartition(".")[2], TaskStatus(row[2]), row[3], payload_number(row[4]), row[5])


def _half_transactions(rows: Iterable[_Row]) -> Iterator[str]:
    bills = {row.number: row for row in rows if row.type == "PayBill"}
    receipts = [row.parent for row in rows if row.type == "SendReceipt"]
    continued = bills.get(CONTINUED)
    if receipts != ([continued.id] if continued is not None and continued.complete else []):
        yield f"completion and follow-up do not fit: {continued}, {len(receipts)} follow-up(s)"
    if len(bills.keys() & set(PAIR)) == 1:
        yield "half of a pair is there"
    twins = [number for number, count in Counter((row.type, row.number) for row in rows).items() if count > 1]
    if twins:
        yield f"there are twins of {twins}"


def unfinished_business(lines: list[tuple[str, bytes]], connection: sqlite3.Connection) -> Iterator[str]:
    """Say what is not as it must be when everything has been done."""
    for row in _rows(connection):
        if not row.complete:
            yield f"a task has not become what it should: {row}"
    ended: set[bytes] = set()
    for word, task_id in lines:
        if word == ENDED:
            ended.add(task_id)
        elif word == RAN and task_id in ended:
            yield "a task ran again after its end was told"
