"""The cases. Each is a function that returns figures by name; it is called in a process of its own."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks import actor_cases, metrics_cases, raw
from everact import ActorSystem, access, task

Figures = dict[str, float]
WAIT = 120.0


@task
def noop(a: int, b: int) -> None:
    """Do nothing."""


started: list[float] = []


@task
def stamp(a: int, b: int) -> None:
    """Note when it started."""
    started.append(time.perf_counter())


@contextmanager
def system(storage: str, durability: str = "power") -> Iterator[ActorSystem]:
    """A system with the two handlers, on memory or on a fresh file."""
    with tempfile.TemporaryDirectory() as folder:
        url = (
            f"sqlite:///{pathlib.Path(folder) / 'bench.db'}?durability={durability}"
            if storage == "sqlite"
            else "memory://"
        )
        with ActorSystem(handlers=[noop, stamp], storage=url) as running:
            yield running


def in_bulk(storage: str, count: int) -> Figures:
    """One producer with dispatch_many(1000), waiting for each commit; until the last task has ended."""
    with system(storage) as running:
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(count // 1000):
            running.dispatch_many([noop.task(1, 2)] * 1000)
        running.wait_idle(WAIT)
        seconds = time.perf_counter() - began
        return {"tasks/s": count / seconds, "cpu us/task": (time.process_time() - cpu) / count * 1e6}


def one_by_one(storage: str, count: int, threads: int) -> Figures:
    """Threads with dispatch, each waiting for its commit; until the last task has ended."""

    def produce() -> None:
        for _ in range(count // threads):
            running.dispatch(noop.task(1, 2))

    with system(storage) as running:
        producers = [threading.Thread(target=produce) for _ in range(threads)]
        began, cpu = time.perf_counter(), time.process_time()
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join(WAIT)
        running.wait_idle(WAIT)
        seconds = time.perf_counter() - began
        return {"tasks/s": count / seconds, "cpu us/task": (time.process_time() - cpu) / count * 1e6}


def latency(storage: str, count: int) -> Figures:
    """Dispatch to handler start under light load, one task each 5 ms."""
    waits = []
    with system(storage) as running:
        for _ in range(count):
            began = time.perf_counter()
            running.dispatch(stamp.task(1, 2)).wait(WAIT)
            waits.append((started[-1] - began) * 1000)
            time.sleep(0.005)
    cuts = statistics.quantiles(waits, n=100)
    return {"p50 ms": cuts[49], "p99 ms": cuts[98]}


def stages(count: int) -> Figures:
    """Where the microseconds go on memory://: the best of five timings of each stage."""

    def best(call: Callable[[], object]) -> float:
        return min(timeit.repeat(call, number=count, repeat=5)) / count * 1e6

    one = noop.task(1, 2)
    with system("memory") as running:
        engine = running._running()
        codec = engine.node.dispatcher.pools[type(one)].codec
        tickets = iter([access.prepare(engine, one, {}) for _ in range(count * 5)])
        engine.node.pools[0].suspended = True
        return {
            "clock us": best(engine.node.runtime.now),
            "id us": best(engine.node.runtime.new_id),
            "encode us": best(lambda: codec.encode(one, b"")),
            "decode us": best(lambda: codec.decode(raw.PAYLOAD, b"", None)),
            "prepare us": best(lambda: access.prepare(engine, one, {})),
            "store us": best(lambda: access.store(engine, [next(tickets)])),
            "dispatch us": best(lambda: running.dispatch(one)),
        }


def limits(count: int) -> Figures:
    """What the machine gives without everact, in the same run."""
    return {
        "1 row/commit rows/s": raw.sqlite_rows(1, count // 10),
        "1000 rows/commit rows/s": raw.sqlite_rows(1000, count // 200),
        "queue hops/s": raw.queue_hops(count * 10),
    }


CASES: dict[str, Callable[[int], Figures]] = {
    "raw limits": limits,
    "memory, dispatch_many(1000)": lambda n: in_bulk("memory", n),
    "memory, dispatch, 1 thread": lambda n: one_by_one("memory", n, 1),
    "memory, dispatch, 16 threads": lambda n: one_by_one("memory", n, 16),
    "sqlite, dispatch_many(1000)": lambda n: in_bulk("sqlite", n),
    "sqlite, dispatch, 1 thread": lambda n: one_by_one("sqlite", n // 10, 1),
    "sqlite, dispatch, 16 threads": lambda n: one_by_one("sqlite", n // 2, 16),
    "memory, dispatch to start": lambda n: latency("memory", max(n // 100, 100)),
    "sqlite, dispatch to start": lambda n: latency("sqlite", max(n // 100, 100)),
    "where the time goes": stages,
    **metrics_cases.CASES,
    **actor_cases.CASES,
}
