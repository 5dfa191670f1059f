"""The systems and handlers that the cases have in common."""

from __future__ import annotations

import pathlib
import queue
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from everact import ActorSystem, Settings, TaskContext, task

WAIT = 900.0
BULK = 1000
"""How many tasks one call of `dispatch_many` takes."""
started: queue.SimpleQueue[float] = queue.SimpleQueue()
"""When each `stamp` started."""


@task
def noop(a: int, b: int) -> None:
    """Do nothing."""


@task(name="benchmarks.noop_async")
async def noop_async(a: int, b: int) -> None:
    """Do nothing, on the event loop."""


@task
def stamp(a: int, b: int) -> None:
    """Tell when it started."""
    started.put(time.perf_counter())


@task
def held(ctx: TaskContext, a: int, b: int) -> None:
    """Stay, so that all others of its type wait; leave when the system stops."""
    ctx.cancellation.wait(WAIT)


def numbered(number: int) -> Any:
    """One of many task types."""

    def run(a: int) -> None:
        """Do nothing."""

    run.__name__ = run.__qualname__ = f"task_{number}"
    return task(run)


@contextmanager
def url_of(storage: str) -> Iterator[str]:
    """The URL of a fresh storage: "memory", "sqlite", or "process" for one that survives a kill and no power cut."""
    if storage == "memory":
        yield "memory://"
        return
    with tempfile.TemporaryDirectory() as folder:
        query = "?durability=process" if storage == "process" else ""
        yield f"sqlite:///{pathlib.Path(folder) / 'bench.db'}{query}"


@contextmanager
def system(
    storage: str, handlers: Sequence[Any] = (noop, noop_async, stamp), settings: Settings | None = None
) -> Iterator[ActorSystem]:
    """A running system on a fresh storage."""
    with url_of(storage) as url, ActorSystem(handlers=handlers, storage=url, settings=settings) as running:
        yield running


def dispatch_all(running: ActorSystem, tasks: Sequence[Any], **options: Any) -> None:
    """Dispatch in bulk, one commit at a time."""
    for start in range(0, len(tasks), BULK):
        running.dispatch_many(tasks[start : start + BULK], **options)
