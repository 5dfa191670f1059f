"""The router: where tasks go next. It runs in the journal's turn, right after the commit."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from everact.actors.agenda import Agenda
from everact.actors.backlog import Backlog
from everact.actors.claims import Claims
from everact.actors.messages import ClaimTasks, FinishDelivery, InTurn
from everact.actors.poison import poisonous, set_aside
from everact.actors.pool import Pool
from everact.actors.runtime import Runtime
from everact.actors.ticket import DONE, Ticket, Tickets
from everact.storage.protocol import outcome_of
from everact.tasks import status as st
from everact.tasks.record import Record

logger = logging.getLogger("everact.router")
PAUSE_SECONDS = 0.5
"""How long storage is left alone after a page could not be read."""


class Router:
    """Fans tickets out: to the agenda if they are due later, to be claimed if they are adopted, else to pools.

    What does not fit into a mailbox or the agenda stays in storage, and is read back when there is room. Called by
    the journal only, so it needs no lock.

    Attributes:
        submit: Sends the journal a message.
        wake_at: Has `due` called, in a turn, at a wall-clock time.
        call_after: Calls a function after some seconds.
        named: The pools by the stored names of their types.
        has_more: Whether `go_on` may have something to do. Asked in each turn, so it is not worked out anew.
    """

    def __init__(
        self,
        runtime: Runtime,
        tickets: Tickets,
        backlog: Backlog,
        pools: Sequence[Pool],
        *,
        max_crashes: int,
        agenda_bound: float = math.inf,
    ) -> None:
        self.submit: Callable[[Any], None] = lambda message: None  # noqa: ARG005
        self.wake_at: Callable[[int], None] = lambda due: None  # noqa: ARG005
        self.call_after: Callable[[float, Callable[[], object]], None] = lambda seconds, fn: None  # noqa: ARG005
        self._runtime = runtime
        self._tickets = tickets
        self._backlog = backlog
        self._pools = pools
        self.named = {name: pool for pool in pools for name in pool.names}
        self._max_crashes = max_crashes
        self._agenda = Agenda(agenda_bound)
        self._claims = Claims()
        self.has_more = False
        self._spilled: dict[Pool, None] = {}  # a set without an order would make histories differ
        self._armed: int | None = None
        self._seen = 0
        self._pause_until = -math.inf

    # -- fanning out ---------------------------------------------------------------------------------------

    def route(self, tickets: Sequence[Ticket], now: int) -> None:
        """Hand each ticket on; a list per pool, not a message per task."""
        if len(tickets) == 1 and not tickets[0].unclaimed and tickets[0].record.due <= now:
            self._offer(tickets[0].pool, [*tickets])
            return
        later: list[Ticket] = []
        unclaimed: list[Ticket] = []
        ready: dict[Pool, list[Ticket]] = {}
        for ticket in tickets:
            record = ticket.record
            # By its status, too: the clock may have been set back since a task was due.
            if record.due > now and record.status == st.SCHEDULED and record.cancel_requested is None:
                later.append(ticket)
            elif ticket.unclaimed:
                unclaimed.append(ticket)
            else:
                ready.setdefault(ticket.pool, []).append(ticket)
        for pool, listed in ready.items():
            self._offer(pool, listed)
        if later:
            self._park(later, now)
        if unclaimed:
            self._claims.add(self._without_poison(unclaimed, now))
            self.has_more = True

    def start_claimed(self, tickets: Sequence[Ticket]) -> None:
        """Hand on tickets whose claim was committed; they have waited longest."""
        pools: dict[Pool, list[Ticket]] = {}
        for ticket in tickets:
            pools.setdefault(ticket.pool, []).append(ticket)
        for pool, listed in pools.items():
            pool.offer_first(listed)
            if pool.suspended:
                self.give_back(pool)

    def give_back(self, pool: Pool) -> None:
        """Take the claims of a pool that starts nothing back, or a crash would count against tasks not started."""
        for ticket in pool.mailbox.take_first_lanes():
            if ticket.leave_queue(DONE):
                self.submit(FinishDelivery(ticket, outcome_of(ticket.record, st.QUEUED), ()))

    def ended(self, ticket: Ticket) -> None:
        """Note that a task whose row was claimed has ended, or that its claim came too late."""
        self._claims.ended(ticket)
        self.has_more = True

    def due(self, now: int) -> None:
        """Route what has come due."""
        self._armed = None
        due = self._agenda.take_due(now)
        for ticket in due:
            self._tickets.parked.pop(ticket.record.id, None)
        self.route(due, now)
        self._arm(now)

    def _offer(self, pool: Pool, tickets: list[Ticket]) -> None:
        spill = pool.spill
        if spill.rank is None and len(pool.mailbox) + len(tickets) <= spill.high:
            pool.offer(tickets)
            return
        tickets, left = spill.fit(tickets, len(pool.mailbox), pool.mailbox.lowest)
        if left:
            self._leave(left)
            self._spilled[pool] = None
        if tickets:
            pool.offer(tickets)
            self._make_room(pool)

    def _make_room(self, pool: Pool) -> None:
        """Leave the last of the least urgent in storage after all, as more urgent ones have come."""
        while len(pool.mailbox) > 2 * pool.spill.high and (last := pool.mailbox.drop_last()) is not None:
            if not pool.spill.leave(last):
                pool.mailbox.extend([last])
                return
            self._leave([last])
            self._spilled[pool] = None

    def _park(self, tickets: list[Ticket], now: int) -> None:
        for ticket in tickets:
            # A retry is work under way; only what the user scheduled for later does not count for wait_idle.
            if ticket.record.attempt == 0:
                self._tickets.parked[ticket.record.id] = ticket
        self._leave(self._agenda.add(tickets))
        self._arm(now)

    def _leave(self, tickets: Iterable[Ticket]) -> None:
        """Forget tickets whose rows wait in storage."""
        for ticket in tickets:
            self.has_more = True
            self._tickets.resident.pop(ticket.record.id, None)
            self._tickets.parked.pop(ticket.record.id, None)

    def _arm(self, now: int) -> None:
        due = self._agenda.next_due(now)
        if due is not None and (self._armed is None or due < self._armed):
            self._armed = due
            self.wake_at(due)

    def _without_poison(self, tickets: list[Ticket], now: int) -> list[Ticket]:
        for ticket in tickets:
            if poisonous(ticket, self._max_crashes) and (finish := set_aside(ticket, now)) is not None:
                self.submit(finish)
        return [ticket for ticket in tickets if not poisonous(ticket, self._max_crashes)]

    # -- what waits in storage -----------------------------------------------------------------------------

    def look_in_storage(self, now: int, names: Iterable[str]) -> None:
        """Note that there may be more rows of these types: some were adopted."""
        wanted = set(names)
        self._open(pool for pool in self._pools if wanted.intersection(pool.names))
        self._agenda.horizon = min(self._agenda.horizon, now)
        self.has_more = True

    def load(self, record: Record) -> Ticket | None:
        """Make a task resident that was left in storage, so that it can be told something."""
        ticket = self.ticket(record)
        if ticket is not None:
            self._tickets.resident[record.id] = ticket
        return ticket

    def ticket(self, record: Record) -> Ticket | None:
        """Make a ticket for a stored row; None if it has no handler here."""
        return self._backlog.ticket(record)

    @property
    def idle(self) -> bool:
        """Whether nothing that is ready or retried waits in storage. Asked only when nothing resident is at work."""
        return not self._spilled and (self._agenda.horizon == math.inf or not self._backlog.retrying())

    def is_behind(self, now: int) -> bool:
        """Whether `go_on` may have something to do though nobody has asked for it. May be called from any thread."""
        armed = self._armed
        return self.has_more or (armed is not None and armed <= now)

    def go_on(self, now: int) -> None:
        """Read what there is room for, and claim what may start; nothing while the system stops."""
        if any(pool.closed for pool in self._pools):
            return
        if self._armed is not None and self._armed <= now:
            self.due(now)  # the turn that was to do so has failed
        if now < self._seen:
            # What a page found not to be due yet, though it was noted as due before the clock was set back.
            self.look_in_storage(now, self.named)
        self._seen = now
        if self._runtime.monotonic() >= self._pause_until:
            try:
                self._read_pages(now)
                self._pause_until = -math.inf
            except Exception as error:
                # Storage is down or busy; tasks stay where they are safe. Said once per outage.
                level = logging.WARNING if self._pause_until == -math.inf else logging.DEBUG
                logger.log(level, "a page of waiting tasks cannot be read; it is tried again", exc_info=error)
                self._pause_until = self._runtime.monotonic() + PAUSE_SECONDS
        self._claim()
        self.has_more = bool(self._spilled or self._claims) or self._agenda.horizon < math.inf

    def _read_pages(self, now: int) -> None:
        if self._agenda.wants_page(now):
            self._page_agenda(now)
        for pool in [*self._spilled]:
            length = len(pool.mailbox) + self._claims.waiting(pool)
            if length <= pool.spill.low:
                self._page(pool, now)

    def _page(self, pool: Pool, now: int) -> None:
        room = pool.spill.high - len(pool.mailbox) - self._claims.waiting(pool)
        tickets, last = self._backlog.ready(pool, now, room)
        pool.spill.paged(None if last is None else last.priority)
        if last is None:
            self._spilled.pop(pool, None)
        unclaimed = [ticket for ticket in tickets if ticket.unclaimed]
        own = [ticket for ticket in tickets if not ticket.unclaimed]
        if own:
            pool.offer(own)
        self._claims.add(self._without_poison(unclaimed, now))

    def _page_agenda(self, now: int) -> None:
        agenda = self._agenda
        if now > agenda.horizon:
            # What was left in storage has come due unseen: that is for the pools' pages to find, after what is here.
            self.due(now)
            self._open(self._pools)
            agenda.horizon = now
        after = int(agenda.horizon)
        tickets, last = self._backlog.scheduled(after, agenda.beyond(after), agenda.page_size)
        # A cancel between two attempts acts at once; a crash has come in between.
        self.route([ticket for ticket in tickets if ticket.record.cancel_requested is not None], now)
        tickets = [ticket for ticket in tickets if ticket.record.cancel_requested is None]
        for ticket in tickets:
            if ticket.record.attempt == 0:
                self._tickets.parked[ticket.record.id] = ticket
        self._leave(agenda.extend(tickets, None if last is None else last.due))
        self._arm(now)

    def _open(self, pools: Iterable[Pool]) -> None:
        for pool in pools:
            pool.spill.open()
            self._spilled[pool] = None

    def _claim(self) -> None:
        if not self._claims:
            return
        now = self._runtime.monotonic()
        chosen = self._claims.next(now)
        if chosen:
            self.submit(ClaimTasks(chosen))
        seconds = self._claims.seconds_alone(now)
        if seconds and chosen:
            self.call_after(seconds, self._nudge)

    def _nudge(self) -> None:
        self.submit(InTurn(self.go_on))
