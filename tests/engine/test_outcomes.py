"""How a task ends when nobody interferes: results, errors, follow-ups, and what they leave in the record."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from everact import (
    AttemptOver,
    PayloadError,
    Retry,
    Settings,
    TaskCancelled,
    TaskContext,
    TaskFailed,
    TaskHandler,
    TaskQuarantined,
    TaskStatus,
    TaskTypeUnknown,
    UnexpectedCancel,
    WorkflowState,
)
from everact import events as ev
from everact.tasks.errors import CancelRequested
from tests.engine.conftest import WAIT, Bang, Diary, Facts, Job, Lab, Next, make_handler, until

ONCE = Retry(attempts=1)


@dataclass
class Basket:
    """A task that can be changed after it was dispatched."""

    items: list[str] = field(default_factory=list)


def note(diary: Diary) -> Any:
    return lambda task, ctx: diary.note(task.n)


def test_the_result_of_handle_is_stored_and_returned(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: {"twice": task.n * 2}))
    handle = system.dispatch(Job(4))
    assert handle.result(WAIT) == {"twice": 8}
    record = system.get(handle.id)
    assert (record.status, record.result, record.attempt, record.error) == (
        TaskStatus.COMPLETED,
        {"twice": 8},
        1,
        None,
    )
    assert record.started is not None
    assert record.finished is not None
    assert record.created <= record.started <= record.finished


def test_a_handler_that_returns_nothing_has_the_result_none(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: None))
    assert system.dispatch(Job()).result(WAIT) is None


def test_a_falsy_result_is_no_missing_result(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: [0, "", False, []][task.n]))
    assert [system.dispatch(Job(n)).result(WAIT) for n in range(4)] == [0, "", False, []]


def test_follow_ups_of_handle_and_on_completed_commit_with_the_completion(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        ctx.dispatch(Next(1))
        ready.set()
        yield go

    ready, go = lab.gate(), lab.gate()
    on_completed = lambda ctx: ctx.dispatch(Next(2)) and None  # noqa: E731
    system = lab.system(
        make_handler(kind, Job, handle, on_completed=on_completed), make_handler("sync", Next, note(diary))
    )
    handle_ = system.dispatch(Job())
    ready.pass_through()
    assert len(system.tasks()) == 1, "a follow-up was stored before the outcome it belongs to"
    go.set()
    system.wait_idle(WAIT)
    assert diary == [1, 2]
    parent, first, second = system.tasks()
    assert {first.parent_id, second.parent_id} == {handle_.id}
    assert {parent.workflow_id, first.workflow_id, second.workflow_id} == {handle_.id}


def test_what_a_failed_attempt_dispatched_is_never_stored(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        ctx.dispatch(Next(ctx.attempt))
        if ctx.attempt == 1:
            raise Bang

    system = lab.system(
        make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0)),
        make_handler("sync", Next, lambda task, ctx: task.n),
    )
    system.dispatch(Job()).wait(WAIT)
    system.wait_idle(WAIT)
    assert [child.result for child in system.tasks(type=Next)] == [2]


def test_ctx_result_is_what_handle_returned(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> str:
        diary.note(ctx.result)
        return "done"

    system = lab.system(make_handler(kind, Job, handle, on_completed=lambda ctx: diary.note(ctx.result)))
    system.dispatch(Job()).wait(WAIT)
    assert diary == [None, "done"]


def test_a_raised_error_is_stored_with_type_text_and_traceback(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise ValueError("not today")

    system = lab.system(make_handler(kind, Job, handle, retry=ONCE))
    task = system.dispatch(Job())
    with pytest.raises(TaskFailed) as caught:
        task.result(WAIT)
    failed = caught.value
    assert (failed.error_type, failed.error_text, failed.task_id, failed.attempts) == (
        "ValueError",
        "not today",
        task.id,
        1,
    )
    record = task.record()
    assert record.status is TaskStatus.FAILED
    assert record.error is not None
    assert 'raise ValueError("not today")' in record.error.traceback


def test_an_error_that_cannot_even_be_read_fails_its_task_only(lab: Lab, kind: str) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise SystemExit

        __repr__ = __str__

    def handle(task: Job, ctx: TaskContext) -> None:
        if task.n == 0:
            raise Unreadable
        if task.n == 1:
            raise Bang("\ud800")

    system = lab.system(make_handler(kind, Job, handle, retry=ONCE))
    assert system.dispatch(Job(0)).wait(WAIT).status is TaskStatus.FAILED
    assert system.dispatch(Job(1)).wait(WAIT).status is TaskStatus.FAILED
    assert system.dispatch(Job(2)).wait(WAIT).status is TaskStatus.COMPLETED


def test_error_texts_are_cut_to_the_limit(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise Bang("x" * 10_000)

    system = lab.system(make_handler(kind, Job, handle, retry=ONCE), settings=Settings(error_limit=1000, grace=0.1))
    error = system.dispatch(Job()).wait(WAIT).error
    assert error is not None
    assert len(error.text) + len(error.traceback) <= 1000


def test_a_result_that_cannot_be_encoded_fails_without_a_retry(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> object:
        diary.note(ctx.attempt)
        return object()

    handler = make_handler(
        kind,
        Job,
        handle,
        retry=Retry(attempts=3, delay=0),
        on_error=lambda ctx, error: diary.note(type(error).__name__),
    )
    system = lab.system(handler)
    record = system.dispatch(Job()).wait(WAIT)
    assert record.status is TaskStatus.FAILED
    assert record.error is not None
    assert record.error.type.endswith("ResultError")
    assert diary == [1, "ResultError"]


def test_a_result_over_the_limit_fails_without_a_retry(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: "x" * 2000, retry=Retry(attempts=3, delay=0))
    system = lab.system(handler, settings=Settings(payload_limit=1000, grace=0.1))
    record = system.dispatch(Job()).wait(WAIT)
    assert record.status is TaskStatus.FAILED
    assert record.attempt == 1


@pytest.mark.parametrize("error", [CancelRequested, asyncio.CancelledError])
def test_a_cancel_nobody_asked_for_is_an_ordinary_failure(
    lab: Lab, kind: str, diary: Diary, error: type[BaseException]
) -> None:
    def handle(task: Job, ctx: TaskContext) -> str:
        if ctx.attempt == 1:
            raise error
        return "second"

    def on_retry(ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> None:
        diary.note((type(error), type(error.__cause__)))

    handler = make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0), on_retry=on_retry)
    system = lab.system(handler)
    assert system.dispatch(Job()).result(WAIT) == "second"
    assert diary == [(UnexpectedCancel, error)]


def test_a_library_that_cancels_its_own_coroutine_does_not_poison_the_cell(lab: Lab) -> None:
    async def cancel_myself() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    class Handler(TaskHandler[Job]):
        retry = ONCE

        async def handle(self, task: Job, ctx: TaskContext) -> int:
            if task.n == 0:
                await cancel_myself()
            await asyncio.sleep(0)
            return task.n

    system = lab.system(Handler)
    first, second = system.dispatch_many([Job(0), Job(1)])
    record = first.wait(WAIT)
    assert record.error is not None
    assert record.error.type.endswith("UnexpectedCancel")
    assert second.result(WAIT) == 1


def test_the_handler_gets_a_decoded_copy_each_time(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Basket, ctx: TaskContext) -> None:
        diary.note(list(task.items))
        assert task is ctx.task
        assert task is not mine
        task.items.append("handler")
        if ctx.attempt == 1:
            raise Bang

    gate = lab.gate()
    blocker = make_handler("sync", Job, lambda task, ctx: gate.pass_through())
    system = lab.system(blocker, make_handler(kind, Basket, handle, retry=Retry(attempts=2, delay=0)))
    mine = Basket(["before"])
    task = system.dispatch(mine)
    mine.items.append("after")
    task.wait(WAIT)
    assert diary == [["before"], ["before"]]


def test_the_context_tells_who_the_task_is(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> list[Any]:
        assert ctx.system is system
        assert not ctx.cancellation.cancelled
        extra = ctx.logger.extra
        assert extra is not None
        assert extra["task_id"] == str(ctx.task_id)
        assert extra["attempt"] == 1
        return [str(ctx.task_id), str(ctx.workflow_id), ctx.parent_id, ctx.attempt, dict(ctx.headers)]

    system = lab.system(make_handler(kind, Job, handle))
    task = system.dispatch(Job(), headers={"trace": "7"})
    assert task.result(WAIT) == [str(task.id), str(task.id), None, 1, {"trace": "7"}]


def test_state_lives_through_the_hooks_of_one_delivery_and_no_longer(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note(dict(ctx.state))
        ctx.state["n"] = task.n

    handler = make_handler(kind, Job, handle, on_completed=lambda ctx: diary.note(dict(ctx.state)))
    system = lab.system(handler)
    for n in (1, 2):
        system.dispatch(Job(n)).wait(WAIT)
    assert diary == [{}, {"n": 1}, {}, {"n": 2}]


def test_headers_are_inherited_by_follow_ups_of_follow_ups(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Next, ctx: TaskContext) -> None:
        diary.note(dict(ctx.headers))
        if task.n:
            ctx.dispatch(Next(task.n - 1), headers={"n": str(task.n)})

    system = lab.system(make_handler(kind, Next, handle))
    system.dispatch(Next(2), headers={"trace": "7"})
    system.wait_idle(WAIT)
    assert diary == [{"trace": "7"}, {"trace": "7", "n": "2"}, {"trace": "7", "n": "1"}]


def test_a_context_refuses_dispatches_after_its_attempt(lab: Lab, kind: str) -> None:
    kept: list[TaskContext] = []

    def handle(task: Job, ctx: TaskContext) -> None:
        kept.append(ctx)
        if task.n and ctx.attempt == 1:
            raise Bang

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0)))
    system.dispatch(Job(0)).wait(WAIT)
    system.dispatch(Job(1)).wait(WAIT)
    assert len(kept) == 3
    for ctx in kept:
        with pytest.raises(AttemptOver):
            ctx.dispatch(Job())
    assert len(system.tasks()) == 2


def test_a_bad_follow_up_raises_in_the_handler_and_stores_nothing(lab: Lab, kind: str) -> None:
    @dataclass
    class Stranger:
        n: int

    def handle(task: Job, ctx: TaskContext) -> str:
        with pytest.raises(TaskTypeUnknown):
            ctx.dispatch(Stranger(1))
        with pytest.raises(PayloadError):
            ctx.dispatch(Next("no number"))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="priority"):
            ctx.dispatch(Next(), priority=1000)
        return "checked"

    system = lab.system(make_handler(kind, Job, handle), make_handler("sync", Next, lambda task, ctx: None))
    assert system.dispatch(Job()).result(WAIT) == "checked"
    assert len(system.tasks()) == 1


def test_ctx_system_dispatch_commits_at_once_as_a_child_and_outlives_the_failure(lab: Lab, kind: str) -> None:
    class Sync(TaskHandler[Job]):
        retry = ONCE

        def handle(self, task: Job, ctx: TaskContext) -> None:
            child = ctx.system.dispatch(Next(1))
            assert child.record().parent_id == ctx.task_id
            assert child.result(WAIT) == 1
            raise Bang

    class Async(TaskHandler[Job]):
        retry = ONCE

        async def handle(self, task: Job, ctx: TaskContext) -> None:
            child = await ctx.system.dispatch_async(Next(1))
            assert child.record().parent_id == ctx.task_id
            assert await child == 1
            raise Bang

    system = lab.system(Sync if kind == "sync" else Async, make_handler("sync", Next, lambda task, ctx: task.n))
    parent = system.dispatch(Job(), headers={"trace": "7"})
    record = parent.wait(WAIT)
    assert record.error is not None
    assert record.error.type.endswith("Bang"), record.error
    (child,) = system.tasks(type=Next)
    assert (child.workflow_id, child.parent_id, child.headers) == (parent.id, parent.id, {"trace": "7"})
    assert system.workflow(parent.id).state is WorkflowState.FAILED
    assert [task.id for task in system.workflow(parent.id).tasks] == [parent.id, child.id]


def test_an_undecodable_record_is_quarantined_and_its_bytes_are_kept(lab: Lab, kind: str, diary: Diary) -> None:
    @dataclass
    class Other:
        n: list[str]

    old = lab.idle_system(make_handler(kind, Job, note(diary), task_name="job"))
    task = old.dispatch(Job(7))
    lab.crash(old)
    hooks = {"on_error": lambda ctx, error: diary.note("on_error"), "on_started": lambda ctx: diary.note("on_started")}
    system = lab.system(make_handler(kind, Other, note(diary), task_name="job", **hooks))
    record = system.wait(task.id, WAIT)
    assert record.status is TaskStatus.QUARANTINED
    assert record.attempt == 0, "no handler was called"
    assert record.error is not None
    assert record.error.type.endswith("PayloadError")
    with pytest.raises(TaskQuarantined):
        system.task(task.id).result(WAIT)
    stored = lab.probe(system).get(task.id.bytes)
    assert stored is not None
    assert stored.payload == b'{"n":7}'
    assert diary == []


def test_a_bad_signature_is_quarantined_without_unpickling(lab: Lab, kind: str, diary: Diary) -> None:
    handler = make_handler(kind, Job, note(diary), codec="cloudpickle", task_name="job")
    old = lab.idle_system(handler, settings=Settings(secret_keys={"k": b"one"}, grace=0.1))
    task = old.dispatch(Job(7))
    lab.crash(old)
    system = lab.system(handler, settings=Settings(secret_keys={"k": b"two"}, grace=0.1))
    assert system.wait(task.id, WAIT).status is TaskStatus.QUARANTINED
    assert diary == []


def test_cloudpickle_tasks_and_results_survive(lab: Lab, kind: str) -> None:
    class Free:
        def __init__(self, n: int) -> None:
            self.n = n

    handler = make_handler(kind, Free, lambda task, ctx: {task.n}, codec="cloudpickle")
    system = lab.system(handler, settings=Settings(secret_keys={"k": b"one"}, grace=0.1))
    assert system.dispatch(Free(3)).result(WAIT) == {3}


def test_a_type_without_a_handler_here_stays_queued(lab: Lab, kind: str) -> None:
    old = lab.idle_system(make_handler(kind, Next, lambda task, ctx: "too soon"))
    task = old.dispatch(Next())
    lab.crash(old)
    system = lab.system(make_handler(kind, Job, lambda task, ctx: "ran"))
    assert system.dispatch(Job()).result(WAIT) == "ran"
    until(lambda: system.get(task.id).status is TaskStatus.QUEUED)
    system.stop()
    again = lab.system(make_handler(kind, Next, lambda task, ctx: "at last"))
    assert again.task(task.id).result(WAIT) == "at last"


def test_each_event_of_an_outcome_arrives_once(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        if task.n == 0:
            ctx.dispatch(Next())
        if task.n == 1:
            raise Bang("late")

    system = lab.system(
        make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0)),
        make_handler("sync", Next, lambda task, ctx: None),
    )
    facts = Facts(system)
    good, bad = system.dispatch(Job(0)), system.dispatch(Job(1))
    gone = system.dispatch(Job(2), delay=3600)
    gone.cancel()
    failed = facts.first(ev.TaskFailed)
    facts.first(ev.TaskCancelled)
    until(lambda: len(facts.of(ev.TaskCompleted)) == 2)
    assert (failed.task_id, failed.attempt, failed.type) == (bad.id, 2, bad.record().type)
    assert "Bang: late" in failed.error
    (retried,) = facts.of(ev.TaskRetried)
    assert (retried.task_id, retried.attempt) == (bad.id, 1)
    assert {event.task_id for event in facts.of(ev.TaskDispatched)} == {task.id for task in system.tasks()}
    assert len(facts.of(ev.TaskDispatched)) == 4
    assert facts.of(ev.TaskCompleted)[0].task_id == good.id
    (cancelled,) = facts.of(ev.TaskCancelled)
    assert (cancelled.task_id, cancelled.attempt, cancelled.type) == (gone.id, 0, gone.record().type)


def test_history_merges_the_ordinary_and_the_rest(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise Bang("first")

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0.01)))
    task = system.dispatch(Job())
    task.wait(WAIT)
    history = system.history(task.id)
    assert [entry.event for entry in history] == ["created", "retry", "started", "completed"]
    assert [entry.at for entry in history] == sorted(entry.at for entry in history)
    assert "Bang: first" in history[1].detail
    assert all(entry.at <= datetime.now(UTC) for entry in history)


def test_the_awaited_handle_gives_result_or_error(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        if task.n == 2:
            raise Bang
        return task.n

    system = lab.system(make_handler(kind, Job, handle, retry=ONCE))

    async def main() -> None:
        first = await system.dispatch_async(Job(1))
        assert await first == 1
        assert await first == 1
        many = await system.dispatch_many_async([Job(3), Job(4)])
        assert await asyncio.gather(*many) == [3, 4]
        with pytest.raises(TaskFailed):
            await (await system.dispatch_async(Job(2)))
        later = await system.dispatch_async(Job(5), delay=3600)
        assert (await system.cancel_async(later)).value == "cancelled"
        with pytest.raises(TaskCancelled):
            await later
        assert (await system.wait_async(first.id, WAIT)).status is TaskStatus.COMPLETED
        await system.wait_idle_async(WAIT)
        assert await system.cancel_many_async([first.id, UUID(int=1)]) == {
            first.id: system.cancel(first),
            UUID(int=1): system.cancel(UUID(int=1)),
        }

    asyncio.run(main())
