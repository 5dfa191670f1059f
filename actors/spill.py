"""Which of a pool's ready tasks stay in storage, because its mailbox is full enough."""

from __future__ import annotations

import math
from collections.abc import Sequence

from everact.actors.mailbox import ABOVE_ALL
from everact.actors.ticket import Ticket
from everact.tasks import status as st


class Spill:
    """Keeps a mailbox short without changing the order of the tasks.

    While something waits in storage, only what goes before all of that is let in. Used by the journal's turns only,
    except that any thread may ask whether it is open.

    Attributes:
        rank: The highest priority that may be waiting in storage; None if nothing waits there.
        high: How many tasks the mailbox may have.
        low: At how many tasks in the mailbox to read a page.
        bounded: Whether there is a limit at all.
    """

    __slots__ = ("bounded", "high", "low", "rank")

    def __init__(self, high: float = math.inf) -> None:
        self.rank: int | None = None
        self.high = high
        self.low = high if high == math.inf else high // 2
        self.bounded = high < math.inf

    def fit(
        self, tickets: Sequence[Ticket], length: int, lowest: int = -ABOVE_ALL
    ) -> tuple[list[Ticket], list[Ticket]]:
        """Divide tickets into those for the mailbox and those to be left in storage.

        Args:
            tickets: In the order in which they would be added.
            length: How many the mailbox has.
            lowest: The lowest priority among these.
        """
        kept: list[Ticket] = []
        left: list[Ticket] = []
        for ticket in tickets:
            if self._admits(ticket, length + len(kept), lowest):
                kept.append(ticket)
                lowest = min(lowest, ticket.record.priority)
            else:
                left.append(ticket)
                self.rank = max(ticket.record.priority, -ABOVE_ALL if self.rank is None else self.rank)
        return kept, left

    def _admits(self, ticket: Ticket, length: int, lowest: int) -> bool:
        record = ticket.record
        if record.cancel_requested is not None:
            return True  # a cancel between two attempts acts at once, though its row may be due much later
        if record.status == st.RUNNING:
            return True  # it was claimed, and no page has it
        if self.rank is None and length < self.high:
            return True
        # What is more urgent than something here, and than all that waits in storage, goes before that, within
        # another measure of memory.
        return record.priority > (lowest if self.rank is None else self.rank) and length < 2 * self.high

    def open(self) -> None:
        """Say that anything may be waiting in storage."""
        self.rank = ABOVE_ALL

    def paged(self, last_priority: int | None) -> None:
        """Say that the first of what waits was read: in order, so that the rest is no more urgent than the last.

        Args:
            last_priority: That of the last row; None if it was all there is.
        """
        self.rank = last_priority
