"""The tree of tasks that descends from one outside dispatch, and the state it is in."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from everact.tasks.record import TaskRecord
from everact.tasks.status import TaskStatus


class WorkflowState(enum.Enum):
    """Where a workflow is in its life."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as it was when you asked: `system.workflow(id)`.

    Attributes:
        id: The id of its root task.
        state: See `WorkflowState`.
        tasks: All its tasks in the order in which they were stored, the root first.
    """

    id: UUID
    state: WorkflowState
    tasks: tuple[TaskRecord, ...]


def workflow_state(statuses: Iterable[TaskStatus]) -> WorkflowState:
    """Derive a workflow's state from its tasks' statuses.

    Args:
        statuses: The root's first.

    Example:
        >>> workflow_state([TaskStatus.COMPLETED, TaskStatus.QUEUED])
        <WorkflowState.RUNNING: 'running'>
    """
    seen = list(statuses)
    if not all(status.terminal for status in seen):
        return WorkflowState.RUNNING
    if TaskStatus.FAILED in seen or TaskStatus.QUARANTINED in seen:
        return WorkflowState.FAILED
    return WorkflowState.CANCELLED if seen[0] is TaskStatus.CANCELLED else WorkflowState.COMPLETED
