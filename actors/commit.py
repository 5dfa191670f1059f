"""One commit of the journal: from messages to a batch, and from what was written to who must know.

Planning changes the tickets of tasks that it cancels or stores, and nothing else; `undo` takes that back, so that
a batch which storage refuses can be tried again message by message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from everact.actors.messages import CancelTasks, ClaimTasks, FinishDelivery, MarkRunning, OrderWorkflow, StoreTasks
from everact.actors.part import part_of
from everact.actors.pool import Pool
from everact.actors.ticket import CANCELLED, DONE, QUEUED, STARTED, Ticket, Tickets, begun
from everact.storage.protocol import Batch, CancelRequest, Claim, Committed, Outcome, Storage, outcome_of
from everact.tasks import status as st
from everact.tasks.cancellation import CancelOutcome, CancelReason
from everact.tasks.errors import NotOwner
from everact.tasks.record import COMPENSATION, Record, TaskError
from everact.tasks.schedule import FOREVER


class Numbers:
    """Gives rows their `seq`: the incarnation in the high bits, a count in the low ones.

    Two nodes on one file then never give the same number, without asking each other, and a later
    incarnation's tasks sort behind those it found.
    """

    __slots__ = ("incarnation", "last")

    def __init__(self, incarnation: int) -> None:
        self.incarnation = incarnation
        self.last = incarnation << 40

    def give(self, record: Record) -> Record:
        """Number a row that is about to be stored, and make it this incarnation's.

        A row that was sent before keeps its number: by that storage knows it again, if it was written after all.
        """
        if record.seq == 0:
            self.last += 1
            record.seq = self.last
            record.owner = self.incarnation
        return record


class PlannedCancel:
    """One id of a CancelTasks: what was found, and what the commit will make of it."""

    __slots__ = ("id", "outcome", "reason", "seq", "stored", "ticket", "type")

    def __init__(self, id: bytes, reason: str) -> None:
        self.id = id
        self.reason = reason
        self.seq = 0
        self.type = ""
        self.ticket: Ticket | None = None
        self.stored: Outcome | None = None
        self.outcome: CancelOutcome | NotOwner = CancelOutcome.NOT_FOUND


class Commit(msgspec.Struct, eq=False):
    """Plans one commit.

    Attributes:
        batch: What storage is asked to write.
        finishes, stores, claims: The messages it came from.
        others: The messages that are neither finishes nor stores.
        cancels: For each CancelTasks its planned cancels.
        orders: The messages that the batch's orders came from.
    """

    batch: Batch
    _tickets: Tickets
    _numbers: Numbers
    _storage: Storage
    _pools: Mapping[str, Pool]
    finishes: list[FinishDelivery] = msgspec.field(default_factory=list)
    stores: list[StoreTasks] = msgspec.field(default_factory=list)
    claims: list[ClaimTasks] = msgspec.field(default_factory=list)
    others: list[Any] = msgspec.field(default_factory=list)
    cancels: list[tuple[CancelTasks, list[PlannedCancel]]] = msgspec.field(default_factory=list)
    orders: list[OrderWorkflow] = msgspec.field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        batch = self.batch
        return not (batch.outcomes or batch.inserts or batch.cancels or batch.requests or batch.claims or batch.orders)

    def finish(self, message: FinishDelivery) -> None:
        """Plan the end of a delivery, with its follow-ups."""
        self.finishes.append(message)
        outcome = message.outcome
        self.batch.outcomes.append(outcome)
        if message.follow_ups:
            outcome.follow_ups = [self._numbers.give(ticket.record) for ticket in message.follow_ups]
        record = message.ticket.record
        if outcome.part is None and record.workflow is not None and outcome.status >= st.COMPLETED:
            # Something was dispatched into its workflow while it ran, and it was alone there before.
            outcome.part = part_of(record, message.ticket.pool.spec, outcome, self.batch.now)
        if outcome.part is not None:
            self._concerns_workflows()

    def _concerns_workflows(self) -> None:
        self.batch.in_workflows = True
        self.batch.number = self._numbers.give
        self.batch.handles = self._pools.__contains__

    def store(self, message: StoreTasks) -> None:
        """Plan new tasks."""
        self.stores.append(message)
        give = self._numbers.give
        self.batch.inserts += [give(ticket.record) for ticket in message.tickets]
        if message.tickets and message.tickets[0].record.workflow is not None:
            self._concerns_workflows()
        if message.history:
            self.batch.history.extend(message.history)

    def claim(self, message: ClaimTasks | MarkRunning) -> None:
        """Plan to write rows down as RUNNING; of those that run already, only what has not ended meanwhile."""
        tickets: Sequence[Ticket] = message.tickets
        if isinstance(message, MarkRunning):
            tickets = [ticket for ticket in tickets if ticket.delivery is not None and not ticket.delivery.closed]
        else:
            self.claims.append(message)
            tickets = [ticket for ticket in tickets if ticket.state is QUEUED and not ticket.pool.closed]
        self.batch.claims += [Claim(t.record.seq, t.record.owner, t.record.attempt) for t in tickets]

    def order(self, message: OrderWorkflow) -> None:
        """Plan what an operator wants of a workflow."""
        self.orders.append(message)
        self.batch.orders.append(message.order)
        self._concerns_workflows()

    def cancel(self, message: CancelTasks) -> None:
        """Plan cancels. Must come after all `store`s of the batch."""
        planned: list[PlannedCancel] = []
        self.cancels.append((message, planned))  # first: planning reads storage, and `undo` must know it if that fails
        for id in dict.fromkeys(message.ids):  # noqa: A001 - the task's own word
            planned.append(PlannedCancel(id, message.reason))
            if message.cause is CancelReason.USER and self._is_compensation(id):
                planned[-1].outcome = CancelOutcome.SHIELDED
            else:
                self._plan_cancel(planned[-1])

    def _is_compensation(self, id: bytes) -> bool:
        ticket = self._tickets.resident.get(id)
        record = self._storage.get(id) if ticket is None else ticket.record
        return record is not None and record.kind == COMPENSATION and record.status < st.COMPLETED

    def undo(self) -> list[Ticket]:
        """Take back what planning did to tickets; returns those to be routed again in the place of cancelled ones."""
        resident = self._tickets.resident
        revived: list[Ticket] = []
        for _, planned in self.cancels:
            for cancel in planned:
                if cancel.ticket is None or cancel.stored is None or resident.get(cancel.id) is not cancel.ticket:
                    continue
                heir = cancel.ticket.substitute()
                resident[cancel.id] = heir
                self._tickets.parked.pop(cancel.id, None)  # it has perhaps come due meanwhile
                revived.append(heir)
        return revived

    def _plan_cancel(self, cancel: PlannedCancel) -> None:
        ticket = self._tickets.resident.get(cancel.id) or self._stored_here(cancel.id)
        if ticket is None:
            self._plan_cancel_of_stored(cancel)
            return
        cancel.ticket = ticket
        # A claim may be written though its commit has failed; the row then has another owner than the ticket knows.
        stored = self._storage.get(cancel.id) if ticket.unclaimed else None
        if not begun(ticket.record) and ticket.leave_queue(CANCELLED):
            self._cancel_now(cancel, stored or ticket.record, ticket)
        else:
            self._request(cancel, ticket.record)

    def _stored_here(self, id: bytes) -> Ticket | None:
        """The ticket of a task that this very batch stores."""
        tickets = (ticket for message in self.stores for ticket in message.tickets)
        return next((ticket for ticket in tickets if ticket.record.id == id), None)

    def _plan_cancel_of_stored(self, cancel: PlannedCancel) -> None:
        if any(other.id == cancel.id and other.stored for _, planned in self.cancels for other in planned):
            cancel.outcome = CancelOutcome.ALREADY_FINISHED  # by this very commit; the row fits one cancel only
            return
        record = self._storage.get(cancel.id)
        if record is None:
            return
        if record.status >= st.COMPLETED:
            cancel.outcome = CancelOutcome.ALREADY_FINISHED
        elif record.owner != self._numbers.incarnation and self._storage.alive(record.owner):
            cancel.outcome = NotOwner(UUID(bytes=cancel.id), record.owner)
        elif begun(record) or record.status == st.RUNNING:  # if that, in a process that has died
            self._request(cancel, record)
        else:
            self._cancel_now(cancel, record, None)

    def _cancel_now(self, cancel: PlannedCancel, record: Record, ticket: Ticket | None) -> None:
        cancel.seq, cancel.type = record.seq, record.type
        cancel.outcome = CancelOutcome.CANCELLED
        cancel.stored = outcome_of(record, st.CANCELLED)
        cancel.stored.finished = self.batch.now
        cancel.stored.error = TaskError("everact.tasks.errors.TaskCancelled", cancel.reason) if cancel.reason else None
        self.batch.cancels.append(cancel.stored)
        pool = self._pools.get(record.type)
        uncertain = self._may_have_begun(record) if ticket is None else ticket.doubtful
        if record.workflow is not None or uncertain:
            spec = None if pool is None else pool.spec
            part = part_of(record, spec, cancel.stored, self.batch.now, uncertain=uncertain)
            if record.workflow is not None or part.entries:
                cancel.stored.part = part
                self._concerns_workflows()

    def _may_have_begun(self, record: Record) -> bool:
        """As `Ticket.doubtful`, of a task that is not resident."""
        return record.owner != self._numbers.incarnation and self._storage.crashed(record.owner)

    def _request(self, cancel: PlannedCancel, record: Record) -> None:
        cancel.seq = record.seq
        cancel.outcome = CancelOutcome.SIGNALLED
        self.batch.requests.append(CancelRequest(record.id, record.seq, cancel.reason, self.batch.now))


def is_stored(ticket: Ticket, committed: Committed) -> bool:
    """Whether a planned insert was written: another row, even one with the same id, may stand in its place."""
    holder = committed.taken.get(ticket.record.id) if committed.taken else None
    return holder is None or holder.seq == ticket.record.seq


def is_parked(outcome: Outcome) -> bool:
    """Whether it is a saga that waits for its stage now, and is in nobody's hands until then."""
    return outcome.part is not None and outcome.part.parked


