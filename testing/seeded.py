"""A runtime in which a seed decides everything: one thread runs at a time, and the clock is virtual.

It is the low layer of a simulation: `everact.testing.Simulation` has nodes, faults and a history besides.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from everact.actors.runtime import Empty, Thread
from everact.tasks.errors import EverActError
from everact.tasks.ids import uuid7_bytes
from everact.testing.choices import Policy, RandomWalk
from everact.testing.fiber import Deadlock, Fiber, Group, Over, always
from everact.testing.residents import inhabit
from everact.testing.scheduler import Scheduler
from everact.testing.virtual_loop import VirtualLoop

__all__ = ["EPOCH", "Deadlock", "Over", "SeededRuntime"]
R = TypeVar("R")
EPOCH = 1_767_225_600_000_000
Wait = Callable[[Callable[[], object], float | None, str, Any], bool]


class SeededThread:
    """See `Thread`."""

    def __init__(self, fiber: Fiber, wait: Wait) -> None:
        self._fiber, self._wait = fiber, wait

    def join(self, timeout: float | None = None) -> None:
        """See `Thread.join`."""
        fiber = self._fiber
        self._wait(lambda: fiber.ended, timeout, "waits for the end of", fiber.label)

    def is_alive(self) -> bool:
        """See `Thread.is_alive`."""
        return not self._fiber.ended


class SeededQueue:
    """See `Queue`."""

    def __init__(self, wait: Wait) -> None:
        self._wait, self._items = wait, deque[Any]()

    def put(self, item: Any) -> None:
        """See `Queue.put`."""
        self._items.append(item)
        self._wait(always, None, "has sent", item)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See `Queue.get`."""
        items = self._items
        if not items and not (block and self._wait(lambda: items, timeout, "waits for a message", None)):
            raise Empty
        return items.popleft()

    def qsize(self) -> int:
        """See `Queue.qsize`."""
        return len(self._items)


class SeededGate:
    """A gate, or, closed again by every passer, a lock."""

    def __init__(self, wait: Wait, *, opened: bool = False) -> None:
        self._wait, self._opened = wait, opened

    def wait(self, timeout: float | None = None) -> bool:
        """See `Gate.wait`."""
        return self._opened or self._wait(lambda: self._opened, timeout, "waits at a gate", None)

    def open(self) -> None:
        """See `Gate.open`."""
        self._opened = True

    def __enter__(self) -> None:
        self._wait(lambda: self._opened, None, "takes a lock", None)
        self._opened = False

    def __exit__(self, *_: object) -> None:
        self._opened = True


class SeededRuntime:
    """See `Runtime`. The thread that makes it is the driver, which a crash does not touch.

    Args:
        seed: Decides who runs next, ids and jitter.
        crash_at: Number of the commit at which the node dies, counted from 1; None for never. It dies before
            the commit for an odd seed and after it for an even one.
        policy: Makes the choices in the place of the seed.
    """

    def __init__(self, seed: int, crash_at: int | None = None, policy: Policy | None = None) -> None:
        self._seed = seed
        self.crash_at, self.commits, self.crashed = crash_at, 0, False
        scheduler = Scheduler(policy or RandomWalk(seed))
        self._join(scheduler, Group("node"), ids_of(seed))

    def _join(self, scheduler: Scheduler, group: Group, chance: random.Random) -> None:
        """Belong to a scheduler."""
        self.scheduler, self.group, self._chance = scheduler, group, chance
        self.random = chance.random
        self.monotonic: Callable[[], float] = lambda: scheduler.time

    def now(self) -> int:
        """See `Runtime.now`."""
        self.scheduler.refuse_when_over()
        return EPOCH + int(self.scheduler.time * 1_000_000)

    def new_id(self) -> bytes:
        """See `Runtime.new_id`."""
        return uuid7_bytes(self.now() // 1000, self._chance.getrandbits(80))

    def queue(self) -> SeededQueue:
        """See `Runtime.queue`."""
        return SeededQueue(self.scheduler.wait)

    def gate(self) -> SeededGate:
        """See `Runtime.gate`."""
        return SeededGate(self.scheduler.wait)

    def lock(self) -> AbstractContextManager[Any]:
        """See `Runtime.lock`."""
        return SeededGate(self.scheduler.wait, opened=True)

    def role(self) -> str | None:
        """See `Runtime.role`."""
        return self.scheduler.current.role

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """See `Runtime.event_loop`; it runs on virtual time."""
        return VirtualLoop(self, Over)

    def spawn(self, run: Callable[[], None], name: str, role: str | None = None, *, daemon: bool = True) -> Thread:  # noqa: ARG002
        """See `Runtime.spawn`."""
        fiber = self.scheduler.spawn(inhabit(self, run), name, role, self.group)
        return SeededThread(fiber, self.scheduler.wait)

    def storage_call(self, call: Callable[..., R], *args: Any) -> R:
        """See `Runtime.storage_call`."""
        self.commits += call.__name__ == "commit"
        if call.__name__ != "commit" or self.commits != self.crash_at:
            self.scheduler.wait(always, None, "calls storage:", call.__name__)
            return call(*args)
        if self._seed % 2 == 0:
            call(*args)
        self._crash()
        msg = "the node died in a storage call of the driver's own"
        raise EverActError(msg)

    def wait(self, ready: Callable[[], object], timeout: float | None) -> bool:
        """Hand the baton on until `ready()` holds; False when `timeout` virtual seconds have passed before."""
        return self.scheduler.wait(ready, timeout, "waits", None)

    def _crash(self) -> None:
        """All threads but the driver's stop where they are, for ever, as a kill would stop them."""
        self.crashed, victim = True, self.scheduler.current
        self.scheduler.kill(self.group)
        if victim is not self.scheduler.driver:
            self.scheduler.leave()

    def end(self) -> None:
        """Let the threads go that a crash, or a test that has failed, left where they were. Nothing runs after this."""
        self.scheduler.end()


def ids_of(seed: int) -> random.Random:
    """Where ids and jitter come from: another stream than that of the choices, so that either can change alone."""
    return random.Random(f"ids and jitter of {seed}")
