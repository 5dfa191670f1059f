"""The one seam between everact and the world: threads, queues, waits, clocks, ids, chance, storage calls.

Every other module gets these from a `Runtime`. `ThreadRuntime` is the real one; a simulated one runs the same
actors under a seeded scheduler and a virtual clock. An AST test forbids going around this module.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from everact.tasks.cancellation import Gate
from everact.tasks.ids import uuid7_bytes

R = TypeVar("R")
Empty = queue.Empty
"""Raised by `Queue.get` when its timeout has passed."""
Full = queue.Full
"""Raised by `Future.set` when there is a value already, as pykka's does."""


class Queue(Protocol):
    """A first-in-first-out mailbox between threads, without a bound."""

    def put(self, item: Any) -> None:
        """Add an item; never blocks."""
        ...

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item, waiting for one; `Empty` after `timeout` seconds."""
        ...

    def qsize(self) -> int:
        """How many items are waiting."""
        ...


class Thread(Protocol):
    """A thread that was started."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for it to end."""
        ...

    def is_alive(self) -> bool:
        """Whether it still runs."""
        ...


class Runtime(Protocol):
    """What everact asks of the machine."""

    def now(self) -> int:
        """Wall-clock time: microseconds since the Unix epoch. It may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for measuring waits."""
        ...

    def new_id(self) -> bytes:
        """The 16 bytes of a fresh UUIDv7."""
        ...

    def random(self) -> float:
        """A random number in [0, 1)."""
        ...

    def queue(self) -> Queue:
        """Make a queue."""
        ...

    def gate(self) -> Gate:
        """Make a closed gate."""
        ...

    def lock(self) -> AbstractContextManager[Any]:
        """Make a lock, to be used with `with`."""
        ...

    def spawn(self, run: Callable[[], None], name: str, role: str | None = None, *, daemon: bool = True) -> Thread:
        """Start a thread.

        Args:
            run: What it does.
            name: Its name.
            role: Marks it as one of everact's own, where blocking calls are refused.
            daemon: Whether the program may exit while it runs.
        """
        ...

    def role(self) -> str | None:
        """The role of the calling thread; None for everybody else's threads."""
        ...

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Make an event loop for async handlers."""
        ...

    def storage_call(self, call: Callable[..., R], *args: Any) -> R:
        """Make a call into storage; a place where a simulation may switch, fail or crash."""
        ...


class LockGate:
    """A gate made of one lock: an eighth of an Event's cost, and never closed again."""

    __slots__ = ("_lock", "_opened")

    def __init__(self) -> None:
        self._opened = False
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """See `Gate.wait`."""
        if not self._opened and self._lock.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            self._let_next_through()
        return self._opened

    def open(self) -> None:
        """See `Gate.open`. Opening twice does no harm."""
        self._opened = True
        self._let_next_through()

    def _let_next_through(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            # Released by two threads at once; either is enough. (`locked()` first would not close that race.)
            return


class ThreadRuntime:
    """The real machine: OS threads, the system's clocks, and chance from the operating system."""

    def __init__(self) -> None:
        self._roles: dict[int, str] = {}
        self._random = random.Random()
        self.random = self._random.random
        self._chance = self._random.getrandbits
        self.queue = queue.SimpleQueue
        self.gate = LockGate
        self.lock = threading.Lock
        self.monotonic = time.monotonic

    def now(self) -> int:
        """See `Runtime.now`."""
        return time.time_ns() // 1000

    def new_id(self) -> bytes:
        """See `Runtime.new_id`."""
        return uuid7_bytes(time.time_ns() // 1_000_000, self._chance(80))

    def spawn(self, run: Callable[[], None], name: str, role: str | None = None, *, daemon: bool = True) -> Thread:
        """See `Runtime.spawn`."""

        def target() -> None:
            if role is not None:
                self._roles[threading.get_ident()] = role
            try:
                run()
            finally:
                # The system may give the same number to the next thread.
                self._roles.pop(threading.get_ident(), None)

        thread = threading.Thread(target=target, name=name, daemon=daemon)
        thread.start()
        return thread

    def role(self) -> str | None:
        """See `Runtime.role`."""
        return self._roles.get(threading.get_ident())

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """See `Runtime.event_loop`."""
        return asyncio.new_event_loop()

    def storage_call(self, call: Callable[..., R], *args: Any) -> R:
        """See `Runtime.storage_call`."""
        return call(*args)


@functools.cache
def process_runtime() -> Runtime:
    """The real machine, for what belongs to no system: futures made by hand, and actors that stand alone."""
    return ThreadRuntime()
