"""What an operator may want of a workflow, and what a commit has made of workflows."""

from __future__ import annotations

import enum

import msgspec

from everact.tasks.record import Record
from everact.tasks.unwinding import EntryState
from everact.tasks.workflow import WorkflowState


class OrderKind(enum.Enum):
    """What an operator may want of a workflow."""

    CANCEL = "cancel"
    RESUME = "resume"
    SKIP = "skip"


class Order(msgspec.Struct, frozen=True):
    """Cancel a workflow, or have a stuck one go on: from where it is stuck, or past that."""

    workflow: bytes
    kind: OrderKind
    text: str


class Answer(enum.Enum):
    """What a storage made of an order."""

    DONE = enum.auto()
    NOT_FOUND = enum.auto()
    FINISHED = enum.auto()
    UNWINDING = enum.auto()
    PAST_PIVOT = enum.auto()
    NOT_STUCK = enum.auto()


class Stop(msgspec.Struct, frozen=True):
    """Tasks of a workflow that unwinds: they are to stop, or not to start."""

    workflow: bytes
    reason: str
    tasks: list[bytes]


class Move(msgspec.Struct, frozen=True):
    """A workflow went into another state."""

    workflow: bytes
    state: WorkflowState
    reason: str


class Changes(msgspec.Struct):
    """What a commit made of workflows, beyond what it was asked to write.

    Attributes:
        made: New rows that may start: compensations, and steps that are repeated.
        woken: Sagas whose stage is over; they may start.
        barred: Ids of follow-ups and inserts that were stored as CANCELLED.
        stops: Tasks to be stopped.
        moves: Workflows that are in another state than before.
        rooted: Roots, not ended, that are not alone in their workflow any more.
        answers: To the batch's orders, one each.
        entries: What undo entries have become: PLAYED, STUCK or SKIPPED, one for each.
    """

    made: list[Record] = msgspec.field(default_factory=list)
    woken: list[Record] = msgspec.field(default_factory=list)
    barred: set[bytes] = msgspec.field(default_factory=set)
    stops: list[Stop] = msgspec.field(default_factory=list)
    moves: list[Move] = msgspec.field(default_factory=list)
    rooted: list[bytes] = msgspec.field(default_factory=list)
    answers: list[Answer] = msgspec.field(default_factory=list)
    entries: list[EntryState] = msgspec.field(default_factory=list)
