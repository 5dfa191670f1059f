"""Keeps the history: what commits have made true, what handlers did, and which tasks are still open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from everact.storage.protocol import Batch, Committed, Outcome
from everact.tasks import events as ev
from everact.tasks import status as st
from everact.tasks.record import COMPENSATION, TASK, Record
from everact.testing.history import History, What
from everact.testing.seeded import EPOCH
from everact.testing.trace import short, undo_of

_ENDS = {
    st.COMPLETED: What.COMPLETED,
    st.FAILED: What.FAILED,
    st.CANCELLED: What.CANCELLED,
    st.QUARANTINED: What.QUARANTINED,
}


class Book:
    """Writes the history of one simulation.

    Attributes:
        history: What it writes.
        commits: How many commits were begun, over all nodes.
        types: The stored name of each task's type, by id.
        busy: Tasks that wait to run, run, or wait for another attempt.
        later: Tasks that their user has scheduled, and when they are due.
        firsts: The first task of each type.
        resident: For each life of a node, how many tasks were in memory at the most.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.commits = 0
        self.types: dict[bytes, str] = {}
        self.busy: set[bytes] = set()
        self.later: dict[bytes, int] = {}
        self.firsts: dict[str, bytes] = {}
        self.resident: dict[str, int] = {}
        self._over: set[bytes] = set()

    # -- commits -------------------------------------------------------------------------------------------

    def committed(self, node: str, batch: Batch, committed: Committed, exists: Callable[[bytes], object]) -> None:
        """A batch was written.

        Args:
            node: By which life of which node.
            batch: What was asked for.
            committed: What was not done of it.
            exists: Whether there is a row of an id.
        """
        number, taken = self.commits, committed.taken
        for outcome in batch.outcomes:
            if outcome.seq not in committed.lost or self._is_a_new_stage(outcome, exists):
                self._ended(node, outcome, number)
                for record in outcome.follow_ups:
                    self._stored(node, record, number, taken, "follow-up")
        for record in batch.inserts:
            self._stored(node, record, number, taken, "")
        for outcome in batch.cancels:
            if outcome.seq not in committed.lost:
                self._ended(node, outcome, number)
        for request in batch.requests:
            if request.seq not in committed.late:
                name = self.history.known(request.id)
                self.history.add(node, What.CANCEL_REQUESTED, name, detail=request.reason, commit=number)
        if committed.changes is not None:
            self._changed(node, committed.changes, number)

    def _is_a_new_stage(self, outcome: Outcome, exists: Callable[[bytes], object]) -> bool:
        """Whether it took effect though one of its number is lost: a saga may send its last stage with the next."""
        first = next(iter(outcome.follow_ups), None)
        return first is not None and first.id not in self.types and bool(exists(first.id))

    def _changed(self, node: str, changes: Any, number: int) -> None:
        for id in changes.barred:  # noqa: A001 - the task's own word
            self._close(id)
            self._over.add(id)
            self.history.add(node, What.CANCELLED, self.history.known(id), detail="barred", commit=number)
        for record in changes.made:
            self._stored(node, record, number, {}, "made")
        for record in changes.woken:
            self.busy.add(record.id)
            self.history.add(node, What.WOKEN, self.history.known(record.id), commit=number)
        for stop in changes.stops:  # a saga that waited for its stage is no longer in nobody's hands
            self.busy.update(set(stop.tasks) - self._over)
        for move in changes.moves:
            name = self.history.known(move.workflow)
            self.history.add(node, What.WORKFLOW, name, detail=move.state.value, commit=number)

    def _ended(self, node: str, outcome: Outcome, number: int) -> None:
        name, status = self.history.known(outcome.id), outcome.status
        parked = outcome.part is not None and outcome.part.parked
        due = None
        if status >= st.COMPLETED:
            what = _ENDS[status]
            self._close(outcome.id)
            self._over.add(outcome.id)
        elif parked:
            what = What.PARKED
            self._close(outcome.id)  # it may have been scheduled for later
        elif status == st.SCHEDULED:
            what, due = What.RETRY, seconds(outcome.due)
        else:
            what = What.REQUEUED
        detail = outcome.error.type if outcome.error is not None and not parked else ""
        self.history.add(node, what, name, attempt=outcome.attempt, detail=detail, commit=number, due=due)

    def _stored(self, node: str, record: Record, number: int, taken: dict[bytes, Record], how: str) -> None:
        name = self._name(record)
        holder = taken.get(record.id)
        if holder is not None and holder.seq != record.seq:
            about = self.history.known(holder.id)
            self.history.add(node, What.LEFT_OUT, name, about=about, commit=number)
            return
        again = record.id in self.types
        self.types[record.id] = record.type
        if again:
            return  # its batch was sent twice, as the outcome of the first one was unknown
        if record.kind == TASK:
            self.firsts.setdefault(short(record.type), record.id)
            self.firsts.setdefault(record.type, record.id)
        if record.status == st.SCHEDULED:
            self.later[record.id] = record.due
        elif record.status < st.COMPLETED:
            self.busy.add(record.id)
        about = "" if record.parent is None else self.history.known(record.parent)
        detail = how if record.kind == TASK else record.kind
        self.history.add(node, What.STORED, name, detail=detail, about=about, commit=number, due=seconds(record.due))

    def _name(self, record: Record) -> str:
        flow = record.flow
        if record.kind == COMPENSATION and flow is not None and flow.own and flow.undoes is not None:
            return self.history.name(record.id, undo_of(record.type))
        return self.history.name(record.id, record.type)

    def _close(self, id: bytes) -> None:
        self.busy.discard(id)
        self.later.pop(id, None)

    # -- handlers and subscribers --------------------------------------------------------------------------

    def handled(self, node: str, what: What, ctx: Any, detail: str = "") -> None:
        """A handler or a hook was called, or has come back."""
        record = ctx._record
        self.types.setdefault(record.id, record.type)
        flow = record.flow
        about = "" if flow is None or flow.undoes is None else self.history.known(flow.undoes)
        self.history.add(node, what, self._name(record), attempt=ctx.attempt, detail=detail, about=about)

    def wanted(self, node: str, ctx: Any, seen: int) -> int:
        """What a handler or hook has dispatched through its context since there were `seen` of them."""
        buffer = ctx._buffer or ()
        parent = self._name(ctx._record)
        for ticket in buffer[seen:]:
            name = self._name(ticket.record)
            self.history.add(node, What.WANTED, name, attempt=ctx.attempt, about=parent)
        return len(buffer)

    def told(self, node: str, event: ev.Event) -> None:
        """A subscriber was told."""
        name = self.history.known(event.task_id.bytes) if isinstance(event, ev.TaskEvent) else ""
        if isinstance(event, ev.WorkflowMoved):
            name = self.history.known(event.workflow_id.bytes)
        self.history.add(node, What.TOLD, name, detail=type(event).__name__)

    def holds(self, node: str, resident: int) -> None:
        """So many tasks are in memory now."""
        self.resident[node] = max(self.resident.get(node, 0), resident)

    # -- rest ----------------------------------------------------------------------------------------------

    def idle(self, now: int) -> bool:
        """Whether nothing is queued, running or waiting for a retry, and nothing scheduled is due."""
        return not self.busy and not any(due <= now for due in self.later.values())


def seconds(microseconds: int) -> float:
    """A wall-clock time as virtual seconds."""
    return (microseconds - EPOCH) / 1_000_000
