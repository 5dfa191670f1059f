"""What a running system tells about its tasks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any
from uuid import UUID, uuid4

import pytest

from everact import (
    Retry,
    TaskCancelled,
    TaskContext,
    TaskFailed,
    TaskHandle,
    TaskNotFound,
    TaskStatus,
    WorkflowState,
)
from tests.engine.conftest import WAIT, Bang, Job, Lab, Next, make_handler, until

ONCE = Retry(attempts=1)


def number(task: Any, ctx: TaskContext) -> int:
    if task.n < 0:
        raise Bang
    return int(task.n)


def test_a_running_task_is_shown_as_running_everywhere(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        if ctx.attempt == 1:
            raise Bang
        inside.set()
        yield go

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0)))
    running = system.dispatch(Job())
    inside.pass_through()
    waiting = system.dispatch(Job())
    later = system.dispatch(Job(), delay=3600)
    record = running.record()
    assert (record.status, record.attempt, record.started is not None) == (TaskStatus.RUNNING, 2, True)
    assert [task.id for task in system.tasks(status=TaskStatus.RUNNING)] == [running.id]
    assert [task.id for task in system.tasks(status=TaskStatus.QUEUED)] == [waiting.id]
    assert [task.id for task in system.tasks(status=TaskStatus.SCHEDULED)] == [later.id]
    counts = system.counts()
    assert list(counts) == list(TaskStatus)
    assert {status: n for status, n in counts.items() if n} == {
        TaskStatus.RUNNING: 1,
        TaskStatus.QUEUED: 1,
        TaskStatus.SCHEDULED: 1,
    }
    assert system.health().running == 1
    assert system.workflow(running.id).state is WorkflowState.RUNNING


def test_counts_and_tasks_agree_on_what_has_come_due(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        yield go

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    system.dispatch(Job())
    inside.pass_through()
    due = system.dispatch(Job(), delay=0.01)
    until(lambda: due.status() is TaskStatus.QUEUED)
    counts = system.counts()
    for status in TaskStatus:
        assert counts[status] == len(system.tasks(status=status)), status


def test_pages_follow_each_other_without_a_gap(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number, retry=ONCE), make_handler(kind, Next, number))
    handles = system.dispatch_many([Job(n if n % 3 else -1) if n % 2 else Next(n) for n in range(25)])
    system.wait_idle(WAIT)
    ids: list[UUID] = []
    after: UUID | None = None
    while page := system.tasks(limit=4, after=after):
        assert len(page) <= 4
        ids += [record.id for record in page]
        after = ids[-1]
    assert ids == [handle.id for handle in handles]
    failed = system.tasks(status=TaskStatus.FAILED)
    assert {record.status for record in failed} == {TaskStatus.FAILED}
    assert len(failed) == sum(n % 2 == 1 and n % 3 == 0 for n in range(25))
    assert len(system.tasks(type=Next)) == 13
    assert len(system.tasks(type="tests.engine.conftest.Next")) == 13
    assert len(system.tasks(status=TaskStatus.COMPLETED, type=Job, limit=3)) == 3
    assert system.tasks(type="unknown") == []
    assert [r.id for r in system.tasks(workflow=handles[7].id)] == [handles[7].id]
    with pytest.raises(ValueError, match="limit"):
        system.tasks(limit=0)
    with pytest.raises(TaskNotFound):
        system.tasks(after=uuid4())


def test_what_is_not_there_is_not_found(lab: Lab) -> None:
    system = lab.system(make_handler("sync", Job, number))
    unknown = uuid4()
    handle = system.task(unknown)
    for ask in (
        lambda: system.get(unknown),
        lambda: system.get(str(unknown)),
        lambda: system.history(unknown),
        lambda: system.workflow(unknown),
        lambda: system.wait(unknown, 1),
        lambda: system.requeue(unknown),
        handle.record,
        handle.status,
        lambda: handle.result(1),
        lambda: handle.wait(1),
    ):
        with pytest.raises(TaskNotFound, match=str(unknown)):
            ask()
    assert system.dispatch(Job(1)).result(WAIT) == 1


def test_handles_are_equal_by_id_and_found_by_it(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: {"n": [task.n]}))
    task = system.dispatch(Job(3))
    found = system.task(str(task.id))
    assert found == task
    assert hash(found) == hash(task)
    assert isinstance(found, TaskHandle)
    assert found.result(WAIT) == {"n": [3]}
    assert task.id.version == 7
    assert found.cancel().value == "already_finished"


def test_a_workflow_is_the_tree_below_one_dispatch(lab: Lab, kind: str) -> None:
    def handle(task: Next, ctx: TaskContext) -> None:
        for n in range(task.n):
            ctx.dispatch(Next(task.n - 1), tags=[str(n)])

    system = lab.system(make_handler(kind, Next, handle))
    root, other = system.dispatch(Next(3)), system.dispatch(Next(0))
    system.wait_idle(WAIT)
    workflow = system.workflow(root.id)
    assert workflow.id == root.id
    assert workflow.state is WorkflowState.COMPLETED
    assert len(workflow.tasks) == 1 + 3 + 6 + 6
    assert workflow.tasks[0].id == root.id
    assert other.id not in {task.id for task in workflow.tasks}
    assert [task.id for task in workflow.tasks] == [task.id for task in system.tasks(workflow=root.id, limit=1000)]
    parents = {task.id for task in workflow.tasks}
    assert all(task.parent_id in parents for task in workflow.tasks[1:])


def test_requeue_runs_a_failed_task_again_as_a_new_one(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> str:
        if not fixed.is_set():
            raise Bang
        return "fixed"

    fixed = lab.gate()
    system = lab.system(make_handler(kind, Job, handle, retry=ONCE))
    old = system.dispatch(Job(4), priority=3, tags=["t"], headers={"h": "1"}, key="k")
    old.wait(WAIT)
    before = old.record()
    fixed.set()
    new = system.requeue(old.id)
    assert new.result(WAIT) == "fixed"
    record = new.record()
    assert record.id != old.id
    assert (record.retry_of, record.parent_id, record.workflow_id) == (old.id, None, record.id)
    assert (record.priority, record.tags, record.headers, record.key, record.attempt) == (3, ("t",), {"h": "1"}, "k", 1)
    assert old.record() == before
    assert "requeued" in [entry.event for entry in system.history(old.id)]
    for finished in (new.id, old.id):
        if finished == new.id:
            with pytest.raises(ValueError, match="only failed"):
                system.requeue(finished)
    with pytest.raises(TaskFailed):
        old.result(WAIT)


def test_wait_idle_does_not_wait_for_what_is_scheduled_but_for_retries_and_follow_ups(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        if ctx.attempt < 2:
            raise Bang
        if task.n:
            ctx.dispatch(Job(task.n - 1))

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0.01)))
    system.wait_idle(WAIT)
    system.dispatch(Job(), delay=3600)
    system.wait_idle(WAIT)
    system.dispatch(Job(3))
    system.wait_idle(WAIT)
    assert system.counts() == {
        **dict.fromkeys(TaskStatus, 0),
        TaskStatus.COMPLETED: 4,
        TaskStatus.SCHEDULED: 1,
    }


def test_wait_tells_how_a_task_ended_however_it_ended(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number, retry=ONCE))
    good, bad = system.dispatch(Job(1)), system.dispatch(Job(-1))
    gone = system.dispatch(Job(2), delay=3600)
    gone.cancel("why not")
    assert [task.wait(WAIT).status for task in (good, bad, gone)] == [
        TaskStatus.COMPLETED,
        TaskStatus.FAILED,
        TaskStatus.CANCELLED,
    ]
    assert system.wait(str(good.id), WAIT).result == 1
    with pytest.raises(TaskCancelled) as caught:
        gone.result(WAIT)
    assert caught.value.task_id == gone.id


def test_records_are_pictures_that_do_not_change(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        yield go

    go = lab.gate()
    task = lab.system(make_handler(kind, Job, handle)).dispatch(Job())
    until(lambda: task.status() is TaskStatus.RUNNING)
    picture = task.record()
    go.set()
    task.wait(WAIT)
    assert picture.status is TaskStatus.RUNNING
    assert picture.finished is None


def test_the_system_says_who_it_is(lab: Lab) -> None:
    system = lab.build(make_handler("sync", Job, number), name="shop")
    assert "shop" in repr(system)
    assert "not started" in repr(system)
    system.start()
    assert "running" in repr(system)
    assert (system.health().healthy, system.health().state) == (True, "running")
    assert str(system.dispatch(Job()).id) in repr(system.tasks()[0].id)