def is_quiet(message: FinishDelivery) -> bool:
    """Whether nothing follows from this end of a delivery."""
    outcome = message.outcome
    return outcome.status == st.COMPLETED and outcome.part is None and not message.ticket.claimed


def was_written(outcome: Outcome, record: Record | None) -> bool:
    """Whether an outcome that does not fit is there already: its commit had failed after it was written."""
    if record is None or (record.seq, record.owner) != (outcome.seq, outcome.owner):
        return False
    if is_parked(outcome):  # what it has parked may have been woken since
        return True
    return (record.status, record.attempt, record.finished) == (outcome.status, outcome.attempt, outcome.finished)


def was_claimed(claim: Record, record: Record | None, incarnation: int) -> bool:
    """Whether a row that a claim does not fit is claimed already: that commit, too, had failed after it was written."""
    return (
        record is not None
        and (record.seq, record.attempt) == (claim.seq, claim.attempt)
        and (record.owner, record.status) == (incarnation, st.RUNNING)
    )


def still_new(record: Record, stored: Record) -> bool:
    """Whether a stored row is the one that was sent, and nothing has become of it since."""
    # Not by comparing the two: memory:// keeps the very record that was sent, and changes it.
    # A saga that waits for its stage has begun, though no attempt of it was counted.
    return stored.seq == record.seq and stored.status <= st.QUEUED and stored.due < FOREVER and not begun(stored)


