"""What waits: tasks scheduled for later, a file full of pending ones, and a start on what a kill has left."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from benchmarks.figures import Figures
from benchmarks.load import scheduled
from benchmarks.systems import BULK, WAIT, dispatch_all, held, noop, stamp, started, system
from benchmarks.watch import Watch, resident_bytes
from everact import ActorSystem, Settings

HOUR = 3600.0
STRETCH = 20
"""The first and the last part of a backlog, this fraction of it, are what is timed."""
QUICK_STOP = Settings(grace=0.2)


def ahead(count: int, storage: str) -> Figures:
    """One producer that schedules one task after the other for in an hour, and waits for each commit."""
    with system(storage) as running:
        return scheduled(count, lambda: running.dispatch(noop.task(1, 2), delay=HOUR))


def ahead_in_bulk(count: int, storage: str) -> Figures:
    """The same with dispatch_many(1000)."""
    with system(storage) as running:
        before = resident_bytes()
        with Watch() as watch:
            dispatch_all(running, [noop.task(1, 2)] * count, delay=HOUR)
        return watch.per_task(count) | {"bytes/task": (resident_bytes() - before) / count}


def pending(count: int, storage: str) -> Figures:
    """Dispatch in bulk what cannot run, as its only cell is busy: the first tasks against the last ones."""
    stretch = max(count // STRETCH // BULK, 1) * BULK
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "bench.db"
        url = "memory://" if storage == "memory" else f"sqlite:///{file}"
        running = ActorSystem(handlers=[held], storage=url, settings=QUICK_STOP)
        running.start()
        idle = resident_bytes()
        first = _dispatched(running, stretch)
        dispatch_all(running, [held.task(1, 2)] * max(count - 2 * stretch, 0))
        last = _dispatched(running, stretch)
        over_idle = resident_bytes() - idle
        running.stop(0.0)
        figures = {
            "tasks/s, empty": stretch / first,
            "tasks/s, full": stretch / last,
            "full/empty": first / last,
            "MB over idle": over_idle / 1e6,
            "bytes/task": over_idle / count,
        }
        return figures if storage == "memory" else figures | {"file bytes/task": file.stat().st_size / count}


def _dispatched(running: ActorSystem, count: int) -> float:
    """Seconds for dispatching so many."""
    work = [held.task(1, 2)] * count
    began = time.perf_counter()
    dispatch_all(running, work)
    return time.perf_counter() - began


def recovery(count: int) -> Figures:
    """Start on a file that a killed process has left, with so many tasks that wait, and work it off."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{pathlib.Path(folder) / 'bench.db'}"
        filled = subprocess.run([sys.executable, "-m", __name__, url, str(count)], check=False)
        assert filled.returncode == -signal.SIGKILL
        running = ActorSystem(handlers=[stamp], storage=url)
        began = time.perf_counter()
        running.start()
        up = time.perf_counter() - began
        first = started.get(timeout=WAIT) - began
        running.wait_idle(WAIT)
        seconds = time.perf_counter() - began
        running.stop()
    return {"first run s": first, "drained s": seconds, "tasks/s": count / seconds, "start() s": up}


def fill(url: str, count: int) -> None:
    """Leave a file with so many tasks queued, of a process that was killed before it ran one."""
    running = ActorSystem(handlers=[stamp], storage=url)
    running.start()
    for pool in running._running().node.pools:
        pool.suspended = True
    dispatch_all(running, [stamp.task(1, 2)] * count)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    fill(sys.argv[1], int(sys.argv[2]))
