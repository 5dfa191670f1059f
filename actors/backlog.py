"""What waits in storage for this node, read into tickets page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from everact.actors.pool import Pool
from everact.actors.ticket import Ticket, Tickets
from everact.storage.protocol import Storage
from everact.tasks.record import Record

PAGE = 2000


class Page(NamedTuple):
    """Tickets that were read, and the last row of the page; None if these were all."""

    tickets: list[Ticket]
    last: Record | None


class Backlog:
    """Reads pages; what is resident already is left out of them. Used by the journal's turns only."""

    def __init__(self, storage: Storage, tickets: Tickets, named: Mapping[str, Pool], incarnation: int) -> None:
        self._storage = storage
        self._tickets = tickets
        self._named = named
        self._incarnation = incarnation
        self._crashed: dict[int, bool] = {}
        # A page of what is in memory already saves nothing.
        self._page = PAGE if storage.durable else 1 << 30

    def ready(self, pool: Pool, now: int, room: float) -> Page:
        """Read what a pool may start next, as far as it has room."""
        limit = int(min(self._page, room))
        resident = self._tickets.resident.values()
        skip = {ticket.record.seq for ticket in resident if ticket.pool is pool}
        records = self._storage.ready(pool.names, now, skip, limit)
        return Page(self._take_in(records), records[-1] if len(records) >= limit else None)

    def scheduled(self, after: int, skip: set[int], limit: int) -> Page:
        """Read what is due next, after a time."""
        records = self._storage.scheduled(tuple(self._named), after, skip, limit)
        return Page(self._take_in(records), records[-1] if len(records) >= limit else None)

    def retrying(self) -> bool:
        """Whether a task waits for its next attempt, in storage or here."""
        return self._storage.retrying(tuple(self._named))

    def ticket(self, record: Record) -> Ticket | None:
        """Make a ticket for a row that was read; None if it has no handler here."""
        pool = self._named.get(record.type)
        if pool is None:
            return None
        adopted = record.owner != self._incarnation
        ticket = Ticket(record, pool, unclaimed=adopted or record.suspect)
        ticket.doubtful = adopted and self._has_crashed(record.owner)
        return ticket

    def _has_crashed(self, owner: int) -> bool:
        """Asked once for each dead incarnation, as that does not change."""
        if owner not in self._crashed:
            self._crashed[owner] = self._storage.crashed(owner)
        return self._crashed[owner]

    def _take_in(self, records: list[Record]) -> list[Ticket]:
        resident = self._tickets.resident
        found = [ticket for record in records if (ticket := self.ticket(record)) is not None]
        fresh = [ticket for ticket in found if ticket.record.id not in resident]
        resident.update((ticket.record.id, ticket) for ticket in fresh)
        return fresh
