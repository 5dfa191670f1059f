"""Calls that would block the thread they wait for, or wait for something that can never come."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from everact import (
    BlockingCallError,
    Retry,
    TaskContext,
    TaskHandler,
    TaskStatus,
    WaitTimeout,
    WouldDeadlock,
)
from tests.engine.conftest import BRIEF, WAIT, Job, Lab, Next, make_handler

ONCE = Retry(attempts=1)


def number(task: Any, ctx: TaskContext) -> int:
    return int(task.n)


def fine(lab: Lab, *handlers: object) -> None:
    """Run one Job; what its handler asserts is told here."""
    record = lab.system(*handlers).dispatch(Job()).wait(WAIT)
    assert record.status is TaskStatus.COMPLETED, record.error.traceback if record.error else record


def test_blocking_calls_in_the_event_loop_are_refused(lab: Lab) -> None:
    def blocking(ctx: TaskContext) -> None:
        system = ctx.system
        other = system.task(ctx.task_id)
        for name, call in [
            ("dispatch", lambda: system.dispatch(Next())),
            ("dispatch_many", lambda: system.dispatch_many([Next()])),
            ("cancel", lambda: system.cancel(ctx.task_id)),
            ("cancel", lambda: system.cancel_many([ctx.task_id])),
            ("wait", lambda: system.wait(ctx.task_id, 1)),
            ("wait", lambda: other.wait(1)),
            ("result", lambda: other.result(1)),
            ("wait_idle", lambda: system.wait_idle(1)),
            ("requeue", lambda: system.requeue(ctx.task_id)),
        ]:
            with pytest.raises(BlockingCallError, match=name):
                call()
        assert system.get(ctx.task_id).status is TaskStatus.RUNNING, "reads do not block"

    handler = make_handler("async", Job, lambda task, ctx: blocking(ctx), on_completed=blocking, retry=ONCE)
    fine(lab, handler, make_handler("sync", Next, number))
    assert [record.type for record in lab._systems[0].tasks()] == ["tests.engine.conftest.Job"]


def test_the_async_forms_work_in_the_event_loop(lab: Lab) -> None:
    class Handler(TaskHandler[Job]):
        retry = ONCE

        async def handle(self, task: Job, ctx: TaskContext) -> None:
            system = ctx.system
            child = await system.dispatch_async(Next(2))
            assert await child == 2
            first, second = await system.dispatch_many_async([Next(3), Next(4)])
            assert [await first, (await system.wait_async(second.id, WAIT)).result] == [3, 4]
            later = await system.dispatch_async(Next(5), delay=3600)
            assert (await system.cancel_async(later)).value == "cancelled"

    fine(lab, Handler, make_handler("async", Next, number))


def test_a_sync_handler_may_run_a_loop_of_its_own(lab: Lab) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        async def main() -> int:
            return int(await (await ctx.system.dispatch_async(Next(2))))

        return asyncio.run(main())

    fine(lab, make_handler("sync", Job, handle, retry=ONCE), make_handler("async", Next, number))


def test_waiting_inside_a_handler_needs_a_timeout(lab: Lab) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        child = ctx.system.dispatch(Next(1))
        for wait in (child.result, child.wait, lambda: ctx.system.wait(child.id)):
            with pytest.raises((ValueError, WouldDeadlock), match="timeout"):
                wait()
        assert child.result(WAIT) == 1

    fine(lab, make_handler("sync", Job, handle, retry=ONCE), make_handler("sync", Next, number))


def test_waiting_for_an_uncommitted_child_would_deadlock(lab: Lab) -> None:
    class Async(TaskHandler[Job]):
        retry = ONCE

        async def handle(self, task: Job, ctx: TaskContext) -> None:
            child = ctx.dispatch(Next(1))
            with pytest.raises(WouldDeadlock, match=r"ctx\.system\.dispatch"):
                await ctx.system.task(child)
            with pytest.raises(WouldDeadlock):
                await ctx.system.wait_async(child, 1)

    def handle(task: Job, ctx: TaskContext) -> None:
        child = ctx.dispatch(Next(1))
        with pytest.raises(WouldDeadlock, match=r"ctx\.system\.dispatch"):
            ctx.system.wait(child, 1)
        with pytest.raises(WouldDeadlock):
            ctx.system.task(child).result(1)

    fine(lab, make_handler("sync", Job, handle, retry=ONCE), make_handler("sync", Next, number))
    lab.clear_up()
    lab._systems.clear()
    fine(lab, Async, make_handler("sync", Next, number))


def test_waiting_for_itself_would_deadlock(lab: Lab) -> None:
    class Async(TaskHandler[Next]):
        async def handle(self, task: Next, ctx: TaskContext) -> str:
            with pytest.raises(WouldDeadlock, match="itself"):
                await ctx.system.task(ctx.task_id)
            return "fine"

    def handle(task: Job, ctx: TaskContext) -> str:
        with pytest.raises(WouldDeadlock, match="itself"):
            ctx.system.wait(ctx.task_id, 1)
        return "fine"

    system = lab.system(make_handler("sync", Job, handle, retry=ONCE), Async)
    assert system.dispatch(Job()).result(WAIT) == "fine"
    assert system.dispatch(Next()).result(WAIT) == "fine"


@pytest.mark.parametrize("concurrency", [1, 2])
def test_waiting_for_a_task_of_the_own_full_pool_would_deadlock(lab: Lab, concurrency: int) -> None:
    width = concurrency

    class Sync(TaskHandler[Job]):
        concurrency = width
        retry = ONCE

        def handle(self, task: Job, ctx: TaskContext) -> str:
            if task.n == 9:
                return "child"
            barrier.wait(WAIT)
            child = ctx.system.dispatch(Job(9))
            with pytest.raises(WouldDeadlock, match="concurrency"):
                child.result(WAIT)
            barrier.wait(WAIT)
            return "parent"

    barrier = threading.Barrier(concurrency)
    system = lab.system(Sync)
    for task in system.dispatch_many([Job(n) for n in range(concurrency)]):
        assert task.result(WAIT) == "parent"
    system.wait_idle(WAIT)
    assert system.counts()[TaskStatus.COMPLETED] == 2 * concurrency


def test_awaiting_a_task_of_the_own_full_pool_would_deadlock(lab: Lab) -> None:
    class Async(TaskHandler[Job]):
        retry = ONCE

        async def handle(self, task: Job, ctx: TaskContext) -> str:
            if task.n == 0:
                child = await ctx.system.dispatch_async(Job(9))
                with pytest.raises(WouldDeadlock, match="concurrency"):
                    await child
            return "fine"

    system = lab.system(Async)
    assert system.dispatch(Job()).result(WAIT) == "fine"
    system.wait_idle(WAIT)


def test_waiting_for_a_task_of_the_own_pool_with_a_free_cell_is_fine(lab: Lab) -> None:
    class Sync(TaskHandler[Job]):
        concurrency = 2
        retry = ONCE

        def handle(self, task: Job, ctx: TaskContext) -> int:
            return task.n or int(ctx.system.dispatch(Job(3)).result(WAIT))

    assert lab.system(Sync).dispatch(Job()).result(WAIT) == 3


def test_wait_idle_inside_a_handler_would_deadlock(lab: Lab) -> None:
    class Async(TaskHandler[Next]):
        retry = ONCE

        async def handle(self, task: Next, ctx: TaskContext) -> str:
            with pytest.raises(WouldDeadlock):
                await ctx.system.wait_idle_async(BRIEF)
            return "fine"

    def handle(task: Job, ctx: TaskContext) -> str:
        with pytest.raises(WouldDeadlock):
            ctx.system.wait_idle(BRIEF)
        return "fine"

    system = lab.system(make_handler("sync", Job, handle, retry=ONCE), Async)
    assert system.dispatch(Job()).result(WAIT) == "fine"
    assert system.dispatch(Next()).result(WAIT) == "fine"


def test_a_wait_that_ends_does_not_end_the_task(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Any:
        yield go
        return "done"

    go = lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    task = system.dispatch(Job())
    for wait in (task.result, task.wait, system.wait_idle, lambda timeout: system.wait(task.id, timeout)):
        with pytest.raises(WaitTimeout):
            wait(0.01)
        with pytest.raises(TimeoutError):
            wait(0)

    async def main() -> None:
        with pytest.raises(WaitTimeout):
            await system.wait_async(task.id, 0.01)
        with pytest.raises(WaitTimeout):
            await system.wait_idle_async(0.01)

    asyncio.run(main())
    journal = system._engine.node.journal  # type: ignore[union-attr]
    assert len(journal.watchers) == 0, "who has given up is still waited for"
    go.set()
    assert task.result(WAIT) == "done"
    system.wait_idle(WAIT)
    assert journal.idle_waiters == []


def test_a_cancelled_await_leaves_the_task_alone(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Any:
        yield go
        return "done"

    async def main() -> str:
        waiting = asyncio.ensure_future(task._result_async())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go.set()
        return str(await task)

    go = lab.gate()
    task = lab.system(make_handler(kind, Job, handle)).dispatch(Job())
    assert asyncio.run(main()) == "done"


def test_subscribers_and_callbacks_may_block(lab: Lab, kind: str) -> None:
    """They run on a thread of their own, so a dispatch there does not wait for itself."""
    system = lab.system(make_handler(kind, Job, number), make_handler(kind, Next, number))
    done = threading.Event()
    results: list[Any] = []

    def subscriber(event: object) -> None:
        if not results:
            results.append(None)
            results.append(system.dispatch(Next(5)).result(WAIT))
            done.set()

    system.events.subscribe(subscriber)
    system.dispatch(Job())
    assert done.wait(WAIT)
    assert results == [None, 5]


def test_many_callers_wait_for_one_task(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Any:
        yield go
        return 7

    go = lab.gate()
    task = lab.system(make_handler(kind, Job, handle)).dispatch(Job())
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(task.result(WAIT))) for _ in range(30)]
    for thread in threads:
        thread.start()

    async def main() -> list[Any]:
        futures = [asyncio.ensure_future(task._result_async()) for _ in range(10)]
        await asyncio.sleep(0.01)
        go.set()
        return list(await asyncio.gather(*futures))

    assert asyncio.run(main()) == [7] * 10
    for thread in threads:
        thread.join(WAIT)
    assert results == [7] * 30
