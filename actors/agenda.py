"""What is due later, as far as it is held in memory: the nearest part; the rest waits in storage."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable

from everact.actors.ticket import QUEUED, Ticket

Entry = tuple[int, int, int, int, Ticket]
PURGE_AT = 1024


class Agenda:
    """Tickets in order of their due times, up to a horizon.

    What is due after the horizon is left in storage. The horizon comes nearer when there are too many tickets,
    and moves away only with a page from storage. Used by the journal's turns only.

    Attributes:
        horizon: What is due by then is here, or was; infinite while nothing was left in storage.
    """

    def __init__(self, bound: float = math.inf) -> None:
        self.horizon: float = math.inf
        self._bound = bound
        self._heap: list[Entry] = []
        self._order = itertools.count()
        self._purge_at: float = PURGE_AT

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, tickets: Iterable[Ticket]) -> list[Ticket]:
        """Take tickets in.

        Returns:
            Those to leave in storage, perhaps earlier ones among them.
        """
        left: list[Ticket] = []
        for ticket in tickets:
            record = ticket.record
            if record.due > self.horizon:
                left.append(ticket)
            else:
                entry = (record.due, -record.priority, record.seq, next(self._order), ticket)
                heapq.heappush(self._heap, entry)
        if len(self._heap) > min(self._bound, self._purge_at):
            left += self._shrink()
        return left

    def take_due(self, now: int) -> list[Ticket]:
        """Take out what is due by `now`, and was not cancelled meanwhile."""
        due: list[Ticket] = []
        while self._heap and self._heap[0][0] <= now:
            ticket = heapq.heappop(self._heap)[-1]
            if ticket.state is QUEUED:
                due.append(ticket)
        return due

    def next_due(self, now: int) -> int | None:
        """When to look again: something is due then, or what is left in storage comes into reach.

        A horizon that was reached waits for a page, not for a time: while none can be read, waking would be a loop.
        """
        times = [self._heap[0][0]] if self._heap else []
        if now <= self.horizon < math.inf:
            times.append(int(self.horizon) + 1)
        return min(times, default=None)

    def wants_page(self, now: int) -> bool:
        """Whether to read on in storage: there is more, and little is left here, or the horizon is reached."""
        return self.horizon < math.inf and (now > self.horizon or len(self._heap) <= self._bound / 4)

    @property
    def page_size(self) -> int:
        """How many rows a page may have."""
        return 1 << 30 if self._bound == math.inf else max(int(self._bound // 2), 1)

    def extend(self, tickets: Iterable[Ticket], last_due: int | None) -> list[Ticket]:
        """Take in a page of what is due after the horizon.

        Args:
            tickets: The page.
            last_due: How far it goes; None if that was all there is.

        Returns:
            As `add`.
        """
        # Others that are due in the very instant of the last one may not be in the page.
        self.horizon = math.inf if last_due is None else max(last_due - 1, self.horizon)
        heap = self._heap
        for ticket in tickets:
            record = ticket.record
            heapq.heappush(heap, (record.due, -record.priority, record.seq, next(self._order), ticket))
        return self._shrink() if len(heap) > self._bound else []

    def beyond(self, due: float) -> set[int]:
        """The `seq` of tickets here that are due after a time."""
        return {entry[2] for entry in self._heap if entry[0] > due}

    def _shrink(self) -> list[Ticket]:
        """Forget what was cancelled, then keep the nearer half if there is still too much."""
        entries = sorted(entry for entry in self._heap if entry[-1].state is QUEUED)
        self._purge_at = max(2 * len(entries), PURGE_AT)
        left: list[Ticket] = []
        if len(entries) > self._bound:
            half = self.page_size
            left = [entry[-1] for entry in entries[half:]]
            # Never further away: an adoption may have brought it nearer than what was here by then.
            self.horizon = min(self.horizon, entries[half][0] - 1)
            entries = entries[:half]
        self._heap = entries  # sorted is a heap
        return left
