"""Which of a pool's ready tasks stay in storage, because its mailbox is full enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

from everact.actors.pool_mailbox import ABOVE_ALL
from everact.actors.ticket import Ticket
from everact.tasks import status as st

LOW = 500
"""A page is read when no more tasks than this are left. Earlier, it would step over all that is in memory still."""


class Spill:
    """Keeps a mailbox short without changing the order of the tasks.

    While something waits in storage, only what goes before all of that is let in. Used by the journal's turns only,
    except that any thread may ask whether it is open.

    Attributes:
        rank: The highest priority that may be waiting in storage; None if nothing waits there.
        high: How many tasks the mailbox may have.
        low: At how many tasks in the mailbox to read a page.
    """

    __slots__ = ("high", "low", "rank")

    def __init__(self, high: float = math.inf) -> None:
        self.rank: int | None = None
        self.high = high
        self.low = high if high == math.inf else min(high // 2, LOW)

    def fit(
        self, tickets: Sequence[Ticket], length: int, lowest: int = -ABOVE_ALL
    ) -> tuple[list[Ticket], list[Ticket]]:
        """Divide tickets into those for the mailbox and those to be left in storage.

        What is more urgent than something in the mailbox is let in however many there are, as it goes before that;
        the caller then leaves the last of the least urgent in storage instead.

        Args:
            tickets: In the order in which they would be added.
            length: How many the mailbox has.
            lowest: The lowest priority among these.
        """
        kept: list[Ticket] = []
        left: list[Ticket] = []
        for ticket in tickets:
            if not self._admits(ticket, length + len(kept), lowest) and self.leave(ticket):
                left.append(ticket)
            else:
                kept.append(ticket)
                lowest = min(lowest, ticket.record.priority)
        return kept, left

    def _admits(self, ticket: Ticket, length: int, lowest: int) -> bool:
        if self.rank is None:
            return length < self.high or ticket.record.priority > lowest
        return ticket.record.priority > self.rank

    def leave(self, ticket: Ticket) -> bool:
        """Note that a ticket is left in storage; False if it must not be."""
        record = ticket.record
        # A cancel between two attempts acts at once, though its row may be due much later. A claimed row is in no page.
        if record.cancel_requested is not None or record.status == st.RUNNING:
            return False
        self.rank = record.priority if self.rank is None else max(record.priority, self.rank)
        return True

    def open(self) -> None:
        """Say that anything may be waiting in storage."""
        self.rank = ABOVE_ALL

    def paged(self, last_priority: int | None) -> None:
        """Say that the first of what waits was read: in order, so that the rest is no more urgent than the last.

        Args:
            last_priority: That of the last row; None if it was all there is.
        """
        self.rank = last_priority
