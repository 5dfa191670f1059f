"""The scenario of a file with schema 1, and work in it, that a newer version of everact opens."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

from everact import TaskStatus
from everact.storage import migrations
from everact.storage.sqlite import SqliteStorage
from injection.bills import WAIT, PayBill, system_on
from injection.child import Stop, current_thread
from injection.comparison import unfinished_business
from injection.scenario import copied, database
from power.ledger import Ledger

BILLS = 60
TYPE = f"{PayBill.__module__}.{PayBill.__qualname__}"
CELLS = "seq, id, type, status, owner, priority, due, created, queue, kind, payload, result"
INSERT = f"INSERT INTO task ({CELLS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
SELECT = f"SELECT {CELLS} FROM task ORDER BY seq"  # noqa: S608 - constants


class OldSchema:
    """The scenario.

    Args:
        in_steps: A planted bug: each statement of the migration is committed by itself.
    """

    def __init__(self, *, in_steps: bool = False) -> None:
        self._in_steps = in_steps
        self._rows = list(_rows())

    def prepare(self, folder: Path) -> None:
        """Make the file by hand, as the first version made it, with work that its process left behind."""
        with closing(sqlite3.connect(database(folder), isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            _bring_to(connection, 1)
            connection.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
            connection.execute("INSERT INTO incarnation VALUES (1, 0, NULL, 1, 'here')")
            connection.execute("BEGIN")
            connection.executemany(INSERT, self._rows)
            connection.executemany(
                "INSERT INTO history VALUES (?, 0, 'retry', 1, '')", [row[1:2] for row in self._rows]
            )
            connection.execute("COMMIT")

    def run(self, folder: Path, stop: Stop) -> None:
        """Open it, which migrates it, and close it."""
        if self._in_steps:
            migrations.migrate = lambda connection, path: _bring_to(connection, newest())
        stop("main", current_thread())
        storage = SqliteStorage(database(folder))
        storage.open(time.time_ns() // 1000)
        storage.close()

    def faults_at_once(self, folder: Path) -> list[str]:
        """It has the old schema or the new one, and every row as it was."""
        with copied(folder) as connection:
            return list(self._damage(connection))

    def _damage(self, connection: sqlite3.Connection) -> Iterator[str]:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            yield "the file is damaged"
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (1, newest()) or _schema(connection) != _schema_of(version):
            yield f"the schema is neither the old nor the new one; its version says {version}"
        if connection.execute(SELECT).fetchall() != self._rows:
            yield "rows have changed"
        if connection.execute("SELECT count(DISTINCT task) FROM history").fetchone() != (BILLS,):
            yield "history has changed"

    def recover(self, folder: Path) -> None:
        """The next start brings the file up to date, and does the work that waits in it."""
        with system_on(database(folder), Ledger(folder)) as system:
            system.wait_idle(WAIT)

    def faults(self, folder: Path) -> list[str]:
        """The schema is the newest, and the work is done."""
        with copied(folder) as connection:
            newer = connection.execute("PRAGMA user_version").fetchone() == (newest(),)
            old = [] if newer and _schema(connection) == _schema_of(newest()) else ["the next start did not migrate"]
            return [*old, *unfinished_business([], connection)]

    def remarks(self, folder: Path) -> Counter[str]:
        """There are none."""
        return Counter()


def newest() -> int:
    """The schema of this version."""
    return migrations.scripts()[-1][0]


def _rows() -> Iterator[tuple[object, ...]]:
    for number in range(BILLS):
        payload = f'{{"number":{number},"note":"{"x" * number * 10}"}}'.encode()
        done = number % 4 == 0
        status = int(TaskStatus.COMPLETED if done else TaskStatus.QUEUED)
        result = str(number).encode() if done else None
        seq = (1 << 40) + number
        yield seq, UUID(int=seq).bytes, TYPE, status, 1, 0, number, number, "default", "task", payload, result


def _bring_to(connection: sqlite3.Connection, version: int) -> None:
    (old,) = connection.execute("PRAGMA user_version").fetchone()
    for number, text in migrations.scripts():
        if old < number <= version:
            for statement in migrations._statements(text):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def _schema(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def _schema_of(version: int) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _bring_to(connection, version)
        return _schema(connection)
