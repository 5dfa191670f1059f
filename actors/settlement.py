"""After a commit: from what was written to tickets, waiters, and who is told. In the journal's turn."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from everact.actors.baton import AnyWaiter, release
from everact.actors.commit import (
    Commit,
    PlannedCancel,
    answers,
    is_stored,
    settle_cancel,
    settle_finish,
    still_new,
    was_claimed,
    was_written,
)
from everact.actors.event_stream import EventStream
from everact.actors.facts import Facts
from everact.actors.messages import CancelTasks, ClaimTasks, FinishDelivery, InTurn, MarkRunning, StoreTasks
from everact.actors.router import Router
from everact.actors.ticket import DONE, QUEUED, Delivery, Ticket, Tickets, begun
from everact.actors.watchers import Watchers
from everact.storage.changes import Changes
from everact.storage.protocol import Committed, Storage
from everact.tasks import status as st
from everact.tasks.cancellation import CancelOutcome, CancelReason
from everact.tasks.errors import StorageError
from everact.tasks.record import TASK, Record

logger = logging.getLogger("everact.journal")


class Settlement:
    """What the journal does about each message of a commit, once that is written.

    Attributes:
        ready: Tickets to be routed when all is settled.
        woken: Waiters that were settled, to be released after that.
        stops: Cancels on their way here for workflows that unwind; with them the system is not idle.
        router: Where tasks go; set when it is built.
        submit: Sends the journal a message.
        signalled: Told of deliveries that were asked to stop since their workflow unwinds.
        watchers, facts: The journal's.
        workflow_watchers: Who waits for the end of a workflow.
    """

    def __init__(
        self,
        storage: Storage,
        incarnation: int,
        tickets: Tickets,
        watchers: Watchers,
        facts: Facts,
        stream: EventStream,
    ) -> None:
        self.ready: list[Ticket] = []
        self.woken: list[AnyWaiter] = []
        self.stops: list[CancelTasks] = []
        self.router: Router
        self.submit: Callable[[Any], None] = lambda message: None  # noqa: ARG005
        self.signalled: Callable[[Delivery], None] = lambda delivery: None  # noqa: ARG005
        self.watchers = watchers
        self.facts = facts
        self.workflow_watchers = Watchers()
        self._storage = storage
        self._incarnation = incarnation
        self._tickets = tickets
        self._stream = stream

    def settle(self, commit: Commit, committed: Committed) -> None:
        """Settle the messages of a commit, the ends of deliveries first."""
        if committed.lost:
            self._finish_the_written(commit.finishes, committed)
        else:
            self.facts.ended(commit.finishes)
            for finish in commit.finishes:
                self._finish(finish, committed)
        for store in commit.stores:
            self._store(store, committed)
        if committed.changes is not None:
            self._change(committed.changes)
        if commit.others:
            self._others(commit, committed)

    def take(self) -> tuple[list[Ticket], list[AnyWaiter]]:
        """Hand over what is to be routed and whom to release, and begin anew."""
        taken = self.ready, self.woken
        if taken[0]:
            self.ready = []
        if taken[1]:
            self.woken = []
        return taken

    def _others(self, commit: Commit, committed: Committed) -> None:
        for cancel, planned in commit.cancels:
            self._cancel(cancel, planned, committed)
        if commit.claims:
            written = {claim.seq for claim in commit.batch.claims} - committed.unclaimed
            for claim in commit.claims:
                self._claim(claim, written)
        for message in commit.others:
            if type(message) is MarkRunning:
                self._running(message, committed)
        if committed.changes is not None:
            for order, answer in zip(commit.orders, committed.changes.answers, strict=True):
                order.waiter.settle(answer)
                self.woken.append(order.waiter)
        # What the same batch has stored and cancelled goes nowhere.
        self.ready = [ticket for ticket in self.ready if ticket.state is QUEUED]

    def _change(self, changes: Changes) -> None:
        """What the commit has made of workflows."""
        resident = self._tickets.resident
        for root in changes.rooted:
            if root in resident:
                resident[root].record.workflow = root
        made = [self.router.ticket(record) for record in changes.made]
        woken = [self.router.ticket(record) for record in changes.woken if not self._is_back(record.id)]
        self.take_in([ticket for ticket in made + woken if ticket is not None], self.ready)
        for stop in changes.stops:
            self._stop(stop.tasks, stop.reason)
        for move in changes.moves:
            if move.state.final and self.workflow_watchers.waiting:
                self.woken += self.workflow_watchers.settle(move.workflow, move.state)
        self.facts.moved(changes, [ticket for ticket in made if ticket is not None])

    def _is_back(self, id: bytes) -> bool:  # the task's own word
        """Whether a saga has been taken in since it was parked: it was told to stop before its stage was over."""
        ticket = self._tickets.resident.get(id)
        if ticket is None or ticket.state is DONE:
            return False
        return ticket.delivery is None or not ticket.delivery.parked

    def _finish_the_written(self, finishes: Sequence[FinishDelivery], committed: Committed) -> None:
        """Those whose outcome stands in storage, by this commit or by one before; the others are forgotten."""
        for finish in finishes:
            outcome = finish.outcome
            if outcome.seq not in committed.lost or was_written(outcome, self._storage.get(outcome.id)):
                self.facts.ended((finish,))
                self._finish(finish, committed)
            else:
                self._forget_lost(finish)

    def _finish(self, finish: FinishDelivery, committed: Committed) -> None:
        outcome = finish.outcome
        follow_ups: Sequence[Ticket] = finish.follow_ups
        if committed.lost and outcome.seq in committed.lost:
            follow_ups = self.present(follow_ups)
            if outcome.part is not None:
                self.submit(InTurn(self.look_around))  # what it made of its workflow was not told
        if finish.ticket.claimed:
            self.router.ended(finish.ticket)
        heir = settle_finish(finish, self._tickets)
        if heir is not None:
            self.ready.append(heir)
        elif self.watchers.waiting and outcome.status >= st.COMPLETED:  # not a saga that waits for its stage
            self.woken += self.watchers.tell(outcome)
        if follow_ups:
            follow_ups = [ticket for ticket in follow_ups if is_stored(ticket, committed)]
            self.take_in(self._admitted(follow_ups, committed), self.ready)
        if follow_ups or self._stream.active:
            self.facts.followed(finish, follow_ups, committed)

    def _store(self, store: StoreTasks, committed: Committed) -> None:
        stored: Sequence[Ticket] = store.tickets
        if committed.taken:
            stored = [ticket for ticket in stored if is_stored(ticket, committed)]
        self.take_in(self._admitted(stored, committed), self.ready)
        if store.waiter is not None:
            store.waiter.settle(committed.taken)
            self.woken.append(store.waiter)
        self.facts.stored(stored)

    def _admitted(self, tickets: Sequence[Ticket], committed: Committed) -> Sequence[Ticket]:
        """Those that were not stored as CANCELLED, since their workflow is being undone."""
        if committed.changes is None or not (barred := committed.changes.barred):
            return tickets
        self.facts.barred([ticket for ticket in tickets if ticket.record.id in barred])
        return [ticket for ticket in tickets if ticket.record.id not in barred]

    def take_in(self, stored: Sequence[Ticket], ready: list[Ticket]) -> None:
        """Make new tasks resident, unless nothing of their type starts here (any more)."""
        resident = self._tickets.resident
        for ticket in stored:
            if not ticket.pool.closed:
                resident[ticket.record.id] = ticket
                ready.append(ticket)

    def _cancel(self, cancel: CancelTasks, planned: list[PlannedCancel], committed: Committed) -> None:
        for plan in planned:
            self.ready += settle_cancel(plan, committed, self._tickets, self._storage, cancel.cause)
            if plan.outcome is CancelOutcome.SIGNALLED:
                self._after_signal(plan.id, cancel.cause)
            if plan.stored is not None and plan.ticket is not None and plan.ticket.claimed:
                self.router.ended(plan.ticket)
            if plan.outcome is CancelOutcome.CANCELLED and plan.stored is not None:
                self.woken += self.watchers.tell(plan.stored)
                self.facts.cancelled(plan)
        if cancel.waiter is not None:
            cancel.waiter.settle(answers(planned))
            self.woken.append(cancel.waiter)
        else:
            self.stops = [stop for stop in self.stops if stop is not cancel]

    def _after_signal(self, id: bytes, cause: CancelReason) -> None:
        ticket = self._tickets.resident.get(id)
        if ticket is None:
            self._fetch_signalled(id)
        elif cause is CancelReason.WORKFLOW and ticket.delivery is not None:
            self.signalled(ticket.delivery)

    def _fetch_signalled(self, id: bytes) -> None:
        """A task between two attempts that waits in storage: a cell is to run its `on_error` now."""
        record = self._storage.get(id)
        if record is None or record.status >= st.RUNNING:
            return
        ticket = self.router.load(record)
        if ticket is not None:
            self.ready.append(ticket)

    def _claim(self, claim: ClaimTasks, written: set[int]) -> None:
        ready: list[Ticket] = []
        # What was cancelled before it was planned is not among them, whether it goes nowhere now or has an heir.
        left = [ticket for ticket in claim.tickets if ticket.record.seq not in written]
        written = written.union(ticket.record.seq for ticket in left if self._claimed_before(ticket))
        for ticket in claim.tickets:
            current = self._tickets.resident.get(ticket.record.id)
            if ticket.record.seq not in written:
                self.router.ended(ticket)
                if current is ticket:
                    del self._tickets.resident[ticket.record.id]
                continue
            ticket.record.owner = self._incarnation
            ticket.record.status = st.RUNNING
            if current is ticket:
                ready.append(ticket)
            if current is not None:  # perhaps in the place of the planned one, as a cancel of the same batch asked
                current.unclaimed, current.claimed = False, True
        if ready:
            self.router.start_claimed(ready)

    def _claimed_before(self, ticket: Ticket) -> bool:
        if ticket.state is not QUEUED:
            return False
        return was_claimed(ticket.record, self._storage.get(ticket.record.id), self._incarnation)

    def _running(self, message: MarkRunning, committed: Committed) -> None:
        for ticket in message.tickets:
            delivery = ticket.delivery
            if ticket.record.seq not in committed.unclaimed and delivery is not None and not delivery.closed:
                ticket.record.status = st.RUNNING

    def present(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those whose row waits in storage, though its commit may have failed, and that no page has found there."""
        new = [ticket for ticket in tickets if ticket.record.id not in self._tickets.resident]
        found = [(ticket.record, ticket, self._storage.get(ticket.record.id)) for ticket in new]
        return [ticket for wanted, ticket, record in found if record is not None and still_new(wanted, record)]

    def without_ended(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those whose row has not ended; the others are forgotten. What cannot be read waits to be paged in."""
        left: list[Ticket] = []
        for ticket in tickets:
            record = ticket.record
            try:
                stored = self._storage.get(record.id)
            except StorageError:
                self._tickets.resident.pop(record.id, None)
                self.router.look_in_storage(record.due, (record.type,))
                continue
            if stored is None or stored.status < st.COMPLETED:
                left.append(ticket)
            else:
                self._tickets.resident.pop(record.id, None)
        return left

    def _forget_lost(self, finish: FinishDelivery) -> None:
        """The fence held: the row had left this node's hands, so its outcome is not ours to write."""
        logger.warning("a late outcome of task %s was refused: another node has it", UUID(bytes=finish.outcome.id))
        finish.ticket.state = DONE
        finish.ticket.delivery = None
        if finish.ticket.claimed:
            self.router.ended(finish.ticket)
        if self._tickets.resident.get(finish.outcome.id) is finish.ticket:
            del self._tickets.resident[finish.outcome.id]

    def look_around(self, now: int) -> None:
        """Find in storage what a commit has done without telling, since it seemed to have failed."""
        self.router.look_in_storage(now, self.router.named)
        try:
            self.look_for_asked(now)
            self.look_for_ends()
        except StorageError as error:
            logger.debug("what a failed commit has done cannot be read; the next tick looks again", exc_info=error)

    def look_for_ends(self) -> None:
        """Tell those who wait for a task or workflow whose end was not told here: another node has ended it.

        Raises:
            StorageError: It cannot be read.
        """
        release(self.watchers.look(self._tickets.resident, self._storage.get))
        for id in list(self.workflow_watchers.waiting):  # noqa: A001 - the workflow's own word
            row = self._storage.workflow(id)
            if row is not None and row.state.final:
                release(self.workflow_watchers.settle(id, row.state))

    def look_for_asked(self, now: int) -> int:  # noqa: ARG002 - the signature is InTurn's
        """Stop what is to stop as its workflow unwinds though nobody here was told: before a crash, by another node.

        Returns:
            How many unfinished tasks have been asked to stop, told or not.

        Raises:
            StorageError: It cannot be read.
        """
        found: dict[str, list[bytes]] = {}
        asked = self._storage.asked(self.router.named)
        for record in asked:
            if record.workflow is None or record.kind != TASK or self._is_told(record):
                continue
            row = self._storage.workflow(record.workflow)
            if row is not None and row.unwinding:
                found.setdefault(record.cancel_requested or "", []).append(record.id)
        for reason, ids in found.items():
            self._stop(ids, reason)
        return len(asked)

    def _stop(self, ids: Sequence[bytes], reason: str) -> None:
        cancel = CancelTasks(ids, reason, None, CancelReason.WORKFLOW)
        self.stops.append(cancel)
        self.submit(cancel)

    def take_in_unowned(self, now: int) -> int:
        """Claim what another node has made for a workflow and cannot run itself; the first one that asks gets it.

        Returns:
            How many such tasks there are.

        Raises:
            StorageError: It cannot be read.
        """
        unowned = self._storage.unowned(self.router.named)
        found = [record for record in unowned if record.id not in self._tickets.resident]
        tickets = [ticket for record in found if (ticket := self.router.load(record)) is not None]
        if tickets:
            self.router.route(tickets, now)
        return len(unowned)

    def _is_told(self, record: Record) -> bool:
        """Whether a resident task knows that it is to stop; one that has never started is not to start for that."""
        ticket = self._tickets.resident.get(record.id)
        if ticket is None or ticket.record.cancel_requested is None:
            return False
        return ticket.state is not QUEUED or begun(ticket.record)
