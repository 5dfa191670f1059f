"""Resident tasks: the ticket that arbitrates who may start or cancel a task, and the delivery that runs it.

    ticket     QUEUED ─▶ STARTED ─▶ DONE
                  └────▶ CANCELLED

A ticket leaves QUEUED once, and a delivery is closed once. Both are decided by popping the only byte of an array,
which is one step for any number of threads and costs a third of a lock.
"""

from __future__ import annotations

import enum
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from everact.tasks.cancellation import CancelReason
from everact.tasks.context import TaskContext
from everact.tasks.record import Record

if TYPE_CHECKING:
    from everact.actors.pool import Pool


class TicketState(enum.Enum):
    """Where a resident task is between hand-off and the commit of its outcome."""

    QUEUED = enum.auto()
    STARTED = enum.auto()
    CANCELLED = enum.auto()
    DONE = enum.auto()


QUEUED, STARTED, CANCELLED, DONE = TicketState
ONE_TOKEN: Any = msgspec.field(default_factory=bytearray(1).copy)
"""A byte that only one can pop. Not a list of one, which the garbage collector would have to look at for each task."""


class Ticket(msgspec.Struct, eq=False):
    """One resident task on its way to a cell.

    Attributes:
        record: Its row, as last committed.
        pool: The pool that runs it.
        task: The decoded task for the next attempt; None if it must be decoded from the payload first.
        delivery: Who runs it, once STARTED.
        unclaimed: Whether the row was adopted and must be claimed before it starts.
        claimed: Whether it was.
        doubtful: Whether a process that has died may have begun it, without having written that down.
    """

    record: Record
    pool: Pool
    task: Any = None
    unclaimed: bool = False
    claimed: bool = False
    doubtful: bool = False
    state: TicketState = QUEUED
    delivery: Delivery | None = None
    _queued: bytearray = ONE_TOKEN

    def leave_queue(self, state: TicketState) -> bool:
        """Move from QUEUED to `state`; False if somebody else has moved it before."""
        try:
            self._queued.pop()
        except IndexError:
            return False
        self.state = state
        return True

    def successor(self) -> Ticket:
        """A fresh ticket for the task's next delivery."""
        return Ticket(self.record, self.pool)

    def substitute(self) -> Ticket:
        """A fresh ticket for the same delivery, as this one has left its queue for nothing."""
        ticket = Ticket(self.record, self.pool, unclaimed=self.unclaimed)
        ticket.claimed = self.claimed
        ticket.doubtful = self.doubtful
        return ticket


class Delivery(msgspec.Struct, eq=False):
    """One passage of a task through a cell: an attempt with its hooks.

    Attributes:
        ticket: The task.
        ctx: What the handler is given.
        cell: Who runs it.
        started: When the attempt began, in microseconds.
        interruptible: Whether a coroutine may be cancelled now: it is in `handle`, or in a pause.
        ending: The status it is about to end in, once that is clear.
        counted: Whether `handle` was called, so that this is an attempt.
        abandoned: Set when another thread has taken this delivery's task over.
        error: What the attempt ended with.
        delay: Seconds until the next attempt, once that is decided.
        phase: What runs, or ran last: `handle` or a hook.
        mark: How many follow-ups `handle` itself has dispatched; what a failing hook adds is dropped.
        hook: The hook that was entered last.
        hook_failures: How often `on_completed` has failed.
        hook_error: What a hook raised, to be told beside the task's own error.
        undoing: Whether the handler's `compensate` is called, not its `handle`.
        parked: Whether the task is a saga that waits for its stage now.
    """

    ticket: Ticket
    ctx: TaskContext
    cell: Any
    started: int
    interruptible: bool = False
    counted: bool = False
    abandoned: bool = False
    error: BaseException | None = None
    delay: float = 0.0
    ending: int | None = None
    result: bytes | None = None
    mark: int = 0
    phase: str = "handle"
    hook: str | None = None
    hook_error: BaseException | None = None
    hook_failures: int = 0
    undoing: bool = False
    parked: bool = False
    _open: bytearray = ONE_TOKEN

    def close(self) -> bool:
        """Claim the right to say how this delivery ended; False if that is taken."""
        try:
            self._open.pop()
        except IndexError:
            return False
        return True

    @property
    def closed(self) -> bool:
        """Whether somebody has claimed the end."""
        return not self._open

    def signal(self, reason: CancelReason) -> bool:
        """Ask the running attempt to stop; returns whether this reason now stands."""
        fired = self.ctx.cancellation._fire(reason)
        if fired:
            self.cell.interrupt(self)
        return fired


def begun(record: Record) -> bool:
    """Whether a handler has ever been called for this task, as far as the row tells."""
    return record.attempt > 0 or record.crashes > 0 or record.suspect


current_delivery: ContextVar[Delivery | None] = ContextVar("everact_delivery", default=None)
"""What the calling thread or coroutine is delivering; None outside of handlers and hooks."""


class Tickets:
    """The table of resident tasks of one system.

    Attributes:
        resident: All of them, by id. Changed by the journal only.
        parked: Those that their user scheduled for later and that have not come due, by id.
    """

    __slots__ = ("parked", "resident")

    def __init__(self) -> None:
        self.resident: dict[bytes, Ticket] = {}
        self.parked: dict[bytes, Ticket] = {}

    @property
    def idle(self) -> bool:
        """Whether nothing is queued, running or waiting for a retry."""
        return len(self.resident) == len(self.parked)

    def running(self) -> list[Ticket]:
        """Tickets that a cell has now. Takes time in proportion to all resident tasks."""
        return [ticket for ticket in list(self.resident.values()) if ticket.state is STARTED]
