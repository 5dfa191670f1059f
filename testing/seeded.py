"""A runtime in which a seed decides everything: one thread runs at a time, and the clock is virtual.

Threads hand a baton on at every wait; who gets it is drawn from the seed, so one seed is one history. When nobody
can run, the clock jumps to the earliest deadline, and if there is none, that is a deadlock.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from everact.actors.runtime import Empty, Thread
from everact.tasks.errors import ConfigurationError, EverActError
from everact.tasks.ids import uuid7_bytes

R = TypeVar("R")
EPOCH = 1_767_225_600_000_000


class Deadlock(EverActError):
    """Nobody can run and nobody waits for a time: the system under test would hang for ever."""


class Over(BaseException):
    """Raised in the threads that a simulation has left, so that they leave too."""


class Fiber:
    """A thread that runs only while it holds the baton."""

    def __init__(self, name: str, role: str | None) -> None:
        self.name, self.role = name, role
        self.baton = threading.Semaphore(0)
        self.ready: Callable[[], object] = lambda: True
        self.deadline: float | None = None
        self.ended = False

    def join(self, timeout: float | None = None) -> None:
        """See `Thread.join`; given its way by `SeededRuntime.spawn`."""

    def is_alive(self) -> bool:
        """See `Thread.is_alive`."""
        return not self.ended


class SeededQueue:
    """See `Queue`."""

    def __init__(self, runtime: SeededRuntime) -> None:
        self._runtime, self._items = runtime, deque[Any]()
        self.put = self._items.append

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See `Queue.get`."""
        if not self._items and not (block and self._runtime.wait(lambda: self._items, timeout)):
            raise Empty
        return self._items.popleft()

    def qsize(self) -> int:
        """See `Queue.qsize`."""
        return len(self._items)


class SeededGate:
    """A gate, or, closed again by every passer, a lock."""

    def __init__(self, runtime: SeededRuntime, *, opened: bool = False) -> None:
        self._runtime, self._opened = runtime, opened

    def wait(self, timeout: float | None = None) -> bool:
        """See `Gate.wait`."""
        return self._opened or self._runtime.wait(lambda: self._opened, timeout)

    def open(self) -> None:
        """See `Gate.open`."""
        self._opened = True

    def __enter__(self) -> None:
        self._runtime.wait(lambda: self._opened, None)
        self._opened = False

    def __exit__(self, *_: object) -> None:
        self._opened = True


class SeededRuntime:
    """See `Runtime`. The thread that makes it is the driver, which a crash does not touch.

    Args:
        seed: Decides who runs next, ids and jitter.
        crash_at: Number of the commit at which the node dies, counted from 1; None for never. It dies before
            the commit for an odd seed and after it for an even one.
    """

    def __init__(self, seed: int, crash_at: int | None = None) -> None:
        self._chance, self._seed, self._time = random.Random(seed), seed, 0.0
        self._driver = self._current = Fiber("driver", None)
        self._fibers = [self._driver]
        self.crash_at, self.commits, self.crashed, self._stuck, self._over = crash_at, 0, False, "", False
        self.monotonic: Callable[[], float] = lambda: self._time
        self.random = self._chance.random

    def now(self) -> int:
        """See `Runtime.now`."""
        return EPOCH + int(self._time * 1_000_000)

    def new_id(self) -> bytes:
        """See `Runtime.new_id`."""
        return uuid7_bytes(self.now() // 1000, self._chance.getrandbits(74))

    def queue(self) -> SeededQueue:
        """See `Runtime.queue`."""
        return SeededQueue(self)

    def gate(self) -> SeededGate:
        """See `Runtime.gate`."""
        return SeededGate(self)

    def lock(self) -> AbstractContextManager[Any]:
        """See `Runtime.lock`."""
        return SeededGate(self, opened=True)

    def role(self) -> str | None:
        """See `Runtime.role`."""
        return self._current.role

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Refused: async handlers are not simulated yet."""
        msg = "SeededRuntime runs sync handlers only; its event loop would read the real clock"
        raise ConfigurationError(msg)

    def spawn(self, run: Callable[[], None], name: str, role: str | None = None, *, daemon: bool = True) -> Thread:  # noqa: ARG002
        """See `Runtime.spawn`."""
        fiber = Fiber(name, role)
        fiber.join = lambda timeout=None: void(self.wait(lambda: fiber.ended, timeout))  # type: ignore[method-assign]

        def target() -> None:
            fiber.baton.acquire()
            try:
                if not self._over:
                    run()
                    fiber.ended = True
                    self._pass_on()
            except Over:
                return

        self._fibers.append(fiber)
        if self._over:
            fiber.baton.release()
        threading.Thread(target=target, name=name, daemon=True).start()
        return fiber

    def storage_call(self, call: Callable[..., R], *args: Any) -> R:
        """See `Runtime.storage_call`."""
        self.commits += call.__name__ == "commit"
        if call.__name__ != "commit" or self.commits != self.crash_at:
            self.wait(lambda: True, None)
            return call(*args)
        if self._seed % 2 == 0:
            call(*args)
        self._crash()
        msg = "the node died in a storage call of the driver's own"
        raise EverActError(msg)

    def wait(self, ready: Callable[[], object], timeout: float | None) -> bool:
        """Hand the baton on until `ready()` holds; False when `timeout` virtual seconds have passed before."""
        if self._over:
            raise Over
        me = self._current
        me.ready, me.deadline = ready, None if timeout is None else self._time + max(timeout, 0.0)
        self._pass_on()
        me.baton.acquire()
        if self._over:
            raise Over
        if self._stuck:
            raise Deadlock(self._stuck)
        return bool(ready())

    def _pass_on(self) -> None:
        living = [fiber for fiber in self._fibers if not fiber.ended]
        able = [f for f in living if f.ready() or (f.deadline is not None and f.deadline <= self._time)]
        if not able:
            deadlines = [fiber.deadline for fiber in living if fiber.deadline is not None]
            if not deadlines:
                self._stuck = "nobody can run: " + ", ".join(fiber.name for fiber in living)
            self._time = min(deadlines, default=self._time)
            able = [f for f in living if f.deadline is not None and f.deadline <= self._time] or [self._driver]
        self._current = self._chance.choice(able)
        self._current.baton.release()

    def _crash(self) -> None:
        """All threads but the driver's stop where they are, for ever, as a kill would stop them."""
        self.crashed, victim = True, self._current
        for fiber in self._fibers:
            fiber.ended = fiber is not self._driver
        if victim is not self._driver:
            self._pass_on()
            victim.baton.acquire()
            raise Over

    def end(self) -> None:
        """Let the threads go that a crash, or a test that has failed, left where they were. Nothing runs after this."""
        self._over = True
        for fiber in self._fibers:
            fiber.baton.release()


def void(_: object) -> None:
    """Drop a value where a signature wants None."""
