"""What the journal asks of a storage. One conformance suite (`tests/contracts/`) holds every storage to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from everact.storage.changes import Changes, Order
from everact.tasks.record import HistoryRow, Record, TaskError
from everact.tasks.unwinding import Entry, Part, WorkflowRow
from everact.tasks.workflow import WorkflowState


class Outcome(msgspec.Struct, gc=False, kw_only=True):
    """How one delivery ended, or that a task was cancelled: one conditional update.

    It changes the row only if (`seq`, `owner`, `expected`) still fit and the row is not terminal. This is the
    fence: what a late or foreign writer says about a task changes nothing.

    Attributes:
        seq: The row.
        owner: Node incarnation that the row must belong to.
        expected: The `attempt` that must be stored.
        status, attempt, due, started, finished, result, error: What the row becomes.
        follow_ups: Rows that exist if and only if this outcome does.
        history: What out of the ordinary it adds to the task's history, under the same condition.
        part: What it means to the task's workflow; None if the task is alone in it, with nothing to undo.
    """

    id: bytes
    seq: int
    owner: int
    expected: int
    status: int
    attempt: int
    due: int
    started: int | None = None
    finished: int | None = None
    result: bytes | None = None
    error: TaskError | None = None
    follow_ups: Sequence[Record] = ()
    history: HistoryRow | None = None
    part: Part | None = None


def outcome_of(record: Record, status: int) -> Outcome:
    """An outcome that changes a row's status, and keeps the rest as it is."""
    return Outcome(
        id=record.id,
        seq=record.seq,
        owner=record.owner,
        expected=record.attempt,
        status=status,
        attempt=record.attempt,
        due=record.due,
        started=record.started,
        error=record.error,
    )


class CancelRequest(msgspec.Struct, frozen=True):
    """Remember that a started task was asked to stop: set `cancel_requested` unless the row is terminal."""

    id: bytes
    seq: int
    reason: str
    at: int


class Claim(msgspec.Struct, frozen=True):
    """Say that a row runs here now: owner := this incarnation, status := RUNNING.

    An adopted row is claimed before it starts, so that a crash counts; one of the node's own when it has run a while.

    Only if the row still belongs to `owner` with that `attempt` and waits (SCHEDULED or QUEUED).
    """

    seq: int
    owner: int
    expected: int


NOBODY = 0
"""The owner of rows that the first node which handles their type may claim; no incarnation has this number."""


def _unnumbered(record: Record) -> Record:
    return record


def _all_types(name: str) -> bool:  # noqa: ARG001 - a default
    return True


class Batch(msgspec.Struct):
    """All that one commit writes. Applied in the order of the fields; all of it or nothing.

    Inserts (follow-ups, then `inserts`) that meet a taken id or an unfinished task with their key are left
    out. A follow-up left out for its key adds a `key_taken` row to its parent's history.

    Attributes:
        in_workflows: Whether any of it concerns a workflow of several tasks; if not, nobody looks for that.
        number: Gives a row that the commit itself makes its `seq` and owner.
        handles: Whether rows of a type can run here; what the commit makes or wakes of others is nobody's.
    """

    now: int
    outcomes: list[Outcome] = msgspec.field(default_factory=list)
    inserts: list[Record] = msgspec.field(default_factory=list)
    cancels: list[Outcome] = msgspec.field(default_factory=list)
    requests: list[CancelRequest] = msgspec.field(default_factory=list)
    claims: list[Claim] = msgspec.field(default_factory=list)
    history: list[HistoryRow] = msgspec.field(default_factory=list)
    orders: list[Order] = msgspec.field(default_factory=list)
    in_workflows: bool = False
    number: Callable[[Record], Record] = _unnumbered
    handles: Callable[[str], bool] = _all_types


class Committed(msgspec.Struct):
    """What a commit did not do as asked, or beyond that; all of it is empty in the ordinary case.

    Attributes:
        lost: `seq` of outcomes and cancels whose row did not fit the condition.
        unclaimed: `seq` of claims whose row did not, perhaps as an outcome of this very batch has ended it.
        late: `seq` of cancel requests whose task had ended by then, perhaps in this very batch.
        taken: For each insert left out, by its id: the row that stands in its place (same id, or the
            unfinished task of its type with its key).
        changes: What became of workflows; None if it concerned none.
    """

    lost: set[int] = msgspec.field(default_factory=set)
    unclaimed: set[int] = msgspec.field(default_factory=set)
    late: set[int] = msgspec.field(default_factory=set)
    taken: dict[bytes, Record] = msgspec.field(default_factory=dict)
    changes: Changes | None = None


NOTHING_LOST = Committed()
"""The ordinary answer, shared; do not change it."""


class Adoption(msgspec.Struct):
    """What one adoption pass found.

    Attributes:
        waiting: Rows now this node's that wait to run (SCHEDULED or QUEUED), by type; large numbers may be cut.
        interrupted: Rows that were RUNNING when their process died; they are QUEUED again.
        unhandled: Rows of dead incarnations whose type this node does not handle, by type.
    """

    waiting: dict[str, int]
    interrupted: int
    unhandled: dict[str, int]


class Sweep(msgspec.Struct):
    """What one step over the stored rows has found.

    Attributes:
        last: `seq` of the last row looked at, to go on after; None at the end.
        deleted: How many finished rows were deleted.
        oldest: When the oldest of the finished rows that stay had ended; None if there are none.
    """

    last: int | None
    deleted: int
    oldest: int | None


