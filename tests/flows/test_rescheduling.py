"""The seed page, "Task Rescheduling": a handler that dispatches itself again, later and later."""

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from everact import ActorSystem, Retry, TaskContext, TaskHandler, TaskStatus, WorkflowState, bind

WAIT = 10.0  # bounds a wait that normally takes milliseconds
MILLISECOND = 0.001


@dataclass(frozen=True)
class Retryable:
    """`unit` is what one second of the sample lasts, so that a whole chain takes milliseconds."""

    data: str
    retry_count: int = 0
    unit: float = 1.0


class Service:
    """What the handler calls; not ready for a number of calls."""

    def __init__(self, not_ready: int) -> None:
        self.not_ready = not_ready
        self.calls: list[int] = []
        self.over = threading.Event()

    def try_process(self, task: Retryable) -> bool:
        self.calls.append(task.retry_count)
        return len(self.calls) > self.not_ready


class RetryableHandler(TaskHandler[Retryable]):
    def __init__(self, service: Service) -> None:
        self.service = service

    def handle(self, task: Retryable, ctx: TaskContext) -> str:
        if self.service.try_process(task):
            return "processed"
        if task.retry_count < 5:
            delay = timedelta(seconds=task.unit * 2**task.retry_count)
            ctx.dispatch(Retryable(task.data, task.retry_count + 1, task.unit), delay=delay)
            return "rescheduled"
        return "gave up"

    def on_completed(self, ctx: TaskContext) -> None:
        if ctx.result != "rescheduled":
            self.service.over.set()


def _run_chain(storage: str, service: Service) -> tuple[WorkflowState, list[Any]]:
    with ActorSystem(handlers=[bind(RetryableHandler, lambda: RetryableHandler(service))], storage=storage) as system:
        first = system.dispatch(Retryable("rows", unit=MILLISECOND))
        assert service.over.wait(WAIT)
        system.wait_idle(WAIT)
        workflow = system.workflow(first.id)
    return workflow.state, list(workflow.tasks)


def test_a_handler_reschedules_itself_until_the_work_can_be_done(storage: str) -> None:
    service = Service(not_ready=3)
    state, tasks = _run_chain(storage, service)
    assert service.calls == [0, 1, 2, 3]
    assert [task.result for task in tasks] == ["rescheduled", "rescheduled", "rescheduled", "processed"]
    assert state is WorkflowState.COMPLETED


def test_it_gives_up_after_five_rescheduled_tasks(storage: str) -> None:
    service = Service(not_ready=100)
    _, tasks = _run_chain(storage, service)
    assert service.calls == [0, 1, 2, 3, 4, 5]
    assert tasks[-1].result == "gave up"


def test_the_delay_doubles_from_one_to_the_next(storage: str) -> None:
    _, tasks = _run_chain(storage, Service(not_ready=100))
    delays = [task.due - task.created for task in tasks[1:]]
    assert delays == [timedelta(milliseconds=2**n) for n in range(5)]
    for task in tasks:
        assert task.started is not None
        assert task.started >= task.due


def test_each_is_a_new_task_with_an_id_of_its_own_and_the_one_before_as_its_parent(storage: str) -> None:
    _, tasks = _run_chain(storage, Service(not_ready=100))
    assert len({task.id for task in tasks}) == 6
    assert [task.parent_id for task in tasks[1:]] == [task.id for task in tasks[:-1]]
    assert {task.workflow_id for task in tasks} == {tasks[0].id}
    assert {task.attempt for task in tasks} == {1}  # a rescheduled task is no retry: it begins anew


@pytest.mark.parametrize("retry_count", range(5))
def test_the_sample_as_it_stands_stores_two_to_the_power_of_the_retry_count_in_seconds(
    storage: str, retry_count: int
) -> None:
    service = Service(not_ready=100)
    with ActorSystem(handlers=[bind(RetryableHandler, lambda: RetryableHandler(service))], storage=storage) as system:
        task = system.dispatch(Retryable("rows", retry_count))
        task.wait(WAIT)
        system.wait_idle(WAIT)  # what is scheduled for later is not waited for
        _, rescheduled = system.workflow(task.id).tasks
        assert rescheduled.status is TaskStatus.SCHEDULED
        assert rescheduled.due - rescheduled.created == timedelta(seconds=2**retry_count)
        rescheduled_handle = system.task(rescheduled.id)
        rescheduled_handle.cancel()
    assert service.calls == [retry_count]


def test_an_attempt_that_fails_has_not_rescheduled_anything(storage: str) -> None:
    class ReschedulesAndFails(TaskHandler[Retryable]):
        retry = Retry(attempts=3, delay=0.0)

        def handle(self, task: Retryable, ctx: TaskContext) -> None:
            if task.retry_count == 0:
                ctx.dispatch(Retryable(task.data, 1), delay=3600)
                if ctx.attempt < 3:
                    raise OSError

    with ActorSystem(handlers=[ReschedulesAndFails], storage=storage) as system:
        task = system.dispatch(Retryable("rows"))
        assert task.wait(WAIT).attempt == 3
        assert len(system.workflow(task.id).tasks) == 2  # one for the attempt that returned, none for the others


def test_a_rescheduled_task_may_take_over_the_key_of_the_one_that_dispatches_it(storage: str) -> None:
    ran = threading.Event()

    class KeepsItsKey(TaskHandler[Retryable]):
        def handle(self, task: Retryable, ctx: TaskContext) -> None:
            if task.retry_count:
                ran.set()
            else:
                ctx.dispatch(Retryable(task.data, 1), delay=MILLISECOND, key="rows")

    with ActorSystem(handlers=[KeepsItsKey], storage=storage) as system:
        first = system.dispatch(Retryable("rows"), key="rows")
        assert ran.wait(WAIT)
        system.wait_idle(WAIT)
        assert [task.key for task in system.workflow(first.id).tasks] == ["rows", "rows"]


def test_a_retry_policy_does_the_same_within_one_task(storage: str) -> None:
    """The page's loop by hand is what `Retry(factor=2)` does by itself; the task keeps its id."""

    class Declared(TaskHandler[Retryable]):
        retry = Retry(attempts=6, delay=MILLISECOND, factor=2)

        def handle(self, task: Retryable, ctx: TaskContext) -> str:
            if ctx.attempt < 4:
                msg = "not ready"
                raise RuntimeError(msg)
            return "processed"

    with ActorSystem(handlers=[Declared], storage=storage) as system:
        task = system.dispatch(Retryable("rows"))
        assert task.result(WAIT) == "processed"
        assert task.record().attempt == 4
        assert [entry.event for entry in system.history(task.id)].count("retry") == 3
