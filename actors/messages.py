"""What actors say to each other. Frozen, and named by intent (`StoreTasks`) or fact (`AttemptFailed`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from everact.actors.baton import AnyWaiter
from everact.actors.ticket import Delivery, Ticket
from everact.storage.changes import Order
from everact.storage.protocol import Outcome
from everact.tasks.cancellation import CancelReason
from everact.tasks.record import HistoryRow

if TYPE_CHECKING:
    from everact.actors.handler_actor import HandlerActor
    from everact.actors.watch import Watch

# To the journal. These are made once per task, so they are Structs outside of the garbage collector's sight:
# a frozen dataclass costs seven times as much.


class StoreTasks(msgspec.Struct, frozen=True, gc=False):
    """Store new tasks; the answer maps the ids that were not stored to the rows in their place."""

    tickets: Sequence[Ticket]
    waiter: AnyWaiter | None
    history: Sequence[HistoryRow] = ()


class FinishDelivery(msgspec.Struct, frozen=True, gc=False):
    """Commit how a delivery ended, with what it dispatched."""

    ticket: Ticket
    outcome: Outcome
    follow_ups: Sequence[Ticket]


class CancelTasks(msgspec.Struct, frozen=True, gc=False):
    """Cancel tasks; the answer maps each id to a CancelOutcome, or to the error that stands in its way."""

    ids: Sequence[bytes]
    reason: str
    waiter: AnyWaiter | None
    cause: CancelReason = CancelReason.USER


class OrderWorkflow(msgspec.Struct, frozen=True, gc=False):
    """Cancel a workflow, or let a stuck one go on; the answer is an `Answer`."""

    order: Order
    waiter: AnyWaiter


class InTurn(msgspec.Struct, frozen=True, gc=False):
    """Do something in the journal's turn, after its commit, where nothing else changes what it looks at."""

    do: Callable[[int], object]


class ClaimTasks(msgspec.Struct, frozen=True, gc=False):
    """Write these rows down as RUNNING here, then hand them to their pools."""

    tickets: Sequence[Ticket]


class MarkRunning(msgspec.Struct, frozen=True, gc=False):
    """Write these rows down as RUNNING here: they have been for a while."""

    tickets: Sequence[Ticket]


class AwaitIdle(msgspec.Struct, frozen=True, gc=False):
    """Answer as soon as nothing is queued, running or waiting for a retry."""

    waiter: AnyWaiter


# From a cell, or from the timer about a cell, to the pool's supervisor.


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """`handle` raised, or ran out of time. `verdict` is what `Retry.when` said, asked in the cell."""

    cell: HandlerActor
    generation: int
    delivery: Delivery
    error: BaseException
    verdict: bool | None


@dataclass(frozen=True, slots=True)
class CellFailed:
    """A cell could not start its instance, or everact's own code in it raised."""

    cell: HandlerActor
    generation: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class CellStarted:
    """A cell that had failed has an instance again."""

    cell: HandlerActor


@dataclass(frozen=True, slots=True)
class CellStuck:
    """User code in a cell went on after its deadline and its grace time."""

    cell: HandlerActor
    generation: int
    watch: Watch


@dataclass(frozen=True, slots=True)
class GraceOver:
    """A delivery was told to stop since its workflow is being undone, and its grace time is over."""

    cell: HandlerActor
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class ProbeDue:
    """The backoff of a suspended pool is over: let one cell try."""


# From the supervisor to a cell.


@dataclass(frozen=True, slots=True)
class Proceed:
    """What follows the failed attempt: another one after `delay` seconds, or, with None, failure for good."""

    delivery: Delivery
    delay: float | None


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Try once more to make an instance."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with a delivery whose thread was abandoned in `phase`, as if that had raised `error`."""

    delivery: Delivery
    phase: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Retire:
    """Stop the instance; nothing will be sent after this."""

    waiter: AnyWaiter
