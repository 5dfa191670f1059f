"""The tree of tasks that descends from one outside dispatch, and the state it is in."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from everact.tasks.record import TaskRecord
from everact.tasks.status import TaskStatus


class WorkflowState(enum.Enum):
    """Where a workflow is in its life."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    """Something has gone wrong, or it was cancelled: its completed steps are being undone, the last one first."""
    COMPENSATED = "compensated"
    """Every step that had an undo entry is undone, or was skipped by an operator."""
    STUCK = "stuck"
    """An undo has failed for good, or a step after the pivot: `system.resume` lets it go on."""
    COMPLETED = "completed"
    FAILED = "failed"
    """A critical task failed, and there was nothing to undo."""
    CANCELLED = "cancelled"
    """It was cancelled or aborted, and there was nothing to undo."""

    @property
    def final(self) -> bool:
        """Whether the workflow never leaves this state."""
        return self in FINAL


FINAL = frozenset({WorkflowState.COMPENSATED, WorkflowState.COMPLETED, WorkflowState.FAILED, WorkflowState.CANCELLED})


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """One line of a workflow's undo log: the promise to undo one step.

    Attributes:
        step_id: The task that it undoes.
        type: Stored name of the compensation's task type.
        outcome: How the step ended, as far as is known: "completed" or "unknown".
        state: "held" (its step has not ended), "pending", "playing", "played", "skipped" or "stuck".
        compensation_id: The task that undoes it now, or did last; None if none was sent yet.
        round: How often it was begun anew.
        note: What was said when it was skipped, or why it is stuck.
        at: When it was written (UTC).
    """

    step_id: UUID
    type: str
    outcome: str
    state: str
    compensation_id: UUID | None
    round: int
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as it was when you asked: `system.workflow(id)`.

    Attributes:
        id: The id of its root task.
        state: See `WorkflowState`.
        tasks: All its tasks in the order in which they were stored, the root first.
        undo_log: What can undo its steps, in the order in which they ended; played from the end.
        reason: Why it is undone, or stuck; empty if it is neither.
    """

    id: UUID
    state: WorkflowState
    tasks: tuple[TaskRecord, ...]
    undo_log: tuple[UndoEntry, ...] = ()
    reason: str = ""

    def tree(self) -> str:
        """Its tasks as text, indented below the tasks that dispatched them, with their statuses."""
        known = {task.id for task in self.tasks}
        children: dict[UUID | None, list[TaskRecord]] = {}
        for task in self.tasks:
            parent = task.parent_id if task.parent_id in known else None
            children.setdefault(parent, []).append(task)
        return "\n".join(_lines(children, None, ""))


def _lines(children: dict[UUID | None, list[TaskRecord]], parent: UUID | None, indent: str) -> Iterable[str]:
    for task in children.get(parent, ()):
        kind = "" if task.kind == "task" else f" ({task.kind})"
        yield f"{indent}{task.type}{kind} {task.status}"
        yield from _lines(children, task.id, indent + "  ")


def workflow_state(status: TaskStatus, *, critical: bool = True) -> WorkflowState:
    """The state of a workflow that has only ever been one task, with nothing to undo.

    Args:
        status: The task's.
        critical: Whether its failure would be the workflow's.

    Example:
        >>> workflow_state(TaskStatus.QUEUED), workflow_state(TaskStatus.FAILED, critical=False)
        (<WorkflowState.RUNNING: 'running'>, <WorkflowState.COMPLETED: 'completed'>)
    """
    if not status.terminal:
        return WorkflowState.RUNNING
    if status is TaskStatus.CANCELLED:
        return WorkflowState.CANCELLED
    failed = status is not TaskStatus.COMPLETED
    return WorkflowState.FAILED if failed and critical else WorkflowState.COMPLETED
