"""The mailbox that all cells of a pool share: an idle cell takes the next task, so none waits behind a slow one."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everact.actors.ticket import Ticket

ABOVE_ALL = 1 << 30


class PoolMailbox:
    """Tickets in order of priority, and of arrival within one priority.

    Each priority has a second lane, before its first one, for tasks that have waited through a crash.

    Safe to use from any thread without a lock: adding to and taking from a deque are single steps.

    Attributes:
        ranked: Whether it has ever held anything but tickets of the usual priority.
    """

    __slots__ = ("_lanes", "_order", "_usual", "ranked")

    def __init__(self) -> None:
        self.ranked = False
        self._usual: deque[Ticket] = deque()
        self._lanes: dict[int, deque[Ticket]] = {0: self._usual}
        self._order: tuple[deque[Ticket], ...] = (self._usual,)

    def extend(self, tickets: list[Ticket]) -> None:
        """Add tickets, keeping their order within a priority. Called by one thread at a time per mailbox."""
        for ticket in tickets:
            priority = ticket.record.priority
            (self._usual if priority == 0 else self._lane(2 * priority)).append(ticket)

    def extend_first(self, tickets: list[Ticket]) -> None:
        """As `extend`, before the others of their priority."""
        for ticket in tickets:
            self._lane(2 * ticket.record.priority + 1).append(ticket)

    def take(self) -> Ticket | None:
        """Take the next ticket, or None."""
        for lane in self._order:
            if lane:
                try:
                    return lane.popleft()
                except IndexError:  # another cell was faster
                    continue
        return None

    def take_first_lanes(self) -> list[Ticket]:
        """Take out all that `extend_first` has added and no cell has taken."""
        taken: list[Ticket] = []
        for place, lane in list(self._lanes.items()):
            while place % 2 and lane:
                try:
                    taken.append(lane.popleft())
                except IndexError:  # a cell was faster
                    break
        return taken

    def drop_last(self) -> Ticket | None:
        """Take out the last of the usual tickets of the lowest priority; None if there are none."""
        for place in sorted(self._lanes):
            lane = self._lanes[place]
            if place % 2 == 0 and lane:
                try:
                    return lane.pop()
                except IndexError:  # a cell was faster
                    continue
        return None

    @property
    def lowest(self) -> int:
        """The lowest priority of the tickets; above all if there are none."""
        return min((place // 2 for place, lane in list(self._lanes.items()) if lane), default=ABOVE_ALL)

    def __bool__(self) -> bool:
        return bool(self._usual) or (self.ranked and any(self._order))

    def __len__(self) -> int:
        return sum(map(len, self._order)) if self.ranked else len(self._usual)

    def _lane(self, place: int) -> deque[Ticket]:
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = deque()
            self.ranked = True
            self._order = tuple(self._lanes[each] for each in sorted(self._lanes, reverse=True))
        return lane
