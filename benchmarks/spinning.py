"""dispatch_many beside a thread that computes without end, as a handler or the host application may."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import Figures
from benchmarks.systems import WAIT, dispatch_all, noop, system
from benchmarks.watch import Watch
from everact.storage.batch_writer import Transaction
from everact.storage.statements import ManyRows


def spinning(count: int, storage: str, *, row_by_row: bool = False) -> Figures:
    """With everact's statements, or with the same ones by `executemany`, which gives up the GIL at each row."""
    if row_by_row:
        ManyRows.execute = _executemany  # type: ignore[method-assign]
    with system(storage) as running, _busy_thread(), Watch() as watch:
        dispatch_all(running, [noop.task(1, 2)] * count)
        running.wait_idle(WAIT)
    figures = watch.per_task(count)
    del figures["CPU s/1000"]  # the other thread's, nearly all of it
    return figures


@contextmanager
def _busy_thread() -> Iterator[None]:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _executemany(self: ManyRows, connection: sqlite3.Connection, parameters: list[object]) -> int:
    """One row at a time; what would have been one statement stays one transaction."""
    width = self._row.count("?")
    rows = [parameters[start : start + width] for start in range(0, len(parameters), width)]
    text = self._before + self._row + self._after
    if connection.in_transaction:
        return connection.executemany(text, rows).rowcount
    with Transaction(connection):
        return connection.executemany(text, rows).rowcount
