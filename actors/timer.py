"""The timer: hands tasks on when they come due, and calls functions when their time has come. It never polls."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from everact.actors.actor import ThreadActor
from everact.actors.runtime import Runtime
from everact.actors.ticket import QUEUED, Ticket

MICROSECONDS = 1_000_000
WALL_CLOCK_SECONDS = 30.0
"""Wall-clock waits are cut to this, so that a clock that was set is noticed in time."""


class Timer(ThreadActor):
    """Two heaps and one wait.

    Due times of tasks are wall-clock, since they must mean the same after a restart; deadlines are
    monotonic, since they measure a wait.
    """

    role = "timer"

    def __init__(self, runtime: Runtime, path: str, hand_over: Callable[[list[Ticket]], None]) -> None:
        super().__init__(runtime, path)
        self._hand_over = hand_over
        self._due: list[tuple[int, int, int, Ticket]] = []
        self._calls: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def schedule(self, tickets: Sequence[Ticket]) -> None:
        """Hand these tickets over when each is due. May be called from any thread."""
        self.tell(tickets)

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
        if self._due:
            waits.append(min((self._due[0][0] - self.runtime.now()) / MICROSECONDS, WALL_CLOCK_SECONDS))
        return max(0.0, min(waits)) if waits else None

    def on_batch(self, messages: list[Any]) -> None:
        """Take in what is new, then do what is due."""
        for message in messages:
            if isinstance(message, tuple):
                deadline, fn = message
                heapq.heappush(self._calls, (deadline, next(self._order), fn))
            else:
                self._add(message)
        self._hand_over_due()
        self._call_due()

    def _add(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            record = ticket.record
            heapq.heappush(self._due, (record.due, -record.priority, next(self._order), ticket))

    def _hand_over_due(self) -> None:
        now = self.runtime.now()
        due: list[Ticket] = []
        while self._due and self._due[0][0] <= now:
            ticket = heapq.heappop(self._due)[3]
            if ticket.state is QUEUED:  # else it was cancelled, or a successor has taken its place
                due.append(ticket)
        if due:
            self._hand_over(due)

    def _call_due(self) -> None:
        while self._calls and self._calls[0][0] <= self.runtime.monotonic():
            heapq.heappop(self._calls)[2]()
