"""How a workflow goes on when one of its tasks has ended: pure decisions over one row.

    RUNNING ──▶ COMPLETED | FAILED
       │  trigger, and an entry to undo (or it was aborted or cancelled)
       ▼
    COMPENSATING ──▶ COMPENSATED | CANCELLED
       │  ▲  an undo fails for good
       ▼  │  resume
      STUCK

A storage calls these in the transaction that writes what they decide about, so a workflow is never seen between
two states, and any node that may write a task's outcome moves its workflow on.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from everact.tasks import status as st
from everact.tasks.record import COMPENSATION, TASK, Record
from everact.tasks.workflow import FINAL, WorkflowState

RUNNING, COMPENSATING, STUCK = WorkflowState.RUNNING, WorkflowState.COMPENSATING, WorkflowState.STUCK
FAILURE, ABORT, CANCEL = "failure", "abort", "cancel"


class EntryState(enum.IntEnum):
    """Where an entry of the undo log is. The numbers are what storages keep."""

    HELD = 0
    """Its step may still end well; counts only if it does not."""
    PENDING = 1
    PLAYING = 2
    PLAYED = 3
    SKIPPED = 4
    STUCK = 5
    """Its compensation has failed for good."""

    def __str__(self) -> str:
        return self.name.lower()


class Entry(msgspec.Struct, kw_only=True):
    """The promise to undo one step, as a storage keeps it.

    Attributes:
        workflow, number: Its name; numbers count from 1 in each workflow.
        position: Its place in the order in which steps ended; the highest is undone first.
        step: The task that it undoes.
        outcome: How that ended: "completed" or "unknown".
        round: How often its compensation was begun anew.
        record: The compensation, encoded, as `compensate_with` was given it.
        source: In the place of that, the task whose type and payload the compensation takes: the step itself if its
            handler has a `compensate`, its saga if that knows the undo.
        type: Stored name of the compensation's type; of the source's if there is one.
        at: When it was written.
        note: What was said when it was skipped, or why it is stuck.
    """

    workflow: bytes
    step: bytes
    outcome: str
    at: int
    type: str
    number: int = 0
    position: int = 0
    state: int = EntryState.HELD
    round: int = 0
    record: Record | None = None
    source: bytes | None = None
    note: str = ""


class Part(msgspec.Struct, gc=False, kw_only=True):
    """The part that the end of a delivery plays in its workflow.

    Attributes:
        workflow: The workflow's id.
        kind: The task's kind.
        critical: Whether its failure is a trigger.
        pivot: Whether nothing is undone any more once it has completed.
        join: The saga that waits for it.
        parked: Whether it is itself a saga that waits from now on.
        coordinates: Whether it is a saga: cancelling that cancels the workflow.
        entries: What undoes it. In a commit that does not end the task, or ends it other than COMPLETED, with the
            outcome "unknown".
        abort: Why its handler wants the workflow undone.
        undoes: The number of the entry that it plays, if it is a compensation.
        cause: What to say if it is the trigger.
    """

    workflow: bytes
    kind: str = TASK
    critical: bool = True
    pivot: bool = False
    join: bytes | None = None
    parked: bool = False
    coordinates: bool = False
    entries: Sequence[Entry] = ()
    abort: str | None = None
    undoes: int = 0
    cause: str = ""


class WorkflowRow(msgspec.Struct, kw_only=True):
    """A workflow as a storage keeps it.

    Attributes:
        open: Its tasks that have not ended.
        forward: Of these, the ones that an unwinding stops.
        trigger: What asked for the unwinding: "failure", "abort" or "cancel"; None so far.
        reason: More about that, or why it is stuck.
        pivoted: Whether the pivot has completed.
        entries: The highest number or position given to an entry.
        held, pending, placed: How many entries are HELD; how many are to be played, or stuck; how many ever were.
        playing: The compensation under way.
        stuck: The tasks that parked it.
        recalled: Whether its root was cancelled alone, without anything to undo.
    """

    id: bytes
    created: int
    state: WorkflowState = RUNNING
    open: int = 0
    forward: int = 0
    trigger: str | None = None
    reason: str = ""
    pivoted: bool = False
    entries: int = 0
    held: int = 0
    pending: int = 0
    placed: int = 0
    playing: bytes | None = None
    stuck: tuple[bytes, ...] = ()
    recalled: bool = False
    finished: int | None = None

    @property
    def unwinding(self) -> bool:
        """Whether no further step may start."""
        return self.state in (COMPENSATING, STUCK) and not self.pivoted


def opened(row: WorkflowRow, kind: str) -> None:
    """A task was stored."""
    row.open += 1
    row.forward += kind == TASK


def hold(row: WorkflowRow, entry: Entry) -> None:
    """Number an entry of a step that has not ended."""
    row.entries += 1
    entry.number = row.entries
    row.held += 1


def new_ones(entries: Sequence[Entry], held: Sequence[Entry]) -> list[Entry]:
    """Leave out what earlier attempts have promised already: each may have worked, but there is one thing to undo.

    Args:
        entries: What the last attempt has promised.
        held: What those before it have.
    """
    left = [_undo(entry) for entry in held]
    fresh: list[Entry] = []
    for entry in entries:
        if (undo := _undo(entry)) in left:
            left.remove(undo)
        else:
            fresh.append(entry)
    return fresh


def _undo(entry: Entry) -> tuple[object, ...]:
    return entry.type, entry.source, None if entry.record is None else entry.record.payload


def place(row: WorkflowRow, entry: Entry) -> None:
    """Have an entry played when the workflow unwinds; one that was held takes its place in the order only now."""
    row.entries += 1
    if entry.number == 0:
        entry.number = row.entries
    else:
        row.held -= 1
    entry.position = row.entries
    entry.state = EntryState.PENDING
    row.pending += 1
    row.placed += 1


def ended(row: WorkflowRow, part: Part, id: bytes, status: int, *, continued: bytes | None = None) -> EntryState | None:
    """Take the end of one delivery into account. Its entries were placed before, what follows from it is not yet.

    Args:
        row: Changed in place.
        part: The task's part in the workflow.
        id: The task.
        status: What it has become.
        continued: The follow-up that goes on with its compensation, if one does.

    Returns:
        What becomes of the entry that it plays, if it is a compensation.
    """
    if status >= st.COMPLETED:
        row.open -= 1
        row.forward -= part.kind == TASK
    played = _compensated(row, part, id, status, continued) if part.kind == COMPENSATION else None
    if part.kind == TASK:
        _judge(row, part, id, status)
    return played


def _judge(row: WorkflowRow, part: Part, id: bytes, status: int) -> None:
    if part.pivot and status == st.COMPLETED:
        if row.unwinding:
            _park(row, id, f"the pivot {part.cause} completed while the workflow was being undone")
        else:
            row.pivoted = True
    if status in (st.FAILED, st.QUARANTINED) and part.critical:
        _trigger(row, FAILURE, part.cause, id)
    if part.abort is not None:
        _trigger(row, ABORT, part.abort, id)
    if status == st.CANCELLED and part.coordinates and not row.unwinding:
        _trigger(row, CANCEL, f"{part.cause} was cancelled", id)
    elif status == st.CANCELLED and id == row.id:
        row.recalled = True


def _trigger(row: WorkflowRow, kind: str, reason: str, id: bytes) -> None:
    if row.pivoted:
        _park(row, id, reason)
    elif row.state is RUNNING and (row.trigger is None or kind != FAILURE):
        row.trigger, row.reason = kind, reason


def _park(row: WorkflowRow, id: bytes, reason: str) -> None:
    row.state = STUCK
    row.reason = reason
    row.stuck = (*row.stuck, id)


def _compensated(row: WorkflowRow, part: Part, id: bytes, status: int, continued: bytes | None) -> EntryState | None:
    if status < st.COMPLETED:
        return None
    row.playing = continued
    if continued is not None:
        return EntryState.PLAYING
    if status == st.COMPLETED:
        row.pending -= 1
        return EntryState.PLAYED
    _park(row, id, part.cause)
    return EntryState.STUCK


def begins_to_unwind(row: WorkflowRow) -> bool:
    """Go to COMPENSATING if a trigger has happened and there is something to undo; abort and cancel need no entry.

    Returns:
        Whether it did so now: its open steps are then to be stopped.
    """
    wanted = row.trigger is not None and (row.trigger != FAILURE or row.pending > 0)
    if row.state is not RUNNING or row.pivoted or not wanted:
        return False
    row.state = COMPENSATING
    return True


def wants_play(row: WorkflowRow) -> bool:
    """Whether the next entry is to be played: no step is under way, and no other compensation."""
    return row.state is COMPENSATING and row.forward == 0 and row.playing is None and row.pending > 0


def conclude(row: WorkflowRow, now: int) -> bool:
    """End the workflow if nothing of it is left to do; returns whether it did."""
    if row.open or row.state in FINAL or row.state is STUCK or (row.state is COMPENSATING and row.pending):
        return False
    row.state = _final(row)
    row.finished = now
    return True


def _final(row: WorkflowRow) -> WorkflowState:
    if row.state is COMPENSATING:
        return WorkflowState.COMPENSATED if row.placed else WorkflowState.CANCELLED
    if row.trigger is not None:  # before the pivot, as later ones park the workflow
        return WorkflowState.FAILED
    return WorkflowState.CANCELLED if row.recalled else WorkflowState.COMPLETED


def resumed(row: WorkflowRow) -> None:
    """Let a stuck workflow go on, in the direction in which it was going."""
    row.state = RUNNING if row.pivoted else COMPENSATING
    row.stuck = ()
    row.reason = ""
