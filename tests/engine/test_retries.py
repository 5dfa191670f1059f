"""Attempts: how many, when, on which instance, and what the last one leaves behind."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from everact import Retry, TaskContext, TaskFailed, TaskHandler, TaskStatus, TaskTimeout, bind
from tests.engine.conftest import BRIEF, WAIT, Bang, Diary, Facts, Job, Lab, Next, make_handler, until

QUICK = Retry(attempts=3, delay=0)


def failing(diary: Diary, times: int = 99) -> Any:
    def handle(task: Job, ctx: TaskContext) -> str:
        diary.note(ctx.attempt)
        if ctx.attempt <= times:
            raise Bang(f"attempt {ctx.attempt}")
        return "survived"

    return handle


def test_attempts_counts_calls_of_handle(lab: Lab, kind: str, diary: Diary) -> None:
    system = lab.system(make_handler(kind, Job, failing(diary), retry=QUICK))
    task = system.dispatch(Job())
    with pytest.raises(TaskFailed) as caught:
        task.result(WAIT)
    assert caught.value.attempts == 3
    assert caught.value.error_text == "attempt 3"
    assert diary == [1, 2, 3]
    assert task.record().attempt == 3


def test_a_later_attempt_may_succeed(lab: Lab, kind: str, diary: Diary) -> None:
    system = lab.system(make_handler(kind, Job, failing(diary, times=2), retry=QUICK))
    task = system.dispatch(Job())
    assert task.result(WAIT) == "survived"
    assert (task.record().attempt, task.record().error) == (3, None)


def test_between_attempts_the_task_is_scheduled_with_its_due_time_and_last_error(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise Bang("again")

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=300)))
    task = system.dispatch(Job())
    until(lambda: task.status() is TaskStatus.SCHEDULED)
    record = task.record()
    assert record.error is not None
    assert record.error.text == "again"
    assert record.started is not None
    assert 299 < (record.due - record.started).total_seconds() < 330
    assert record.attempt == 1
    assert record.finished is None
    assert system.counts()[TaskStatus.SCHEDULED] == 1


def test_the_slot_is_free_between_attempts(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        if task.n == 0:
            raise Bang
        return task.n

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=300)))
    waiting, other = system.dispatch_many([Job(0), Job(1)])
    assert other.result(WAIT) == 1
    assert waiting.status() is TaskStatus.SCHEDULED


def test_on_retry_runs_in_the_failing_cell_with_the_attempt_that_failed(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(self: Any, task: Job, ctx: TaskContext) -> None:
        self.mark = ctx.attempt
        ctx.state["seen"] = ctx.attempt
        raise Bang(str(ctx.attempt))

    def on_retry(self: Any, ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> None:
        diary.note((self.mark, ctx.state["seen"], ctx.attempt, attempt, str(error), delay))

    policy = Retry(attempts=3, delay=0.001, factor=2)
    system = lab.system(make_handler(kind, Job, handle, on_retry=on_retry, retry=policy))
    system.dispatch(Job()).wait(WAIT)
    assert diary == [(1, 1, 1, 1, "1", 0.001), (2, 2, 2, 2, "2", 0.002)]


def test_follow_ups_of_on_retry_commit_with_the_schedule(lab: Lab, kind: str) -> None:
    def on_retry(ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> None:
        ctx.dispatch(Next(attempt))

    def handle(task: Job, ctx: TaskContext) -> None:
        ctx.dispatch(Next(100))
        raise Bang

    system = lab.system(
        make_handler(kind, Job, handle, on_retry=on_retry, retry=QUICK),
        make_handler("sync", Next, lambda task, ctx: task.n),
    )
    system.dispatch(Job()).wait(WAIT)
    system.wait_idle(WAIT)
    assert sorted(task.result for task in system.tasks(type=Next)) == [1, 2]


def test_a_failing_attempt_rebuilds_the_instance_and_a_good_one_keeps_it(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(self: Any, task: Job, ctx: TaskContext) -> None:
        diary.note(id(self))
        kept.append(self)
        if task.n:
            raise Bang

    kept: list[Any] = []
    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0)))
    for n in (0, 0, 1, 0):
        system.dispatch(Job(n)).wait(WAIT)
    first, second, third, fourth, fifth = diary.lines
    assert first == second == third
    assert len({third, fourth, fifth}) == 3


def test_a_factory_is_asked_again_after_each_failure(lab: Lab, kind: str, diary: Diary) -> None:
    class Handler(TaskHandler[Job]):
        retry = QUICK

        def __init__(self, number: int) -> None:
            self.number = number

        def handle(self, task: Job, ctx: TaskContext) -> int:
            if ctx.attempt < 3:
                raise Bang
            return self.number

    def factory() -> Handler:
        diary.note("made")
        return Handler(len(diary.lines))

    system = lab.system(bind(Handler, factory))
    assert system.dispatch(Job()).result(WAIT) == 3


def test_on_error_gets_the_last_error_on_a_rebuilt_instance_and_the_same_delivery(
    lab: Lab, kind: str, diary: Diary
) -> None:
    def handle(self: Any, task: Job, ctx: TaskContext) -> None:
        self.dirty = True
        ctx.state["attempt"] = ctx.attempt
        ctx.dispatch(Next(100))
        raise Bang(str(ctx.attempt))

    def on_error(self: Any, ctx: TaskContext, error: BaseException) -> None:
        diary.note((hasattr(self, "dirty"), ctx.state["attempt"], ctx.attempt, str(error), type(error)))
        ctx.dispatch(Next(1))

    system = lab.system(
        make_handler(kind, Job, handle, on_error=on_error, retry=Retry(attempts=2, delay=0)),
        make_handler("sync", Next, lambda task, ctx: task.n),
    )
    task = system.dispatch(Job())
    assert task.wait(WAIT).status is TaskStatus.FAILED
    system.wait_idle(WAIT)
    assert diary == [(False, 2, 2, "2", Bang)]
    (follow_up,) = system.tasks(type=Next)
    assert (follow_up.result, follow_up.parent_id) == (1, task.id)


def test_errors_outside_of_on_and_inside_of_never_are_not_retried(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note(task.n)
        raise [KeyError, LookupError, ValueError, SystemExit][task.n]

    policy = Retry(attempts=2, delay=0, on=(LookupError,), never=(KeyError,))
    system = lab.system(make_handler(kind, Job, handle, retry=policy))
    for n in range(4):
        assert system.dispatch(Job(n)).wait(WAIT).status is TaskStatus.FAILED
    assert diary == [0, 1, 1, 2, 3]


def test_when_decides_before_never_and_on_and_may_raise(lab: Lab, kind: str, diary: Diary) -> None:
    def when(error: BaseException) -> bool | None:
        if str(error) == "oops":
            raise SystemExit
        return {"yes": True, "no": False}.get(str(error))

    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note(task.n)
        raise ValueError(["yes", "no", "you say", "oops"][task.n])

    policy = Retry(attempts=2, delay=0, on=(ValueError,), when=when)
    system = lab.system(make_handler(kind, Job, handle, retry=policy))
    for n in range(4):
        system.dispatch(Job(n)).wait(WAIT)
    assert diary == [0, 0, 1, 2, 2, 3, 3]


def test_a_timeout_is_retried_only_when_on_names_it(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job | Next, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note(type(task).__name__)
        yield never

    never = lab.gate()
    base = Retry(attempts=2, delay=0)
    named = Retry(attempts=2, delay=0, on=(TaskTimeout,))
    system = lab.system(
        make_handler(kind, Job, handle, timeout=BRIEF, retry=base),
        make_handler(kind, Next, handle, timeout=BRIEF, retry=named),
    )
    for task in (Job(), Next()):
        record = system.dispatch(task).wait(WAIT)
        assert record.error is not None
        assert record.error.type.endswith("TaskTimeout")
    assert diary == ["Job", "Next", "Next"]


def test_attempts_are_stored_so_that_a_crash_does_not_reset_them(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note(ctx.attempt)
        inside.set()
        yield go
        raise Bang

    inside, go = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, retry=Retry(attempts=3, delay=0))
    old = lab.system(handler)
    task = old.dispatch(Job())
    inside.pass_through()
    lab.close_pools(old)
    go.set()
    until(lambda: task.status() is not TaskStatus.RUNNING)
    lab.crash(old)
    system = lab.system(handler)
    assert system.wait(task.id, WAIT).status is TaskStatus.FAILED
    assert diary == [1, 2, 3]


def test_a_delay_beyond_all_time_does_not_break_the_engine(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        if task.n == 0:
            raise Bang

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=1e18, max_delay=1e18)))
    task = system.dispatch(Job(0))
    until(lambda: task.status() is TaskStatus.SCHEDULED, "the retry")
    assert task.record().due.year >= 2026
    assert system.dispatch(Job(1)).wait(WAIT).status is TaskStatus.COMPLETED


def test_an_on_error_without_follow_ups_of_its_own_drops_those_of_the_attempt(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        ctx.dispatch(Next())
        raise Bang

    system = lab.system(
        make_handler(kind, Job, handle, retry=Retry(attempts=1), on_error=lambda ctx, error: None),
        make_handler("sync", Next, lambda task, ctx: None),
    )
    system.dispatch(Job()).wait(WAIT)
    assert len(system.tasks()) == 1


def test_stop_iteration_keeps_its_name_on_every_path(lab: Lab) -> None:
    class Plain(TaskHandler[Job]):
        retry = Retry(attempts=2, delay=0, never=(StopIteration,))

        def handle(self, task: Job, ctx: TaskContext) -> None:
            raise StopIteration("empty")

    class Watched(TaskHandler[Next]):
        retry = Retry(attempts=2, delay=0, never=(StopIteration,))
        timeout = 30.0

        def handle(self, task: Next, ctx: TaskContext) -> None:
            raise StopIteration("empty")

    system = lab.system(Plain, Watched)
    for task in (Job(), Next()):
        record = system.dispatch(task).wait(WAIT)
        assert record.error is not None
        assert (record.error.type, record.attempt) == ("StopIteration", 1)


def test_the_journal_tells_retries_before_the_end(lab: Lab, kind: str, diary: Diary) -> None:
    system = lab.system(make_handler(kind, Job, failing(diary, times=2), retry=QUICK))
    facts = Facts(system)
    system.dispatch(Job()).wait(WAIT)
    until(lambda: len(facts.seen) == 4)
    assert [type(event).__name__ for event in facts.seen] == [
        "TaskDispatched",
        "TaskRetried",
        "TaskRetried",
        "TaskCompleted",
    ]
