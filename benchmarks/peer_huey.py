"""huey, with a consumer of 4 threads in this process that polls every 2 ms: its defaults poll less, and are slower.

SqliteHuey commits each dispatch with an fsync, and deletes a task, with another one, before it runs: what a kill finds
running is lost.
"""

from __future__ import annotations

import logging
import pathlib
import queue
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huey import MemoryHuey, SqliteHuey
from huey.consumer import Consumer

from benchmarks.figures import Figures
from benchmarks.load import Tally, percentiles, produced, rest, scheduled

POLL = 0.002
THREADS = 4
tally = Tally()
starts: queue.SimpleQueue[float] = queue.SimpleQueue()


@contextmanager
def app(storage: str) -> Iterator[Any]:
    """An application on memory or on a fresh file; nothing runs its tasks yet."""
    logging.getLogger("huey").setLevel(logging.WARNING)
    if storage == "memory":
        yield MemoryHuey("bench")
        return
    with tempfile.TemporaryDirectory() as folder:
        yield SqliteHuey("bench", filename=str(pathlib.Path(folder) / "huey.db"), fsync=True)


@contextmanager
def consuming(huey: Any) -> Iterator[float]:
    """A consumer at work; gives the time at which it was told to start."""
    options = {"initial_delay": POLL, "max_delay": POLL, "backoff": 1.0, "periodic": False}
    consumer = Consumer(huey, workers=THREADS, check_worker_health=False, **options)
    began = time.perf_counter()
    consumer.start()
    try:
        yield began
    finally:
        consumer.stop(graceful=True)


def noop(a: int, b: int) -> None:
    """Do nothing but count."""
    tally.add()


def stamp(a: int, b: int) -> None:
    """Tell when it started, and count."""
    starts.put(time.perf_counter())
    tally.add()


def waiting(count: int, storage: str, callers: int) -> Figures:
    """Threads that dispatch one by one."""
    with app(storage) as huey:
        task = huey.task()(noop)
        with consuming(huey):
            return produced(count, callers, tally, lambda: task(1, 2))


def latency(count: int, storage: str) -> Figures:
    """One task each 5 ms, everything else idle."""
    with app(storage) as huey:
        task = huey.task()(stamp)
        with consuming(huey):
            return percentiles(count, starts, lambda: task(1, 2))


def idle(count: int, storage: str) -> Figures:
    """A consumer with nothing to do."""
    with app(storage) as huey, consuming(huey):
        return rest(count)


def ahead(count: int, storage: str) -> Figures:
    """Tasks for in an hour: dispatched like others; the consumer puts them aside."""
    with app(storage) as huey:
        task = huey.task()(noop)
        return scheduled(count, lambda: task.schedule((1, 2), delay=3600))


def recovery(count: int, storage: str) -> Figures:
    """A file with pending tasks, and a consumer that is started on it."""
    with app(storage) as huey:
        task = huey.task()(stamp)
        for _ in range(count):
            task(1, 2)
        tally.expect(count)
        with consuming(huey) as began:
            first = starts.get(timeout=60) - began
            tally.wait()
            seconds = time.perf_counter() - began
    return {"first run s": first, "drained s": seconds, "tasks/s": count / seconds}
