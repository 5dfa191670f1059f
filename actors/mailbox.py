"""The mailbox that all cells of a pool share: an idle cell takes the next task, so none waits behind a slow one."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everact.actors.ticket import Ticket


class PoolMailbox:
    """Tickets in order of priority, and of arrival within one priority.

    Safe to use from any thread without a lock: adding to and taking from a deque are single steps.
    """

    __slots__ = ("_lanes", "_order", "_usual")

    def __init__(self) -> None:
        self._usual: deque[Ticket] = deque()
        self._lanes: dict[int, deque[Ticket]] = {0: self._usual}
        self._order: tuple[deque[Ticket], ...] = (self._usual,)

    def extend(self, tickets: list[Ticket]) -> None:
        """Add tickets, keeping their order within a priority. Called by one thread at a time per mailbox."""
        for ticket in tickets:
            (self._usual if ticket.record.priority == 0 else self._lane(ticket)).append(ticket)

    def extend_first(self, tickets: list[Ticket]) -> None:
        """Add tickets in their order, before the others of their priority. Called as `extend`."""
        for ticket in reversed(tickets):
            self._lane(ticket).appendleft(ticket)

    def take(self) -> Ticket | None:
        """Take the next ticket, or None."""
        for lane in self._order:
            if lane:
                try:
                    return lane.popleft()
                except IndexError:  # another cell was faster
                    continue
        return None

    def __len__(self) -> int:
        return sum(map(len, self._order))

    def _lane(self, ticket: Ticket) -> deque[Ticket]:
        priority = ticket.record.priority
        lane = self._lanes.get(priority)
        if lane is not None:
            return lane
        lane = self._lanes[priority] = deque()
        self._order = tuple(self._lanes[level] for level in sorted(self._lanes, reverse=True))
        return lane
