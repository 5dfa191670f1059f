"""What peers are measured with: the same load as everact's cases. Needs nothing but the standard library."""

from __future__ import annotations

import itertools
import queue
import resource
import statistics
import threading
import time
from collections.abc import Callable

from benchmarks.figures import Figures
from benchmarks.watch import Watch, resident_bytes

WAIT = 900.0
PAUSE = 0.005
LEAST = 20
"""Fewer make no percentiles."""


class Tally:
    """Counts the tasks that have run, and says when that many have."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._awaited = 0
        self._reached = threading.Event()

    def add(self) -> None:
        """Count one; called by handlers, in any thread."""
        if next(self._count) == self._awaited:
            self._reached.set()

    def expect(self, tasks: int) -> None:
        """Start again, and wait for so many."""
        self._count, self._awaited = itertools.count(1), tasks
        self._reached.clear()

    def wait(self) -> None:
        """Wait for them.

        Raises:
            TimeoutError: They have not come.
        """
        if not self._reached.wait(WAIT):
            raise TimeoutError


def produced(count: int, callers: int, tally: Tally, dispatch: Callable[[], object]) -> Figures:
    """Some threads that dispatch one task after the other, until the last one has run."""

    def produce() -> None:
        for _ in range(count // callers):
            dispatch()

    total = count // callers * callers
    tally.expect(total)
    producers = [threading.Thread(target=produce) for _ in range(callers)]
    with Watch() as watch:
        for producer in producers:
            producer.start()
        tally.wait()
    return watch.per_task(total)


def percentiles(count: int, starts: queue.SimpleQueue[float], dispatch: Callable[[], object]) -> Figures:
    """Dispatch one task at a time, wait until it has told its start, and let everything come to rest."""
    waits = []
    for _ in range(max(count, LEAST)):
        began = time.perf_counter()
        dispatch()
        waits.append((starts.get(timeout=WAIT) - began) * 1000)
        time.sleep(PAUSE)
    return cuts(waits)


def cuts(milliseconds: list[float]) -> Figures:
    """The percentiles of a list of waits."""
    points = statistics.quantiles(milliseconds, n=100)
    return {"p50 ms": points[49], "p99 ms": points[98]}


def rest(count: int) -> Figures:
    """Sleep 3 ms per task, and say what the process did meanwhile; 20,000 tasks are a minute."""
    seconds = count * 0.003
    time.sleep(min(seconds, 1.0))
    before, processor, began = _switches(), time.process_time(), time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    used = time.process_time() - processor
    return {"CPU %": used / took * 100, "wake-ups/s": (_switches() - before) / took, "seconds": took}


def _switches() -> int:
    """How often a thread of this process has waited for something."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def scheduled(count: int, dispatch: Callable[[], object]) -> Figures:
    """One producer that schedules tasks for in an hour, and what each takes in memory."""
    before = resident_bytes()
    with Watch() as watch:
        for _ in range(count):
            dispatch()
    return watch.per_task(count) | {"bytes/task": (resident_bytes() - before) / count}
