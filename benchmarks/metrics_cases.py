"""What counting costs, and what a scrape costs."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
import threading
import time

from prometheus_client import CollectorRegistry, generate_latest

from everact import ActorSystem, Settings, task
from everact.metrics import REGISTRY
from everact.metrics.prometheus import SystemsCollector
from everact.metrics.snapshot import Snapshot, Sources
from everact.metrics.tally import Tally

PAIRS = 30
TYPES = 200
WAIT = 120.0


@task
def noop(a: int, b: int) -> None:
    """Do nothing."""


def cost(storage: str, count: int) -> dict[str, float]:
    """Metrics on over off, in tasks per second: pairs in one process, and the order changes from pair to pair.

    By the clock, and by processor time, which a busy neighbour disturbs less.
    """
    ratios: list[tuple[float, float]] = []
    for number in range(PAIRS):
        order = (True, False) if number % 2 else (False, True)
        spent = {on: seconds(storage, count, on=on) for on in order}
        ratios.append((spent[False][0] / spent[True][0], spent[False][1] / spent[True][1]))
    figures: dict[str, float] = {"pairs": PAIRS}
    for name, values in zip(("clock", "processor"), zip(*ratios, strict=True), strict=True):
        low, middle, high = statistics.quantiles(values, n=4)
        figures |= {f"{name}: median": middle, f"{name}: lower quartile": low, f"{name}: upper quartile": high}
    return figures


def seconds(storage: str, count: int, *, on: bool) -> tuple[float, float]:
    """How long so many tasks take: by the clock, and of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if storage == "memory" else f"sqlite:///{pathlib.Path(folder) / 'bench.db'}"
        with ActorSystem(handlers=[noop], storage=url, settings=Settings(metrics=on)) as system:
            began, processor = time.perf_counter(), time.process_time()
            for _ in range(count // 1000):
                system.dispatch_many([noop.task(1, 2)] * 1000)
            system.wait_idle(WAIT)
            return time.perf_counter() - began, time.process_time() - processor


def handler(number: int) -> object:
    """One of many task types."""

    def run(a: int) -> None:
        """Do nothing."""

    run.__name__ = run.__qualname__ = f"task_{number}"
    return task(run)


def scrape(count: int) -> dict[str, float]:
    """One scrape of a system with 200 task types that is at work."""
    handlers = [handler(number) for number in range(TYPES)]
    with ActorSystem(handlers=handlers, settings=Settings()) as system:
        system.dispatch_many([each.task(1) for each in handlers] * max(count // TYPES, 1))  # type: ignore[attr-defined]
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            page = generate_latest(REGISTRY)
            taken.append(time.perf_counter() - began)
        system.wait_idle(WAIT)
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


def hostile(count: int) -> dict[str, float]:
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


CASES = {
    "memory, metrics on/off": lambda n: cost("memory", n),
    "sqlite, metrics on/off": lambda n: cost("sqlite", n),
    "scrape, 200 task types": scrape,
    "hostile names": hostile,
}
