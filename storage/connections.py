"""The connections of one open database: one that writes, and as many that read as there are readers at once."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from everact.storage.ballast import is_full
from everact.storage.statements import CACHED_STATEMENTS
from everact.tasks.errors import StorageBusy, StorageError, StorageFull, StorageUnavailable

BUSY_TIMEOUT_SECONDS = 5.0
"""How long SQLite itself waits for another process's write lock while it opens, migrates and adopts."""
COMMIT_BUSY_SECONDS = 0.1
"""The same at a commit. SQLite looks for the lock less often the longer it has waited, so that among several
processes one can wait for seconds: the journal asks again instead, with waits of its own."""
SWITCH_TRIES = 100
CHECKPOINT_PAGES = 2000
IDLE_READERS = 4
OLDEST_SQLITE = (3, 35, 0)
_SYNCHRONOUS = {"power": "FULL", "process": "NORMAL"}
_CALLERS_FAULT = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.NotSupportedError,
)
_NO_ROOM = "the disk is full"
_HARMLESS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}
"""After these nothing was written, and the connection is as good as before."""

_inherited: list[sqlite3.Connection] = []
"""Connections of a parent process. SQLite forbids a forked child to touch them, closing included: they stay."""


class Connections:
    """Hands out connections; each is used by one thread at a time, so that none needs a lock.

    Taking and giving back are single operations on a list. What is in somebody's hands when `close` is called
    is closed when it comes back.
    """

    def __init__(self, path: Path, durability: str) -> None:
        self.path = path
        self._synchronous = _SYNCHRONOUS[durability]
        self._writers: list[sqlite3.Connection] = []
        self._readers: list[sqlite3.Connection] = []
        self._watchers: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._closed = False

    @property
    def inherited(self) -> bool:
        """Whether they are a parent process's, which a forked child must not touch."""
        return os.getpid() != self._process

    def writer(self, busy_seconds: float = BUSY_TIMEOUT_SECONDS) -> Writer:
        """Lend the connection that writes, to one thread at a time; checkpoints are made only on it.

        It is opened again after an error that leaves its state in doubt.

        Args:
            busy_seconds: How long it waits while another process writes.

        Raises:
            StorageUnavailable: The storage is closed. This and the next one come from the `with`.
            sqlite3.Error: What happens inside, or that it cannot be opened.
        """
        return Writer(self, busy_seconds)

    def give_writer(self, connection: sqlite3.Connection, busy_seconds: float, error: BaseException | None) -> None:
        """Take the connection that writes back, for the next one; see `writer`."""
        in_doubt = False
        if isinstance(error, sqlite3.Error):
            _tell_a_limit(error, self.path)  # before the connection is given up: the last one to close moves the log
            in_doubt = _in_doubt(error)
        if self._closed or connection.in_transaction or in_doubt:
            connection.close()
            return
        if busy_seconds != COMMIT_BUSY_SECONDS:
            _set_busy_timeout(connection, COMMIT_BUSY_SECONDS)
        self._writers.append(connection)

    def take_writer(self) -> sqlite3.Connection:
        """Give the connection that writes to the one who asks; see `writer`."""
        if self._closed:
            raise closed(self.path)
        try:
            return self._writers.pop()
        except IndexError:
            connection = connect(self.path)
        mode = _write_ahead(connection)
        if mode != "wal":
            msg = f"{self.path} cannot have a write-ahead log (SQLite says {mode!r}); put it on a local disk"
            raise StorageUnavailable(msg)
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        _set_busy_timeout(connection, COMMIT_BUSY_SECONDS)
        return connection

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that only reads, to any thread.

        Raises:
            StorageUnavailable: The storage is closed, or cannot be read.
        """
        try:
            connection = self._take_reader()
            try:
                yield connection
            finally:
                self._give_reader(connection)
        except sqlite3.Error as error:
            raise failure(error, self.path) from error

    def _take_reader(self) -> sqlite3.Connection:
        if self._closed:
            raise closed(self.path)
        try:
            return self._readers.pop()
        except IndexError:
            connection = connect(self.path)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def _give_reader(self, connection: sqlite3.Connection) -> None:
        if self._closed or len(self._readers) >= IDLE_READERS:
            connection.close()
        else:
            self._readers.append(connection)

    def version(self) -> tuple[sqlite3.Connection, int] | None:
        """Give what changes with each commit of any other connection, this process's or not; None if it cannot be told.

        A small read of shared memory, which waits for nobody. For one thread at a time.

        Raises:
            StorageUnavailable: The storage is closed.
        """
        if self._closed:
            raise closed(self.path)
        try:
            connection = self._watchers.pop() if self._watchers else self._make_watcher()
        except sqlite3.Error:
            return None
        try:
            (number,) = connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            connection.close()
            return None
        if self._closed:
            connection.close()
        else:
            self._watchers.append(connection)
        return connection, number

    def _make_watcher(self) -> sqlite3.Connection:
        connection = connect(self.path)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        _set_busy_timeout(connection, 0)
        return connection

    def close(self) -> None:
        """Close what is not in use, an open transaction is rolled back; after a fork, let it lie."""
        self._closed = True
        # The writer last: the last one to close makes the checkpoint.
        idle = self._watchers + self._readers + self._writers
        self._watchers, self._readers, self._writers = [], [], []
        if self.inherited:
            _inherited.extend(idle)
            return
        for connection in idle:
            connection.close()


class Writer:
    """The connection that writes, for the time of a `with`.

    A class, as a generator for this would cost a commit of one row as much as its SQL.
    """

    __slots__ = ("_busy_seconds", "_connection", "_connections")

    def __init__(self, connections: Connections, busy_seconds: float) -> None:
        self._connections = connections
        self._busy_seconds = busy_seconds

    def __enter__(self) -> sqlite3.Connection:
        self._connection = connection = self._connections.take_writer()
        # The short wait is what a connection at rest has: a commit must not cost a statement for this.
        if self._busy_seconds != COMMIT_BUSY_SECONDS:
            _set_busy_timeout(connection, self._busy_seconds)
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.give_writer(self._connection, self._busy_seconds, error)


def _write_ahead(connection: sqlite3.Connection) -> str:
    """Switch to a write-ahead log; returns the mode that the file then has.

    The switch itself does not wait: it fails at once while another process, opening the same new file, switches or
    writes. Asking for the write lock does wait, as long as the connection's timeout, so that is done between tries.
    """
    for _ in range(SWITCH_TRIES):
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])


def _set_busy_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection that leaves transactions to us."""
    return sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
    )


