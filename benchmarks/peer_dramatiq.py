"""dramatiq with its StubBroker, in memory, and a worker of 4 threads in this process."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from dramatiq.brokers.stub import StubBroker

from benchmarks.figures import Figures
from benchmarks.load import Tally, percentiles, produced, rest, scheduled

THREADS = 4
tally = Tally()
starts: queue.SimpleQueue[float] = queue.SimpleQueue()
broker = StubBroker()
dramatiq.set_broker(broker)
logging.getLogger("dramatiq").setLevel(logging.WARNING)


@dramatiq.actor
def noop(a: int, b: int) -> None:
    """Do nothing but count."""
    tally.add()


@dramatiq.actor
def stamp(a: int, b: int) -> None:
    """Tell when it started."""
    starts.put(time.perf_counter())


@contextmanager
def working() -> Iterator[None]:
    """A worker at work."""
    worker = dramatiq.Worker(broker, worker_threads=THREADS)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


def waiting(count: int, callers: int) -> Figures:
    """Threads that dispatch one by one."""
    with working():
        return produced(count, callers, tally, lambda: noop.send(1, 2))


def latency(count: int) -> Figures:
    """One task each 5 ms, everything else idle."""
    with working():
        return percentiles(count, starts, lambda: stamp.send(1, 2))


def idle(count: int) -> Figures:
    """A worker with nothing to do."""
    with working():
        return rest(count)


def ahead(count: int) -> Figures:
    """Tasks for in an hour."""
    return scheduled(count, lambda: noop.send_with_options(args=(1, 2), delay=3_600_000))
