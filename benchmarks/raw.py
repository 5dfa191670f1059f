"""Limits of the machine: what the same work costs without everact."""

from __future__ import annotations

import os
import pathlib
import queue
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks.figures import Figures
from benchmarks.load import LEAST, PAUSE, cuts
from benchmarks.watch import Watch

PAYLOAD = b'{"a":1,"b":2}'
BLOCK = b"x" * 4096
TABLE = "CREATE TABLE task(seq INTEGER PRIMARY KEY, id BLOB UNIQUE, payload BLOB, status INTEGER)"


@contextmanager
def database(synchronous: str) -> Iterator[sqlite3.Connection]:
    """A fresh file with a write-ahead log."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(pathlib.Path(folder) / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(TABLE)
        yield connection
        connection.close()


def rows(count: int, per_commit: int, synchronous: str = "FULL") -> Figures:
    """Two writes per task, as everact has: a commit stores some tasks and ends those of the commit before."""
    insert = "INSERT INTO task(seq, id, payload, status) VALUES " + ",".join(["(?,?,?,1)"] * per_commit)
    update = f"UPDATE task SET status = 3 WHERE seq IN ({','.join('?' * per_commit)})"
    commits = max(count // per_commit, 1)
    with database(synchronous) as connection, Watch() as watch:
        before: list[int] = []
        for commit in range(commits):
            seqs = list(range(commit * per_commit, (commit + 1) * per_commit))
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(insert, [value for seq in seqs for value in (seq, seq.to_bytes(16, "big"), PAYLOAD)])
            if before:
                connection.execute(update, before)
            connection.execute("COMMIT")
            before = seqs
    return watch.per_task(commits * per_commit)


def hops(count: int) -> Figures:
    """Messages over one SimpleQueue to another thread; the sender waits for nothing."""
    messages: queue.SimpleQueue[object] = queue.SimpleQueue()

    def consume() -> None:
        for _ in range(count):
            messages.get()

    consumer = threading.Thread(target=consume)
    with Watch() as watch:
        consumer.start()
        for _ in range(count):
            messages.put(None)
        consumer.join()
    return watch.per_task(count)


def submits(count: int) -> Figures:
    """Calls that a pool of 4 threads makes, until the last one has returned."""
    with ThreadPoolExecutor(4) as pool, Watch() as watch:
        for future in [pool.submit(divmod, 1, 2) for _ in range(count)]:
            future.result()
    return watch.per_task(count)


def hop_latency(count: int, *, sync: bool) -> Figures:
    """Under light load: a hop to another thread, after a block was written and synced or at once."""
    count = max(count, LEAST)
    messages: queue.SimpleQueue[float] = queue.SimpleQueue()
    waits: list[float] = []

    def consume() -> None:
        for _ in range(count):
            sent = messages.get()
            waits.append((time.perf_counter() - sent) * 1000)

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    with _blocks() as write:
        for _ in range(count):
            began = time.perf_counter()
            if sync:
                write()
            messages.put(began)
            time.sleep(PAUSE)
    consumer.join()
    return cuts(waits)


def disk(count: int) -> Figures:
    """Blocks of 4 KiB, each written and synced."""
    count, taken = max(count, LEAST), []
    with _blocks() as write, Watch() as watch:
        for _ in range(count):
            began = time.perf_counter()
            write()
            taken.append((time.perf_counter() - began) * 1000)
    return {"syncs/s": count / watch.seconds, **cuts(taken)}


@contextmanager
def _blocks() -> Iterator[Callable[[], object]]:
    """A function that writes a block and waits until it is on the disk."""
    with tempfile.TemporaryFile() as file:

        def write() -> None:
            file.write(BLOCK)
            file.flush()
            os.fdatasync(file.fileno())

        yield write
