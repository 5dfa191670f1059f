"""Attempts that take too long: told to stop, given grace, left behind, fenced."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from everact import AttemptOver, CancelOutcome, Retry, TaskContext, TaskFailed, TaskStatus, TaskTimeout
from everact import events as ev
from tests.engine.conftest import BRIEF, WAIT, Bang, Diary, Facts, Job, Lab, Next, make_handler, until

ONCE = Retry(attempts=1)


def number(task: Next, ctx: TaskContext) -> int:
    return task.n


def test_a_handler_that_listens_ends_with_a_task_timeout(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        try:
            yield never
        finally:
            diary.note(str(ctx.cancellation.reason))

    never = lab.gate()
    handler = make_handler(
        kind, Job, handle, timeout=BRIEF, retry=ONCE, on_error=lambda ctx, error: diary.note(type(error))
    )
    system = lab.system(handler)
    task = system.dispatch(Job())
    with pytest.raises(TaskFailed) as caught:
        task.result(WAIT)
    assert caught.value.error_type.endswith("TaskTimeout")
    assert diary == ["CancelReason.TIMEOUT", TaskTimeout]
    assert system.health().abandoned_threads == 0


def test_any_error_after_the_timeout_is_the_timeout(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        try:
            yield never
        except BaseException:
            raise Bang("clean-up failed") from None

    never = lab.gate()
    system = lab.system(make_handler(kind, Job, handle, timeout=BRIEF, retry=Retry(attempts=3, delay=0)))
    record = system.dispatch(Job()).wait(WAIT)
    assert record.error is not None
    assert record.error.type.endswith("TaskTimeout")
    assert "clean-up failed" in record.error.traceback
    assert record.attempt == 1


def test_a_value_returned_within_grace_completes_the_task(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        try:
            yield never
        except BaseException:
            assert ctx.cancellation.cancelled
        ctx.dispatch(Next(1))
        return "just in time"

    never = lab.gate()
    system = lab.system(make_handler(kind, Job, handle, timeout=BRIEF), make_handler("sync", Next, number))
    assert system.dispatch(Job()).result(WAIT) == "just in time"
    system.wait_idle(WAIT)
    assert len(system.tasks(type=Next)) == 1


def test_a_swallowed_cancel_does_not_leak_into_the_next_task_of_the_cell(lab: Lab) -> None:
    import asyncio

    from everact import TaskHandler

    class Handler(TaskHandler[Job]):
        timeout = BRIEF
        retry = ONCE

        async def handle(self, task: Job, ctx: TaskContext) -> int:
            if task.n == 0:
                try:
                    await asyncio.sleep(WAIT)
                except asyncio.CancelledError:
                    return 0
            current = asyncio.current_task()
            return current.cancelling() if current else -1

    system = lab.system(Handler)
    first, second = system.dispatch_many([Job(0), Job(1)])
    assert (first.result(WAIT), second.result(WAIT)) == (0, 0)


def test_a_deaf_handler_is_left_behind_fenced_and_counted(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        if task.n:
            return "next"
        ctx.dispatch(Next(1))
        yield never, "deaf"
        with pytest.raises(AttemptOver):
            ctx.dispatch(Next(2))
        diary.note("came back")
        return "late"

    never = lab.gate()
    handler = make_handler(kind, Job, handle, timeout=BRIEF, retry=ONCE)
    system = lab.system(handler, make_handler("sync", Next, number))
    facts = Facts(system)
    task = system.dispatch(Job(0))
    record = task.wait(WAIT)
    assert record.error is not None
    assert record.error.type.endswith("TaskTimeout")
    assert (facts.first(ev.ThreadAbandoned).where, facts.first(ev.ThreadAbandoned).task_id) == ("handle", task.id)
    assert system.health().abandoned_threads == 1
    assert not system.health().healthy
    assert system.dispatch(Job(1)).result(WAIT) == "next", "the cell has another thread"
    never.set()
    until(lambda: diary == ["came back"])
    until(lambda: system.health().abandoned_threads == 0)
    assert task.record() == record
    assert system.tasks(type=Next) == []


def test_a_deaf_attempt_is_retried_beside_its_old_thread(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if ctx.attempt == 1:
            yield never, "deaf"
            returned.set()
        return ctx.attempt

    never, returned = lab.gate(), lab.gate()
    policy = Retry(attempts=2, delay=0, on=(TaskTimeout,))
    system = lab.system(make_handler(kind, Job, handle, timeout=BRIEF, retry=policy))
    task = system.dispatch(Job())
    assert task.result(WAIT) == 2
    never.set()
    returned.pass_through()
    until(lambda: system.health().abandoned_threads == 0)
    assert (task.record().result, task.record().attempt) == (2, 2)


def test_many_deaf_handlers_suspend_the_pool_which_opens_again(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if task.n < 5:
            yield never, "deaf"
        return task.n

    never = lab.gate()
    system = lab.system(make_handler(kind, Job, handle, timeout=BRIEF, retry=ONCE, concurrency=2))
    facts = Facts(system)
    tasks = system.dispatch_many([Job(n) for n in range(8)])
    statuses = [task.wait(WAIT).status for task in tasks]
    assert statuses == [TaskStatus.FAILED] * 5 + [TaskStatus.COMPLETED] * 3
    facts.first(ev.PoolSuspended)
    facts.first(ev.PoolResumed)
    never.set()
    until(lambda: system.health().abandoned_threads == 0)


def test_a_user_cancel_waits_for_a_deaf_handler_but_the_timeout_holds(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        yield never, "deaf"

    inside, never = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, timeout=0.2))
    task = system.dispatch(Job())
    inside.pass_through()
    assert task.cancel("enough") is CancelOutcome.SIGNALLED
    assert task.wait(WAIT).status is TaskStatus.CANCELLED


def test_the_first_reason_wins(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        try:
            yield never
        except BaseException:
            told.set()
            yield go, "deaf"
            raise

    never, told, go = lab.gate(), lab.gate(), lab.gate()
    from everact import Settings

    system = lab.system(make_handler(kind, Job, handle, timeout=BRIEF, retry=ONCE), settings=Settings(grace=WAIT))
    task = system.dispatch(Job())
    told.pass_through()
    assert task.cancel() is CancelOutcome.SIGNALLED
    go.set()
    assert task.wait(WAIT).status is TaskStatus.FAILED


def test_on_completed_is_retried_also_after_a_value_that_came_within_grace(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        try:
            yield never
        except BaseException:
            return "in time"
        return "never"

    def on_completed(ctx: TaskContext) -> None:
        diary.note(ctx.result)
        if len(diary.lines) == 1:
            raise Bang

    never = lab.gate()
    handler = make_handler(
        kind, Job, handle, on_completed=on_completed, timeout=BRIEF, retry=Retry(attempts=2, delay=0)
    )
    assert lab.system(handler).dispatch(Job()).wait(WAIT).status is TaskStatus.COMPLETED
    assert diary == ["in time", "in time"]


def test_a_timeout_covers_each_attempt_anew(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(ctx.cancellation.cancelled)
        if ctx.attempt < 3:
            yield never
        return ctx.attempt

    never = lab.gate()
    policy = Retry(attempts=3, delay=0, on=(TaskTimeout,))
    system = lab.system(make_handler(kind, Job, handle, timeout=BRIEF, retry=policy))
    assert system.dispatch(Job()).result(WAIT) == 3
    assert diary == [False] * 3


def test_on_cancel_callbacks_run_once_and_may_raise(lab: Lab, kind: str, diary: Diary) -> None:
    def raising() -> None:
        diary.note("raising")
        raise SystemExit

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        ctx.cancellation.on_cancel(raising)
        ctx.cancellation.on_cancel(lambda: diary.note("called"))
        try:
            yield never
        finally:
            ctx.cancellation.on_cancel(lambda: (diary.note("late"), done.set()))

    never, done = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, timeout=BRIEF, retry=ONCE))
    system.dispatch(Job()).wait(WAIT)
    done.pass_through()
    assert diary == ["raising", "called", "late"]


def test_a_blocked_event_loop_is_left_behind_and_its_late_result_is_refused(lab: Lab) -> None:
    def handle(task: Job, ctx: TaskContext) -> str:
        if task.n == 0:
            never.wait(WAIT)
        return "ran"

    never = lab.gate()
    system = lab.system(make_handler("async", Job, handle, timeout=BRIEF, retry=ONCE))
    facts = Facts(system)
    first, second = system.dispatch_many([Job(0), Job(1)])
    facts.first(ev.ThreadAbandoned)
    never.set()
    assert first.wait(WAIT).status is TaskStatus.FAILED
    assert second.result(WAIT) == "ran"
    until(lambda: system.health().abandoned_threads == 0)
