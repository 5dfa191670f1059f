"""What state a workflow is in that has only ever been one task."""

from __future__ import annotations

import pytest

from everact.tasks.status import TaskStatus as S
from everact.tasks.workflow import WorkflowState, workflow_state


@pytest.mark.parametrize("status", [S.SCHEDULED, S.QUEUED, S.RUNNING])
def test_a_task_that_has_not_ended_is_a_running_workflow(status: S) -> None:
    assert workflow_state(status) is WorkflowState.RUNNING


@pytest.mark.parametrize("status", [S.FAILED, S.QUARANTINED])
def test_the_failure_of_a_critical_task_is_the_workflows(status: S) -> None:
    assert workflow_state(status) is WorkflowState.FAILED
    assert workflow_state(status, critical=False) is WorkflowState.COMPLETED


def test_a_completed_or_cancelled_task_is_a_completed_or_cancelled_workflow() -> None:
    assert workflow_state(S.COMPLETED) is WorkflowState.COMPLETED
    assert workflow_state(S.CANCELLED) is WorkflowState.CANCELLED


def test_only_running_compensating_and_stuck_are_left_again() -> None:
    moving = {WorkflowState.RUNNING, WorkflowState.COMPENSATING, WorkflowState.STUCK}
    assert {state for state in WorkflowState if not state.final} == moving
