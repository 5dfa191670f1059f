"""Tasks per second until the last one has ended: producers that wait for each commit, in bulk, and in coroutines."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from typing import Any

from benchmarks.figures import Figures
from benchmarks.systems import WAIT, dispatch_all, noop, noop_async, system
from benchmarks.watch import Watch
from everact import Retry, TaskContext, task

CONTINUATIONS = 10
ATTEMPTS = 3
finished = threading.Event()


@task
def link(ctx: TaskContext, left: int) -> None:
    """Go on with the next one, atomically with its own end."""
    if left:
        ctx.dispatch(link.task(left - 1))
    else:
        finished.set()


@task(retry=Retry(attempts=ATTEMPTS, delay=0))
def stormy(ctx: TaskContext, a: int) -> None:
    """Fail until the last attempt."""
    if ctx.attempt < ATTEMPTS:
        raise ConnectionError(a)


def bulk(count: int, storage: str, handler: str = "sync") -> Figures:
    """One producer with dispatch_many(1000), which waits for each commit."""
    work: Any = noop if handler == "sync" else noop_async
    with system(storage) as running:
        with Watch() as watch:
            dispatch_all(running, [work.task(1, 2)] * count)
            running.wait_idle(WAIT)
        return watch.per_task(count)


def waiting(count: int, storage: str, callers: int) -> Figures:
    """Threads with dispatch, each of which waits for its commit."""

    def produce() -> None:
        for _ in range(count // callers):
            running.dispatch(noop.task(1, 2))

    with system(storage) as running:
        producers = [threading.Thread(target=produce) for _ in range(callers)]
        with Watch() as watch:
            for producer in producers:
                producer.start()
            for producer in producers:
                producer.join(WAIT)
            running.wait_idle(WAIT)
        return watch.per_task(count // callers * callers)


def coroutines(count: int, storage: str, callers: int) -> Figures:
    """Coroutines of one loop, each of which awaits its commit."""

    async def produce() -> None:
        for _ in range(count // callers):
            await running.dispatch_async(noop.task(1, 2))

    async def produce_all() -> None:
        await asyncio.gather(*(produce() for _ in range(callers)))

    with system(storage) as running:
        with Watch() as watch:
            asyncio.run(produce_all())
            running.wait_idle(WAIT)
        return watch.per_task(count // callers * callers)


def chains(count: int, storage: str) -> Figures:
    """Tasks with ten continuations, one after the other: many chains side by side, then one at a time."""
    length = CONTINUATIONS + 1
    roots = max(count // length, 1)
    with system(storage, [link]) as running:
        with Watch() as watch:
            dispatch_all(running, [link.task(CONTINUATIONS)] * roots)
            running.wait_idle(WAIT)
        alone = [_one_chain(running) for _ in range(max(count // 1000, 3))]
    return watch.per_task(roots * length) | {"one chain ms": statistics.median(alone)}


def _one_chain(running: Any) -> float:
    finished.clear()
    began = time.perf_counter()
    running.dispatch(link.task(CONTINUATIONS))
    finished.wait(WAIT)
    return (time.perf_counter() - began) * 1000


def storm(count: int, storage: str) -> Figures:
    """Each task fails twice and completes at the third attempt, without a pause; each attempt is committed."""
    with system(storage, [stormy]) as running:
        with Watch() as watch:
            dispatch_all(running, [stormy.task(1)] * count)
            running.wait_idle(WAIT)
        return watch.per_task(count) | {"attempts/s": count * ATTEMPTS / watch.seconds}
