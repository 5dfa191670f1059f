"""Commits while no file may grow beyond a limit: `limiting_files.py DATABASE commit|checkpoint`.

SQLite reports such a limit, as it does a full quota, as an error of the disk.
"""

import resource
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from everact.storage.connections import COMMIT_BUSY_SECONDS
from everact.storage.protocol import Batch, Selection
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import StorageError
from everact.tasks.record import Record

NOW = 1
ALL = Selection(limit=100_000)


def records(first: int, last: int, size: int = 10) -> list[Record]:
    rows = range(first, last + 1)
    payload = b"x" * size
    return [Record(id=n.to_bytes(16, "big"), type="t", payload=payload, due=1, created=1, seq=n, owner=1) for n in rows]


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def length(path: Path) -> int:
    return path.stat().st_size


def commit(storage: SqliteStorage, path: Path) -> None:
    """The log cannot grow, and does again."""
    limit(length(Path(f"{path}-wal")) + 20_000)
    try:
        storage.commit(Batch(NOW, inserts=records(1001, 1256, size=400)))
    except StorageError as error:
        print(type(error).__name__, "nothing was stored" in str(error))
    print(len(storage.select(ALL)))
    limit(1 << 40)
    storage.commit(Batch(NOW, inserts=records(1001, 1256, size=400)))
    print(len(storage.select(ALL)))


def checkpoint(storage: SqliteStorage, path: Path) -> None:
    """The database cannot grow, so that the checkpoint after a commit fails; the commit itself is in the log."""
    with storage._opened().writer(COMMIT_BUSY_SECONDS) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        writer.execute("PRAGMA wal_autocheckpoint = 20")
    limit(length(path) + 10_000)
    for n in range(100):
        storage.commit(Batch(NOW, inserts=records(1001 + n, 1001 + n, size=400)))
    print("log of", length(Path(f"{path}-wal")) // 4096 > 100, "pages")
    with storage._opened().writer(COMMIT_BUSY_SECONDS) as writer:
        try:
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            print("checkpoint", error)
    with closing(sqlite3.connect(path)) as other:
        print(*other.execute("SELECT count(*) FROM task").fetchone())
    limit(1 << 40)
    storage.commit(Batch(NOW, inserts=records(2000, 2000)))
    with storage._opened().writer(COMMIT_BUSY_SECONDS) as writer:
        _, pages, moved = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        print("checkpoint", pages == moved, *writer.execute("PRAGMA integrity_check").fetchone())
    print(len(storage.select(ALL)))


def main(path: Path, mode: str) -> None:
    storage = SqliteStorage(path)
    storage.open(NOW)
    for n in range(1, 401, 100):
        storage.commit(Batch(NOW, inserts=records(n, n + 99, size=10_000)))
    {"commit": commit, "checkpoint": checkpoint}[mode](storage, path)
    storage.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
