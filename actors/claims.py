"""Which adopted task to start next, so that a crash blames few tasks, and in the end the right one.

A task that was adopted may be the one that killed the process before. So it is written down as RUNNING before it
starts, and a crash counts against what is RUNNING on disk:

- What was RUNNING in an earlier crash is *suspect*. Suspects run one at a time, and have the first second to
  themselves among the adopted tasks: a task that kills its process seldom takes longer.
- The others are claimed a window at a time, as a TCP sender starts: as many as the handler has cells, twice as many
  after each window that ended well.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from everact.actors.ticket import QUEUED, Ticket

if TYPE_CHECKING:
    from everact.actors.pool import Pool

ALONE_SECONDS = 1.0
WIDEST_WINDOW = 256


class Window:
    """How many adopted tasks of one pool may be claimed at a time."""

    __slots__ = ("claimed", "proven", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self.claimed = 0
        self.proven = 0

    @property
    def room(self) -> int:
        """How many more may be claimed now."""
        return self.width - self.claimed

    def end(self) -> None:
        """One has ended, and the process lives."""
        self.claimed -= 1
        self.proven += 1
        if self.proven >= self.width:
            self.width = min(2 * self.width, WIDEST_WINDOW)
            self.proven = 0


class Claims:
    """Adopted tickets on their way to the mailbox. Used by the journal's turns only."""

    def __init__(self) -> None:
        self._suspects: deque[Ticket] = deque()
        self._queues: dict[Pool, deque[Ticket]] = {}
        self._windows: dict[Pool, Window] = {}
        self._alone: bytes | None = None
        self._alone_until = -math.inf

    def add(self, tickets: Iterable[Ticket]) -> None:
        """Queue tickets, in order; what has a suspect's record waits in a line of its own."""
        for ticket in tickets:
            if ticket.record.suspect:
                self._suspects.append(ticket)
            else:
                self._queues.setdefault(ticket.pool, deque()).append(ticket)

    def __bool__(self) -> bool:
        return bool(self._suspects or self._queues)

    def waiting(self, pool: Pool) -> int:
        """How many of a pool's tickets wait here."""
        return len(self._queues.get(pool, ()))

    def next(self, now: float) -> list[Ticket]:
        """Take out what is to be claimed now.

        Args:
            now: Monotonic seconds.
        """
        chosen = self._next_suspect(now)
        if now >= self._alone_until:
            for pool in list(self._queues):
                chosen += self._next_of(pool)
        return chosen

    def seconds_alone(self, now: float) -> float:
        """How long until others may start beside the suspect that runs; 0 if they may now."""
        return max(self._alone_until - now, 0.0)

    def ended(self, ticket: Ticket) -> None:
        """Say that a claimed task has ended, or that its claim came too late."""
        if ticket.record.id == self._alone:
            self._alone, self._alone_until = None, -math.inf
        elif (window := self._windows.get(ticket.pool)) is not None:
            window.end()

    def _next_suspect(self, now: float) -> list[Ticket]:
        if self._alone is not None:
            return []
        for _ in range(len(self._suspects)):
            ticket = self._suspects.popleft()
            if ticket.state is not QUEUED:
                continue  # it was cancelled while it waited here
            if not ticket.pool.stalled:
                self._alone, self._alone_until = ticket.record.id, now + ALONE_SECONDS
                return [ticket]
            self._suspects.append(ticket)
        return []

    def _next_of(self, pool: Pool) -> list[Ticket]:
        if pool.stalled:
            return []
        queue = self._queues[pool]
        window = self._windows.setdefault(pool, Window(pool.spec.concurrency))
        chosen: list[Ticket] = []
        while queue and len(chosen) < window.room:
            ticket = queue.popleft()
            if ticket.state is QUEUED:
                chosen.append(ticket)
        window.claimed += len(chosen)
        if not queue:
            del self._queues[pool]
        return chosen
