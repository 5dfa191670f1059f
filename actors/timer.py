"""The timer: says when tasks come due, and calls functions when their time has come. It never polls."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from everact.actors.runtime import Runtime
from everact.actors.system_actor import ThreadActor

MICROSECONDS = 1_000_000
WALL_CLOCK_SECONDS = 30.0
"""Wall-clock waits are cut to this, so that a clock that was set is noticed in time."""


class Timer(ThreadActor):
    """One wait for the next due time, and for the next call.

    Which tasks are due is the router's to know. Their due times are wall-clock, since they must mean the same after
    a restart; deadlines are monotonic, since they measure a wait.
    """

    role = "timer"

    def __init__(self, runtime: Runtime, path: str, tasks_due: Callable[[], None]) -> None:
        super().__init__(runtime, path)
        self._tasks_due = tasks_due
        self._due: int | None = None
        self._calls: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def wake_at(self, due: int) -> None:
        """Say that tasks are due at a wall-clock time, in microseconds. May be called from any thread."""
        self.tell(due)

    def call_at(self, deadline: float, fn: Callable[[], object]) -> None:
        """Call `fn` on the timer's thread at a monotonic time; it must return at once, and not raise."""
        self.tell((deadline, fn))

    def call_after(self, seconds: float, fn: Callable[[], object]) -> None:
        """Call `fn` on the timer's thread after some seconds."""
        self.call_at(self.runtime.monotonic() + seconds, fn)

    def wait_seconds(self) -> float | None:
        """See `ThreadActor.wait_seconds`."""
        waits = []
        if self._calls:
            waits.append(self._calls[0][0] - self.runtime.monotonic())
        if self._due is not None:
            waits.append(min((self._due - self.runtime.now()) / MICROSECONDS, WALL_CLOCK_SECONDS))
        return max(0.0, min(waits)) if waits else None

    def on_batch(self, messages: list[Any]) -> None:
        """Take in what is new, then do what is due."""
        for message in messages:
            if isinstance(message, tuple):
                deadline, fn = message
                heapq.heappush(self._calls, (deadline, next(self._order), fn))
            else:
                self._due = message if self._due is None else min(self._due, message)
        if self._due is not None and self._due <= self.runtime.now():
            self._due = None
            self._tasks_due()
        self._call_due()

    def _call_due(self) -> None:
        while self._calls and self._calls[0][0] <= self.runtime.monotonic():
            heapq.heappop(self._calls)[2]()
