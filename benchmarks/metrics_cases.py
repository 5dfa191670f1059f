"""What counting costs, and what a scrape costs."""

from __future__ import annotations

import statistics
import threading
import time

from prometheus_client import CollectorRegistry, generate_latest

from benchmarks.figures import Figures
from benchmarks.systems import WAIT, dispatch_all, noop, numbered, system
from everact import Settings
from everact.metrics import REGISTRY
from everact.metrics.prometheus import SystemsCollector
from everact.metrics.snapshot import Snapshot, Sources
from everact.metrics.tally import Tally

PAIRS = 30
TASKS_FOR_PAIRS = 2000
"""With fewer tasks the ratio of a pair says nothing, and two pairs show that it runs."""
TYPES = 200


def cost(count: int, storage: str) -> Figures:
    """Metrics on over off, in tasks per second: pairs in one process, and the order changes from pair to pair.

    By the clock, and by processor time, which a busy neighbour disturbs less.
    """
    ratios: list[tuple[float, float]] = []
    pairs = PAIRS if count >= TASKS_FOR_PAIRS else 2
    for number in range(pairs):
        order = (True, False) if number % 2 else (False, True)
        spent = {on: seconds(storage, count, on=on) for on in order}
        ratios.append((spent[False][0] / spent[True][0], spent[False][1] / spent[True][1]))
    figures: Figures = {"pairs": pairs}
    for name, values in zip(("clock", "processor"), zip(*ratios, strict=True), strict=True):
        low, middle, high = statistics.quantiles(values, n=4)
        figures |= {f"{name}: median": middle, f"{name}: lower quartile": low, f"{name}: upper quartile": high}
    return figures


def seconds(storage: str, count: int, *, on: bool) -> tuple[float, float]:
    """How long so many tasks take: by the clock, and of processor time."""
    with system(storage, [noop], Settings(metrics=on)) as running:
        began, processor = time.perf_counter(), time.process_time()
        dispatch_all(running, [noop.task(1, 2)] * count)
        running.wait_idle(WAIT)
        return time.perf_counter() - began, time.process_time() - processor


def scrape(count: int) -> Figures:
    """One scrape of a system with 200 task types that is at work."""
    handlers = [numbered(number) for number in range(TYPES)]
    with system("memory", handlers) as running:
        dispatch_all(running, [each.task(1) for each in handlers] * max(count // TYPES, 1))
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            page = generate_latest(REGISTRY)
            taken.append(time.perf_counter() - began)
        running.wait_idle(WAIT)
        return {"ms": statistics.median(taken) * 1000, "kB": len(page) / 1000}


class Strange:
    """A system whose tasks have names that nobody would choose."""

    name, version = "strange", "0"

    def __init__(self, names: int) -> None:
        self.tally = Tally(threading.Lock())
        for number in range(names):
            self.tally.series_of(f'evil\n"{number}\\', f"queue {number}").ended[3] += 1

    def snapshot(self) -> Snapshot:
        """Nothing runs."""
        return Snapshot()

    def healthy(self) -> bool:
        """Always."""
        return True


def hostile(count: int) -> Figures:
    """Many task and queue names that nobody would choose: how many series they make, and how long a scrape is."""
    names = count * 5
    began = time.perf_counter()
    strange, sources, registry = Strange(names), Sources(), CollectorRegistry()
    taken = time.perf_counter() - began
    sources.add(strange)
    registry.register(SystemsCollector(sources))
    page = generate_latest(registry)
    return {
        "names": names,
        "task series": len(strange.tally.series),
        "lines": page.count(b"\n"),
        "kB": len(page) / 1000,
        "us per name": taken / names * 1e6,
    }
