"""The router: where committed tasks go next. It runs in the journal's turn, right after the commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from everact.actors.ticket import Ticket, Tickets

if TYPE_CHECKING:
    from everact.actors.pool import Pool


class Router:
    """Fans tickets out: to the timer if they are due later, to be claimed if they are another's, else to pools.

    Called by the journal only, so it needs no lock.
    """

    def __init__(
        self,
        tickets: Tickets,
        schedule: Callable[[Sequence[Ticket]], None],
        claim: Callable[[Sequence[Ticket]], None],
    ) -> None:
        self._tickets = tickets
        self._schedule = schedule
        self._claim = claim

    def route(self, tickets: Sequence[Ticket], now: int) -> None:
        """Hand each ticket on; a list per pool, not a message per task."""
        if len(tickets) == 1 and not tickets[0].foreign and tickets[0].record.due <= now:
            tickets[0].pool.offer([tickets[0]])
            return
        later: list[Ticket] = []
        foreign: list[Ticket] = []
        ready: dict[Pool, list[Ticket]] = {}
        for ticket in tickets:
            if ticket.record.due > now and ticket.record.cancel_requested is None:
                later.append(ticket)
            elif ticket.foreign:
                foreign.append(ticket)
            else:
                ready.setdefault(ticket.pool, []).append(ticket)
        for pool, listed in ready.items():
            pool.offer(listed)
        if later:
            self._park(later)
        if foreign:
            self._claim(foreign)

    def _park(self, tickets: list[Ticket]) -> None:
        for ticket in tickets:
            # A retry is work under way; only what the user scheduled for later does not count for wait_idle.
            if ticket.record.attempt == 0:
                self._tickets.parked[ticket.record.id] = ticket
        self._schedule(tickets)
