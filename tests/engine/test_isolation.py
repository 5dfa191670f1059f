"""P6: whatever user code raises fails that task only."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from everact import Retry, TaskContext, TaskHandler, TaskStatus
from tests.engine.conftest import WAIT, Job, Lab, make_handler

COUNT = 10_000 if "EVERACT_LONG_TESTS" in os.environ else 2_000  # make long
CELLS = 4


class Custom(BaseException):
    """Something no `except Exception` catches."""


ERRORS: list[type[BaseException]] = [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, Custom]


class Sync(TaskHandler[Job]):
    retry = Retry(attempts=1)
    concurrency = CELLS

    def handle(self, task: Job, ctx: TaskContext) -> int:
        if task.n < 0:
            together.wait(WAIT)
            return task.n
        raise ERRORS[task.n % len(ERRORS)]


class Async(TaskHandler[Job]):
    retry = Retry(attempts=1)
    concurrency = CELLS

    async def handle(self, task: Job, ctx: TaskContext) -> int:
        if task.n < 0:
            global waiting  # noqa: PLW0603 - as a barrier for coroutines on one thread
            waiting += 1
            while waiting % CELLS:
                await asyncio.sleep(0)
            return task.n
        if task.n % 2:
            await asyncio.sleep(0)
        raise ERRORS[task.n % len(ERRORS)]


class SubTask(Async):
    async def handle(self, task: Job, ctx: TaskContext) -> int:
        return await asyncio.create_task(Async.handle(self, task, ctx))


together = threading.Barrier(CELLS)
waiting = 0


@pytest.mark.parametrize("handler", [Sync, Async, SubTask])
def test_thousands_of_tasks_that_raise_the_worst_fail_alone(lab: Lab, handler: type[TaskHandler[Job]]) -> None:
    global waiting  # noqa: PLW0603 - see above
    waiting = 0
    together.reset()
    system = lab.system(handler)
    system.dispatch_many([Job(n) for n in range(COUNT)])
    system.wait_idle(60)
    assert system.counts() == {**dict.fromkeys(TaskStatus, 0), TaskStatus.FAILED: COUNT}
    kinds = {record.error.type.rpartition(".")[2] for record in system.tasks(limit=20) if record.error}
    assert kinds == {error.__name__ for error in ERRORS}
    alive = system.dispatch_many([Job(-1)] * CELLS)
    assert [task.result(WAIT) for task in alive] == [-1] * CELLS, "not all cells are alive"
    assert system.health().restarts == 0
    assert system.health().healthy


@pytest.mark.parametrize("error", ERRORS)
def test_a_hook_that_raises_the_worst_concerns_its_task_only(lab: Lab, kind: str, error: type[BaseException]) -> None:
    def raising(*args: Any) -> None:
        if args[0].task.n:
            raise error

    def handle(task: Job, ctx: TaskContext) -> None:
        if task.n == 2:
            raise error

    handler = make_handler(
        kind, Job, handle, on_started=raising, on_completed=raising, on_error=raising, retry=Retry(attempts=1)
    )
    system = lab.system(handler)
    tasks = system.dispatch_many([Job(1), Job(2), Job(0)])
    assert [task.wait(WAIT).status for task in tasks] == [TaskStatus.FAILED, TaskStatus.FAILED, TaskStatus.COMPLETED]


def test_a_sub_task_that_nobody_awaits_does_not_stop_the_loop(lab: Lab) -> None:
    class Handler(TaskHandler[Job]):
        async def handle(self, task: Job, ctx: TaskContext) -> str:
            async def die() -> None:
                raise ERRORS[task.n]

            kept.append(asyncio.create_task(die()))
            await asyncio.sleep(0.001)
            await asyncio.sleep(0.001)
            return "alive"

    kept: list[Any] = []
    system = lab.system(Handler)
    tasks = system.dispatch_many([Job(n) for n in range(len(ERRORS))] * 10)
    assert [task.result(WAIT) for task in tasks] == ["alive"] * len(tasks)


def test_loop_callbacks_that_raise_the_worst_do_not_stop_the_loop(lab: Lab) -> None:
    class Handler(TaskHandler[Job]):
        async def handle(self, task: Job, ctx: TaskContext) -> str:
            def die() -> None:
                raise ERRORS[task.n]

            asyncio.get_running_loop().call_soon(die)
            await asyncio.sleep(0.001)
            return "alive"

    system = lab.system(Handler)
    tasks = system.dispatch_many([Job(n) for n in range(len(ERRORS))])
    assert [task.result(WAIT) for task in tasks] == ["alive"] * len(tasks)