def create_private(path: Path) -> None:
    """Create the database file, if it is missing, readable for its owner only, as SQLite's files beside it then are.

    Raises:
        StorageUnavailable: It cannot be created, or this Python's SQLite does not serve.
    """
    _check_library()
    if not path.parent.is_dir():
        msg = f"the directory {path.parent} of the database {path.name} does not exist; create it first"
        raise StorageUnavailable(msg)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass  # with the mode that it has
    except OSError as error:
        msg = f"{path} cannot be created: {error.strerror}"
        raise StorageUnavailable(msg) from error


def _check_library() -> None:
    if sqlite3.threadsafety == 0:
        raise StorageUnavailable("this Python's SQLite was built without thread safety; use another build")
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        msg = f"this Python has SQLite {sqlite3.sqlite_version}, everact needs {oldest} or newer"
        raise StorageUnavailable(msg)


def closed(path: Path) -> StorageUnavailable:
    """Make the error for any use of a storage that is not open."""
    return StorageUnavailable(f"{path} is not open")


def failure(error: sqlite3.Error, path: Path, *, deciding: bool = False) -> StorageError:
    """Say in everact's words what SQLite says.

    Args:
        error: What SQLite said.
        path: The database.
        deciding: Whether the statement that failed was the one that commits. It may have done so, as a failed
            sync does not take back what was written; only a busy or full database has surely refused.
    """
    text = f"{path}: {error}, {getattr(error, 'sqlite_errorname', type(error).__name__)}"
    code = _primary_code(error)
    if code == sqlite3.SQLITE_BUSY:
        return StorageBusy(text)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"there is no room for new rows, nothing was stored ({text}); free some disk space")
    if isinstance(error, _CALLERS_FAULT):
        return StorageError(f"these rows cannot be kept, nothing was stored ({text})")
    unknown = deciding and code not in _HARMLESS
    no_room = _NO_ROOM in getattr(error, "__notes__", ())
    return StorageUnavailable(text, outcome="unknown" if unknown else "refused", no_room=no_room)


def _tell_a_limit(error: sqlite3.Error, path: Path) -> None:
    """Correct SQLite, which calls a full quota, or a file that must not grow, an error of the disk.

    Where the log was written, nothing was stored, as its last frame makes the commit. Where the index of the log was
    to grow, which comes after that, the commit may be found again.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    if code not in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE) or not is_full(path):
        return
    if code == sqlite3.SQLITE_IOERR_WRITE:
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
    else:
        error.add_note(_NO_ROOM)


def _in_doubt(error: sqlite3.Error) -> bool:
    return not isinstance(error, _CALLERS_FAULT) and _primary_code(error) not in _HARMLESS


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code, 0 if the error came from Python's module."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
