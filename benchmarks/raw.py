"""Raw limits of the machine: what the same work costs without everact."""

from __future__ import annotations

import pathlib
import queue
import sqlite3
import tempfile
import threading
import time

PAYLOAD = b'{"a":1,"b":2}'


def sqlite_rows(per_commit: int, commits: int) -> float:
    """Rows per second of multi-row inserts into a WAL file with synchronous=FULL."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(pathlib.Path(folder) / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE task(seq INTEGER PRIMARY KEY, id BLOB UNIQUE, payload BLOB, status INTEGER)")
        sql = "INSERT INTO task(id, payload, status) VALUES " + ",".join(["(?,?,1)"] * per_commit)
        began = time.perf_counter()
        for number in range(commits):
            rows = [(number * per_commit + row).to_bytes(16, "big") for row in range(per_commit)]
            connection.execute(sql, [value for row in rows for value in (row, PAYLOAD)])
        seconds = time.perf_counter() - began
        connection.close()
    return per_commit * commits / seconds


def queue_hops(count: int) -> float:
    """Messages per second over one SimpleQueue to another thread."""
    messages: queue.SimpleQueue[object] = queue.SimpleQueue()
    done = threading.Event()

    def consume() -> None:
        for _ in range(count):
            messages.get()
        done.set()

    threading.Thread(target=consume, daemon=True).start()
    began = time.perf_counter()
    for _ in range(count):
        messages.put(None)
    done.wait(60)
    return count / (time.perf_counter() - began)
