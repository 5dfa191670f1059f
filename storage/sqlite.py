"""Records in one SQLite file: a write-ahead log, one connection that writes, a transaction per batch."""

from __future__ import annotations

import logging
import os
import platform
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from everact.storage import migrations, sqlite_adoption, sqlite_backlog, sqlite_retention, sqlite_workflows
from everact.storage.ballast import Ballast, is_full
from everact.storage.batch_writer import BatchWriter, Transaction
from everact.storage.connections import COMMIT_BUSY_SECONDS, Connections, closed, connect, create_private, failure
from everact.storage.node_lock import NodeLock
from everact.storage.protocol import Adoption, Batch, Committed, Selection, Sweep, Waiting
from everact.storage.reset_race import advice
from everact.storage.rows import RECORD, as_record, fetch
from everact.tasks.errors import StorageError, StorageUnavailable
from everact.tasks.record import HistoryRow, Record
from everact.tasks.unwinding import Entry, WorkflowRow
from everact.tasks.workflow import WorkflowState

logger = logging.getLogger("everact.storage")
END_BUSY_SECONDS = 1.0
"""How long `close` waits for another process's write lock; `stop` has a deadline."""


class SqliteStorage:
    """A storage in a file. Several processes may share it, each is a node that runs what it dispatched.

    `commit` and `adopt` are called by one thread at a time, the reads by any. All but
    `alive`, `close` and `abandon` raise StorageUnavailable while it is not open. It may be opened again.
    """

    inline = False
    durable = True

    def __init__(self, path: str | Path, durability: str = "power") -> None:
        """Name the file; nothing is touched before `open`.

        Args:
            path: The database file; its directory must exist.
            durability: `power`: what is acknowledged survives a power cut. `process`: only kill -9.
        """
        self.path = Path(path).resolve()
        self.url = f"sqlite:///{path}" + ("" if durability == "power" else f"?durability={durability}")
        self._durability = durability
        self._connections: Connections | None = None
        self._lock = NodeLock(self.path)
        self._ballast = Ballast(self.path)
        self._incarnation = 0
        self._now = 0
        self._latest = 0
        self._settled: tuple[frozenset[int], frozenset[int], frozenset[str]] | None = None
        self._unhandled: dict[str, int] = {}
        self._version: tuple[sqlite3.Connection, int] | None = None

    # Opening

    def open(self, now: int) -> int:
        """Open the file, creating it readable for its owner only; see `Storage.open`."""
        if self._connections is not None:
            msg = f"{self.path} is open already; give each ActorSystem a storage of its own"
            raise StorageUnavailable(msg)
        create_private(self.path)
        connections = Connections(self.path, self._durability)
        try:
            self._incarnation = self._start_in_any_room(connections, now)
        except BaseException as error:
            connections.close()
            self._lock.release(remove=True)
            if isinstance(error, sqlite3.Error):
                raise failure(error, self.path) from error
            if isinstance(error, OSError):
                msg = f"{self.path} cannot be locked: {error}"
                raise StorageUnavailable(msg) from error
            raise
        self._connections, self._now, self._settled, self._version = connections, now, None, None
        if (missing := self._ballast.make()) is not None:
            text = "%s cannot be allocated (%s): on a full disk, running tasks will not be able to end"
            logger.warning(text, self._ballast.path, missing)
        return self._incarnation

    def _start_in_any_room(self, connections: Connections, now: int) -> int:
        """Start, on a full disk with the reserve: a node that does not start ends no work."""
        try:
            return self._start(connections, now)
        except sqlite3.Error:  # whichever: without room SQLite cannot even make the files beside the database
            if not (is_full(self.path) and self._ballast.release()):
                raise
        self._lock.release(remove=True)
        return self._start(connections, now)

    def _start(self, connections: Connections, now: int) -> int:
        # A file of something else must be left as it is, and turning on the log would change it.
        looker = connect(self.path)
        try:
            migrations.schema_version(looker, str(self.path))
        finally:
            looker.close()
        with connections.writer() as connection:
            migrations.migrate(connection, str(self.path))
            number = self._register(connection, now)
            self._warn_of_others(connection, number)
            return number

    def _warn_of_others(self, connection: sqlite3.Connection, me: int) -> None:
        others = sum(self.alive(number) for (number,) in fetch(connection, "number", "incarnation") if number != me)
        if (text := advice(self.path, others, sqlite3.sqlite_version_info)) is not None:
            logger.warning("%s", text)

    def _register(self, connection: sqlite3.Connection, now: int) -> int:
        """Add this incarnation; its lock is held before anybody can see its row."""
        with Transaction(connection):
            (number,) = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM incarnation").fetchone()
            while not self._lock.acquire(number):
                number += 1
            connection.execute(
                "INSERT INTO incarnation (number, started, pid, host) VALUES (?, ?, ?, ?)",
                (number, now, os.getpid(), platform.node()),
            )
        return int(number)

    # Writing

    def open_for_reading(self) -> None:
        """Open it to look only: no node is registered, nothing is adopted, migrated or made; end with `abandon`.

        The file must exist and have the newest schema; the reading methods raise StorageUnavailable otherwise.
        """
        self._connections = Connections(self.path, self._durability)

    def commit(self, batch: Batch) -> Committed:
        """Write a batch in one transaction; see `Storage.commit`."""
        writer = None
        try:
            with self._opened().writer(COMMIT_BUSY_SECONDS) as connection:
                self._now = batch.now
                self._latest = max(self._latest, batch.now)
                writer = BatchWriter(connection, batch, self._incarnation)
                return writer.write()
        except sqlite3.Error as error:
            raise failure(error, self.path, deciding=writer is not None and writer.deciding) from error
        except (OverflowError, UnicodeEncodeError) as error:
            msg = f"these rows cannot be kept, nothing was stored ({self.path}: {error})"
            raise StorageError(msg) from error

    def release_reserve(self) -> bool:
        """Give up the ballast, then write back the log, which can be written from its beginning after that."""
        released = self._ballast.release()
        try:
            with self._opened().writer(COMMIT_BUSY_SECONDS) as connection:
                busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except (sqlite3.Error, StorageError):
            return released
        return released or (not busy and pages == moved)

    def restore_reserve(self) -> bool:
        """Allocate the ballast again; see `Storage.restore_reserve`."""
        return not is_full(self.path) and self._ballast.restore()

    def adopt(self, types: Collection[str], now: int) -> Adoption:
        """Take over from dead incarnations; see `Storage.adopt`.

        When nobody has died since the last pass for the same types, that costs one small read.
        """
        connections, wanted = self._opened(), frozenset(types)
        known, dead = self._nodes()
        if (known, dead, wanted) == self._settled:
            return Adoption(waiting={}, interrupted=0, unhandled=dict(self._unhandled))
        try:
            with connections.writer() as connection:
                plan = sqlite_adoption.adopt(connection, self._incarnation, wanted, now, self.alive, self._lock.forget)
                for pair in plan.pairs:
                    self._latest = max(self._latest, sqlite_backlog.latest_queued(connection, *pair, now))
        except sqlite3.Error as error:
            raise failure(error, self.path, deciding=True) from error
        # Who has died since the look before the pass is not settled. Nor is who was forgotten by another node: it may
        # have been an adopter, and what that had adopted is free then.
        now_known, now_dead = self._nodes()
        known = now_known | (known - (dead - plan.owners))
        self._settled, self._unhandled = (known, dead & now_dead, wanted), plan.adoption.unhandled
        return plan.adoption

    def _nodes(self) -> tuple[frozenset[int], frozenset[int]]:
        """All registered incarnations, and those that are dead."""
        with self._opened().reader() as connection:
            dead = frozenset(sqlite_adoption.dead_incarnations(connection, self._incarnation, self.alive))
            return frozenset(number for (number,) in fetch(connection, "number", "incarnation")), dead

    def quiet(self) -> bool:
        """Tell it by a number that SQLite has for this, which own commits change too. See `Storage.quiet`."""
        seen, self._version = self._version, self._opened().version()
        if self._version is None or self._version != seen or self._settled is None:
            return False
        known, dead, _ = self._settled
        try:
            return all(map(self.alive, known - dead - {self._incarnation}))
        except OSError:
            return False

    def sweep(self, before: int, after: int, limit: int) -> Sweep:
        """Delete what ended long ago; see `Storage.sweep`."""
        with self._opened().reader() as connection:
            found = sqlite_retention.look(connection, before, after, limit)
        if found.old:
            try:
                with self._opened().writer(COMMIT_BUSY_SECONDS) as connection:
                    sqlite_retention.delete(connection, found.old)
            except sqlite3.Error as error:
                raise failure(error, self.path) from error
        return Sweep(found.last, len(found.old), found.oldest)

    # Reading

    def ready(self, types: Collection[str], now: int, skip: Collection[int], limit: int) -> list[Record]:
        """Read a page of rows that may start; see `Storage.ready`."""
        with self._opened().reader() as connection:
            self._latest = max(self._latest, now, sqlite_backlog.newest(connection))
            clock = sqlite_backlog.Clock(now, self._latest)
            return sqlite_backlog.ready(connection, self._incarnation, types, clock, skip, limit)

    def scheduled(self, types: Collection[str], after: int, skip: Collection[int], limit: int) -> list[Record]:
        """Read a page of rows that are due later; see `Storage.scheduled`."""
        with self._opened().reader() as connection:
            return sqlite_backlog.scheduled(connection, self._incarnation, types, after, skip, limit)

    def retrying(self, types: Collection[str]) -> bool:
        """Tell whether a task waits for its next attempt; see `Storage.retrying`."""
        with self._opened().reader() as connection:
            return sqlite_backlog.retrying(connection, self._incarnation, types)

    def get(self, id: bytes) -> Record | None:
        """Read one row."""
        rows = self._fetch(RECORD, "task WHERE id = ?", (id,))
        return as_record(rows[0]) if rows else None

    def select(self, selection: Selection) -> list[Record]:
        """List rows in order of `seq`; a workflow's root belongs to it."""
        conditions = ["seq > ?"]
        parameters: list[object] = [selection.after]
        if selection.statuses is not None:
            conditions.append(f"status IN ({','.join('?' * len(selection.statuses))})")
            parameters += selection.statuses
        if selection.type is not None:
            conditions.append("type = ?")
            parameters.append(selection.type)
        if selection.workflow is not None:
            conditions.append("(workflow = ? OR (id = ? AND workflow IS NULL))")
            parameters += (selection.workflow, selection.workflow)
        source = f"task WHERE {' AND '.join(conditions)} ORDER BY seq LIMIT ?"
        return [as_record(row) for row in self._fetch(RECORD, source, (*parameters, selection.limit))]

    def counts(self, now: int) -> dict[int, int]:
        """Count rows by status. It reads the whole table, as an index would cost every write."""
        shown = "iif(status = 0 AND due <= ?, 1, status)"
        rows = self._fetch("shown, n", f"(SELECT {shown} AS shown, count(*) AS n FROM task GROUP BY shown)", (now,))
        return {int(status): int(number) for status, number in rows}

    def asked(self, types: Collection[str]) -> list[Record]:
        """Read what was asked to stop; see `Storage.asked`."""
        with self._opened().reader() as connection:
            return sqlite_workflows.asked(connection, self._incarnation, types)

    def unowned(self, types: Collection[str]) -> list[Record]:
        """Read what is nobody's; see `Storage.unowned`."""
        with self._opened().reader() as connection:
            return sqlite_workflows.unowned(connection, types)

    def crashed(self, owner: int) -> bool:
        """Whether that incarnation is dead and did not write that it ended; its row stays while it owns anything."""
        rows = self._fetch("ended", "incarnation WHERE number = ?", (owner,))
        return owner != self._incarnation and all(ended is None for (ended,) in rows) and not self.alive(owner)

    def workflow(self, id: bytes) -> WorkflowRow | None:
        """Read a workflow; see `Storage.workflow`."""
        with self._opened().reader() as connection:
            return sqlite_workflows.workflow(connection, id)

    def workflows(self, states: Collection[WorkflowState] | None, after: bytes, limit: int) -> list[WorkflowRow]:
        """List workflows; see `Storage.workflows`."""
        with self._opened().reader() as connection:
            return sqlite_workflows.workflows(connection, states, after, limit)

    def undo_log(self, workflow: bytes) -> list[Entry]:
        """Read undo entries; see `Storage.undo_log`."""
        with self._opened().reader() as connection:
            return sqlite_workflows.undo_log(connection, workflow)

    def waiting(self, now: int, skip: Collection[int]) -> list[Waiting]:
        """Count what waits, on the index of what waits; see `Storage.waiting`."""
        with self._opened().reader() as connection:
            return sqlite_backlog.waiting(connection, now, skip)

    def history(self, id: bytes) -> list[HistoryRow]:
        """Read what out of the ordinary happened to a task, oldest first."""
        source = "history WHERE task = ? ORDER BY at, rowid LIMIT -1"
        rows = self._fetch("at, event, attempt, detail", source, (id,))
        return [HistoryRow(id, *row) for row in rows]

    def _fetch(self, cells: str, source: str, parameters: Sequence[object] = ()) -> list[list[Any]]:
        with self._opened().reader() as connection:
            return fetch(connection, cells, source, parameters)

    def alive(self, owner: int) -> bool:
        """Whether that incarnation's process lives: whether it holds its lock."""
        return self._lock.alive(owner)

    # Letting go

    def close(self) -> None:
        """Write that this incarnation has ended, and let go. If that cannot be written, it counts as a crash."""
        if self._connections is None:
            return
        self._let_go(remove_lock=not self._connections.inherited and self._write_end(self._connections))

    def abandon(self) -> None:
        """Let go as a kill would, writing nothing; in a forked child the parent's connections are not touched."""
        self._let_go(remove_lock=False)

    def _write_end(self, connections: Connections) -> bool:
        try:
            with connections.writer(END_BUSY_SECONDS) as connection:
                connection.execute("UPDATE incarnation SET ended = ? WHERE number = ?", (self._now, self._incarnation))
        except (sqlite3.Error, StorageError):
            return False
        return True

    def _let_go(self, *, remove_lock: bool) -> None:
        connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()
        self._lock.release(remove=remove_lock)

    def _opened(self) -> Connections:
        if self._connections is None:
            raise closed(self.path)
        return self._connections
