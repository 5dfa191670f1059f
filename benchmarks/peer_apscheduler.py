"""APScheduler 3 with 4 threads: jobs for now, in memory or in SQLite through SQLAlchemy.

A job is removed from the file when it is handed to its thread: what a kill finds running is lost.
"""

from __future__ import annotations

import logging
import pathlib
import queue
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from benchmarks.figures import Figures
from benchmarks.load import Tally, percentiles, produced, scheduled

THREADS = 4
tally = Tally()
starts: queue.SimpleQueue[float] = queue.SimpleQueue()
logging.getLogger("apscheduler").setLevel(logging.ERROR)


def noop(a: int, b: int) -> None:
    """Do nothing but count."""
    tally.add()


def stamp(a: int, b: int) -> None:
    """Tell when it started."""
    starts.put(time.perf_counter())


@contextmanager
def scheduling(storage: str) -> Iterator[Any]:
    """A scheduler at work on memory or on a fresh file; it runs what is late, however late it is."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "jobs.db"
        store = MemoryJobStore() if storage == "memory" else SQLAlchemyJobStore(url=f"sqlite:///{file}")
        scheduler = BackgroundScheduler(
            jobstores={"default": store},
            executors={"default": ThreadPoolExecutor(THREADS)},
            job_defaults={"misfire_grace_time": None},
            timezone=UTC,
        )
        scheduler.start()
        try:
            yield scheduler
        finally:
            scheduler.shutdown()


def waiting(count: int, storage: str, callers: int) -> Figures:
    """Threads that add one job after the other, each to be run at once."""
    with scheduling(storage) as scheduler:
        return produced(count, callers, tally, lambda: scheduler.add_job(noop, args=(1, 2)))


def latency(count: int, storage: str) -> Figures:
    """One job each 5 ms, everything else idle."""
    with scheduling(storage) as scheduler:
        return percentiles(count, starts, lambda: scheduler.add_job(stamp, args=(1, 2)))


def ahead(count: int, storage: str) -> Figures:
    """Jobs for in an hour."""
    due = datetime.now(UTC) + timedelta(hours=1)
    with scheduling(storage) as scheduler:
        return scheduled(count, lambda: scheduler.add_job(noop, "date", run_date=due, args=(1, 2)))