def settle_cancel(
    cancel: PlannedCancel, committed: Committed, tickets: Tickets, storage: Storage, cause: CancelReason
) -> list[Ticket]:
    """After the commit: correct the answer, tell the running attempt, wake one that waits between attempts.

    Returns:
        Tickets to route now, so that a cell runs their `on_error`.
    """
    if cancel.seq in (committed.late if cancel.stored is None else committed.lost):
        if cancel.stored is not None and tickets.resident.get(cancel.id) is cancel.ticket:
            _forget(cancel, tickets)  # another node has ended it, and here it has just been kept from starting
        record = storage.get(cancel.id)
        finished = record is None or record.status >= st.COMPLETED
        cancel.outcome = (
            CancelOutcome.ALREADY_FINISHED if finished else NotOwner(UUID(bytes=cancel.id), getattr(record, "owner", 0))
        )
        return []
    if cancel.outcome is CancelOutcome.CANCELLED:
        _forget(cancel, tickets)
        return []
    if cancel.outcome is not CancelOutcome.SIGNALLED:
        return []
    # Looked up anew: an outcome of the same batch may have put a successor in the place of the planned one.
    ticket = tickets.resident.get(cancel.id)
    if ticket is None:
        return []
    ticket.record.cancel_requested = cancel.reason
    if ticket.state is QUEUED and begun(ticket.record) and ticket.leave_queue(DONE):
        heir = ticket.substitute()
        tickets.resident[cancel.id] = heir
        tickets.parked.pop(cancel.id, None)
        return [heir]
    # Set before the delivery is looked at, as the cell makes the delivery before it looks at the request:
    # whichever comes second sees the other.
    if ticket.state is STARTED and ticket.delivery is not None:
        ticket.delivery.signal(cause)
    return []


def _forget(cancel: PlannedCancel, tickets: Tickets) -> None:
    tickets.resident.pop(cancel.id, None)
    tickets.parked.pop(cancel.id, None)


def settle_finish(message: FinishDelivery, tickets: Tickets) -> Ticket | None:
    """After the commit of a delivery's end: forget the task, or make the ticket for its next delivery."""
    outcome = message.outcome
    ticket = message.ticket
    ticket.state = DONE
    ticket.delivery = None
    if outcome.status >= st.COMPLETED:
        tickets.resident.pop(outcome.id, None)
        return None
    if is_parked(outcome):
        if tickets.resident.get(outcome.id) is ticket:  # else it has been woken already
            del tickets.resident[outcome.id]
        return None
    record = ticket.record
    record.status = outcome.status
    if outcome.attempt != record.attempt:
        record.attempt = outcome.attempt
        record.suspect = False
    record.due = outcome.due
    record.error = outcome.error
    record.started = outcome.started
    heir = ticket.successor()
    heir.unclaimed = ticket.claimed and outcome.status == st.QUEUED  # its claim was given back
    tickets.resident[outcome.id] = heir
    return heir


def answers(planned: Sequence[PlannedCancel]) -> dict[bytes, Any]:
    """What a CancelTasks is answered."""
    return {cancel.id: cancel.outcome for cancel in planned}
