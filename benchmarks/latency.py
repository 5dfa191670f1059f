"""From dispatch to the start of the handler under light load, and what an idle system does."""

from __future__ import annotations

from benchmarks.figures import Figures
from benchmarks.load import percentiles, rest
from benchmarks.systems import BULK, WAIT, noop, stamp, started, system


def latency(count: int, storage: str) -> Figures:
    """One task each 5 ms, everything else idle."""
    with system(storage) as running:
        return percentiles(count, started, lambda: running.dispatch(stamp.task(1, 2)))


def idle(count: int, storage: str) -> Figures:
    """A system that has worked and has nothing to do."""
    with system(storage) as running:
        running.dispatch_many([noop.task(1, 2)] * BULK)
        running.wait_idle(WAIT)
        return rest(count)
