"""A workflow's state, derived from the statuses of its tasks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.tasks.status import TaskStatus
from everact.tasks.workflow import WorkflowState, workflow_state

S = TaskStatus
STATUSES = st.lists(st.sampled_from(S), min_size=1, max_size=8)
ENDED = st.lists(st.sampled_from([s for s in S if s.terminal]), min_size=1, max_size=8)


@given(STATUSES, st.sampled_from([S.SCHEDULED, S.QUEUED, S.RUNNING]), st.data())
def test_a_workflow_runs_while_any_of_its_tasks_has_not_ended(
    statuses: list[TaskStatus], unfinished: TaskStatus, data: st.DataObject
) -> None:
    statuses.insert(data.draw(st.integers(0, len(statuses))), unfinished)
    assert workflow_state(statuses) is WorkflowState.RUNNING


@given(ENDED, st.sampled_from([S.FAILED, S.QUARANTINED]), st.data())
def test_one_failed_or_quarantined_task_makes_an_ended_workflow_failed(
    statuses: list[TaskStatus], failure: TaskStatus, data: st.DataObject
) -> None:
    statuses.insert(data.draw(st.integers(0, len(statuses))), failure)
    assert workflow_state(statuses) is WorkflowState.FAILED


@given(st.lists(st.sampled_from([S.COMPLETED, S.CANCELLED]), max_size=8))
def test_without_a_failure_the_root_decides(children: list[TaskStatus]) -> None:
    assert workflow_state([S.COMPLETED, *children]) is WorkflowState.COMPLETED
    assert workflow_state([S.CANCELLED, *children]) is WorkflowState.CANCELLED


@pytest.mark.parametrize("status", S, ids=str)
def test_a_lone_task_is_its_own_workflow(status: TaskStatus) -> None:
    expected = {
        S.SCHEDULED: WorkflowState.RUNNING,
        S.QUEUED: WorkflowState.RUNNING,
        S.RUNNING: WorkflowState.RUNNING,
        S.COMPLETED: WorkflowState.COMPLETED,
        S.FAILED: WorkflowState.FAILED,
        S.CANCELLED: WorkflowState.CANCELLED,
        S.QUARANTINED: WorkflowState.FAILED,
    }
    assert workflow_state(iter([status])) is expected[status]
