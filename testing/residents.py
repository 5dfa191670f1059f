"""Which threads belong to a simulation, and to whom in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol


class World(Protocol):
    """What a thread of a simulation has instead of the machine: the seeded runtime."""

    def now(self) -> int:
        """Wall-clock time in microseconds."""
        ...

    def monotonic(self) -> float:
        """Virtual seconds."""
        ...

    def wait(self, ready: Callable[[], object], timeout: float | None) -> bool:
        """Let others run until `ready()` holds."""
        ...

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Make an event loop on virtual time."""
        ...


_worlds: dict[int, World] = {}


def inhabit(world: World, run: Callable[[], None]) -> Callable[[], None]:
    """Have the thread that calls the result belong to a world while it runs."""

    def inside() -> None:
        _worlds[threading.get_ident()] = world
        try:
            run()
        finally:
            del _worlds[threading.get_ident()]  # the system may give the same number to the next thread

    return inside


def world_here() -> World | None:
    """The world of the calling thread; None for the test itself and for all other threads."""
    return _worlds.get(threading.get_ident())