class Waiting(msgspec.Struct, frozen=True):
    """How many tasks of one type wait.

    Attributes:
        type: Stored name.
        ready: Those that are due, or QUEUED.
        scheduled: Those that are due later.
        oldest: When the one that is due longest was; None if none is ready.
    """

    type: str
    ready: int
    scheduled: int
    oldest: int | None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows to list, in order of `seq`; every condition that is not None must hold."""

    statuses: Collection[int] | None = None
    type: str | None = None
    workflow: bytes | None = None
    after: int = 0
    limit: int = 100


class Storage(Protocol):
    """Records on disk, or in memory.

    `commit`, `adopt` and `sweep` are called by one thread at a time, the journal's; the reads by any thread. A storage
    starts no thread and reads no clock.
    """

    url: str
    """Where it is; safe to show."""
    inline: bool
    """Whether a commit never waits or fails, so that callers may run it in their own thread, or leave it to others."""
    durable: bool
    """Whether anything survives the process."""

    def open(self, now: int) -> int:
        """Open it, bring the schema up to date, and register a new node incarnation.

        Returns:
            The incarnation's number; greater than any before it on this storage.

        Raises:
            StorageUnavailable: It cannot be opened.
            MigrationError: It was written by a newer version.
        """
        ...

    def commit(self, batch: Batch) -> Committed:
        """Write a batch in one transaction, all or nothing.

        Raises:
            StorageFull: There is no room; nothing was written.
            StorageBusy: Another process writes; nothing was written. Raised soon, so that the caller decides how long
                to wait.
            StorageUnavailable: It failed; `outcome` says whether it may have been written after all.
        """
        ...

    def adopt(self, types: Collection[str], now: int) -> Adoption:
        """Take over what dead or cleanly stopped incarnations left behind of these types, in one transaction."""
        ...

    def quiet(self) -> bool:
        """Whether no other incarnation has committed anything, or died, since this was last asked; it never waits.

        False if that cannot be told, as at the first time; perhaps also if this incarnation itself has committed
        something. Asked by one thread at a time, not the one that commits.
        """
        ...

    def ready(self, types: Collection[str], now: int, skip: Collection[int], limit: int) -> list[Record]:
        """A page of rows that may start: they wait, are due, and are this incarnation's or adopted by it.

        What was QUEUED before the clock was set back is due, as far as that can be told.

        Args:
            types: Of these types.
            now: Due by then.
            skip: `seq` of rows that are in the caller's hands already.
            limit: Rows at the most.

        Returns:
            Rows ordered by (-priority, due, seq); fewer than `limit` only at the end.
        """
        ...

    def scheduled(self, types: Collection[str], after: int, skip: Collection[int], limit: int) -> list[Record]:
        """A page of SCHEDULED rows that are due after a time, else chosen as by `ready`.

        Returns:
            Rows ordered by (due, seq); fewer than `limit` only at the end.
        """
        ...

    def retrying(self, types: Collection[str]) -> bool:
        """Whether any task of these types, this incarnation's or adopted by it, waits for its next attempt."""
        ...

    def sweep(self, before: int, after: int, limit: int) -> Sweep:
        """Delete workflows all of whose rows had ended before a time, with their history, in one transaction.

        Args:
            before: Microseconds.
            after: Look at rows whose `seq` is greater.
            limit: Look at this many at the most, beside the others of their workflows; a storage in memory may look
                at all.
        """
        ...

    def get(self, id: bytes) -> Record | None:
        """Read one row."""
        ...

    def select(self, selection: Selection) -> list[Record]:
        """List rows."""
        ...

    def counts(self, now: int) -> dict[int, int]:
        """How many rows are in each status, those that are due by `now` as QUEUED; statuses may be missing."""
        ...

    def asked(self, types: Collection[str]) -> list[Record]:
        """Unfinished rows, this incarnation's or adopted by it, that have been asked to stop."""
        ...

    def unowned(self, types: Collection[str]) -> list[Record]:
        """QUEUED rows of these types that are nobody's, a few hundred at the most."""
        ...

    def crashed(self, owner: int) -> bool:
        """Whether that incarnation is dead and had not ended cleanly: what it had may have been started."""
        ...

    def workflow(self, id: bytes) -> WorkflowRow | None:
        """Read a workflow; None if it has only ever been one task, with nothing to undo."""
        ...

    def workflows(self, states: Collection[WorkflowState] | None, after: bytes, limit: int) -> list[WorkflowRow]:
        """List workflows in order of their ids; None for all states."""
        ...

    def undo_log(self, workflow: bytes) -> list[Entry]:
        """Read the undo entries of a workflow in the order of their positions, those held last."""
        ...

    def waiting(self, now: int, skip: Collection[int]) -> list[Waiting]:
        """How many SCHEDULED and QUEUED rows there are of each type, whoever's they are; it looks at all of them.

        Args:
            now: Due by then is ready.
            skip: `seq` of rows not to be counted.
        """
        ...

    def history(self, id: bytes) -> list[HistoryRow]:
        """What out of the ordinary happened to a task, oldest first."""
        ...

    def alive(self, owner: int) -> bool:
        """Whether that incarnation's process lives (this one's own counts as alive)."""
        ...

    def release_reserve(self) -> bool:
        """Give up the space kept for running work, since there is no other; see `restore_reserve`. Never raises.

        Returns:
            Whether there may be room now that was not there before.
        """
        ...

    def restore_reserve(self) -> bool:
        """Keep that space again. Never raises.

        Returns:
            False while there is no room for it. True where no reserve can be had, or none is needed.
        """
        ...

    def close(self) -> None:
        """Say that this incarnation has ended cleanly, and let go of everything. Idempotent."""
        ...

    def abandon(self) -> None:
        """Let go of everything as a kill would, writing nothing. For tests and after fork."""
        ...
