"""The hooks of a handler: when they run, what becomes of what they raise, and of what they dispatch."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import pytest

from everact import Intensity, Retry, TaskContext, TaskHandler, TaskStatus, bind
from everact import events as ev
from tests.engine.conftest import BRIEF, WAIT, Bang, Diary, Facts, Job, Lab, Next, make_handler, until

ONCE = Retry(attempts=1)
TWICE = Retry(attempts=2, delay=0)


def nothing(task: Any, ctx: TaskContext) -> None:
    return None


def number(task: Next, ctx: TaskContext) -> int:
    return task.n


def results(lab_system: Any) -> list[Any]:
    return sorted(task.result for task in lab_system.tasks(type=Next))


def test_hooks_run_in_their_order(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note("handle")
        if task.n == ctx.attempt:
            raise Bang

    handler = make_handler(
        kind,
        Job,
        handle,
        retry=TWICE,
        on_actor_start=lambda: diary.note("on_actor_start"),
        on_started=lambda ctx: diary.note("on_started"),
        on_completed=lambda ctx: diary.note("on_completed"),
        on_retry=lambda ctx, attempt, error, delay: diary.note("on_retry"),
        on_error=lambda ctx, error: diary.note("on_error"),
        on_actor_stop=lambda: diary.note("on_actor_stop"),
    )
    system = lab.system(handler)
    system.dispatch(Job(1)).wait(WAIT)
    system.stop(WAIT)
    first = ["on_actor_start", "on_started", "handle", "on_retry"]
    second = ["on_started", "handle", "on_completed", "on_actor_stop"]
    assert diary == [*first, "on_actor_stop", "on_actor_start", *second]


def test_on_actor_start_handle_and_on_actor_stop_share_a_thread(lab: Lab, kind: str) -> None:
    def note(*args: Any) -> None:
        threads.append(threading.get_ident())

    threads: list[int] = []
    handler = make_handler(kind, Job, note, on_actor_start=note, on_actor_stop=note, on_completed=note)
    system = lab.system(handler)
    for _ in range(3):
        system.dispatch(Job()).wait(WAIT)
    system.stop(WAIT)
    assert len(threads) == 8
    assert len(set(threads)) == 1


def test_each_pinned_cell_has_its_own_thread(lab: Lab) -> None:
    class Handler(TaskHandler[Job]):
        pinned = True
        concurrency = 3

        def handle(self, task: Job, ctx: TaskContext) -> int:
            barrier.wait(WAIT)
            return threading.get_ident()

    barrier = threading.Barrier(3)
    system = lab.system(Handler)
    rounds = [{task.result(WAIT) for task in system.dispatch_many([Job()] * 3)} for _ in range(2)]
    assert len(rounds[0]) == 3
    assert rounds[0] == rounds[1]


def test_a_raising_on_started_is_told_and_the_attempt_goes_on(lab: Lab, kind: str) -> None:
    def on_started(ctx: TaskContext) -> None:
        raise SystemExit("no start")

    system = lab.system(make_handler(kind, Job, lambda task, ctx: "ran", on_started=on_started))
    facts = Facts(system)
    task = system.dispatch(Job())
    assert task.result(WAIT) == "ran"
    failed = facts.first(ev.HookFailed)
    assert (failed.task_id, failed.hook, failed.final) == (task.id, "on_started", True)
    assert "no start" in failed.error
    assert task.record().error is None


def test_follow_ups_of_on_started_commit_with_the_outcome(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, nothing, on_started=lambda ctx: ctx.dispatch(Next(1)) and None)
    system = lab.system(handler, make_handler("sync", Next, number))
    system.dispatch(Job()).wait(WAIT)
    system.wait_idle(WAIT)
    assert results(system) == [1]


def test_a_raising_on_started_drops_what_it_dispatched(lab: Lab, kind: str) -> None:
    def on_started(ctx: TaskContext) -> None:
        ctx.dispatch(Next(1))
        raise Bang

    def handle(task: Job, ctx: TaskContext) -> None:
        ctx.dispatch(Next(2))

    system = lab.system(make_handler(kind, Job, handle, on_started=on_started), make_handler("sync", Next, number))
    system.dispatch(Job()).wait(WAIT)
    system.wait_idle(WAIT)
    assert results(system) == [2]


def test_a_raising_on_retry_is_told_and_the_retry_goes_on(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        if ctx.attempt == 1:
            raise Bang
        return ctx.attempt

    def on_retry(ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> None:
        ctx.dispatch(Next(1))
        raise KeyboardInterrupt

    system = lab.system(
        make_handler(kind, Job, handle, retry=TWICE, on_retry=on_retry), make_handler("sync", Next, number)
    )
    facts = Facts(system)
    assert system.dispatch(Job()).result(WAIT) == 2
    assert facts.first(ev.HookFailed).hook == "on_retry"
    system.wait_idle(WAIT)
    assert results(system) == []


def test_on_completed_is_retried_in_place_until_it_succeeds(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(self: Any, task: Job, ctx: TaskContext) -> str:
        diary.note("handle")
        ctx.dispatch(Next(1))
        ctx.state["contexts"] = [ctx]
        self.tries = 0
        return "result"

    def on_completed(self: Any, ctx: TaskContext) -> None:
        assert ctx.state["contexts"] == [ctx]
        self.tries += 1
        diary.note((self.tries, ctx.result, ctx.attempt))
        ctx.dispatch(Next(10 * self.tries))
        if self.tries < 3:
            raise Bang

    handler = make_handler(kind, Job, handle, on_completed=on_completed, retry=Retry(attempts=3, delay=0.001))
    system = lab.system(handler, make_handler("sync", Next, number))
    facts = Facts(system)
    task = system.dispatch(Job())
    assert task.result(WAIT) == "result"
    system.wait_idle(WAIT)
    assert diary == ["handle", (1, "result", 1), (2, "result", 1), (3, "result", 1)]
    assert results(system) == [1, 30]
    assert task.record().attempt == 1
    until(lambda: len(facts.of(ev.HookFailed)) == 2)
    assert [event.final for event in facts.of(ev.HookFailed)] == [False, False]


def test_the_slot_is_kept_while_on_completed_is_retried(lab: Lab, kind: str, diary: Diary) -> None:
    def on_completed(ctx: TaskContext) -> None:
        diary.note(ctx.task.n)
        if diary.count(0) < 2 and ctx.task.n == 0:
            raise Bang

    system = lab.system(
        make_handler(kind, Job, nothing, on_completed=on_completed, retry=Retry(attempts=2, delay=BRIEF))
    )
    for task in system.dispatch_many([Job(0), Job(1)]):
        task.wait(WAIT)
    assert diary == [0, 0, 1]


def test_an_exhausted_on_completed_fails_the_task_and_names_the_hook(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> str:
        diary.note("handle")
        ctx.dispatch(Next(1))
        return "result"

    def on_completed(ctx: TaskContext) -> None:
        diary.note("on_completed")
        raise Bang("no continuation")

    def on_error(ctx: TaskContext, error: BaseException) -> None:
        diary.note(str(error))
        ctx.dispatch(Next(2))

    handler = make_handler(kind, Job, handle, on_completed=on_completed, on_error=on_error, retry=TWICE)
    system = lab.system(handler, make_handler("sync", Next, number))
    facts = Facts(system)
    record = system.dispatch(Job()).wait(WAIT)
    system.wait_idle(WAIT)
    assert record.status is TaskStatus.FAILED
    assert record.error is not None
    assert record.error.hook == "on_completed"
    assert "no continuation" in str(record.error.hook_error)
    assert record.result is None
    assert diary == ["handle", "on_completed", "on_completed", "no continuation"]
    assert results(system) == [2]
    until(lambda: len(facts.of(ev.HookFailed)) == 2)
    assert [event.final for event in facts.of(ev.HookFailed)] == [False, True]


def test_a_raising_on_error_fails_the_task_all_the_same(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise ValueError("first")

    def on_error(ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(Next(1))
        raise Bang("second")

    system = lab.system(
        make_handler(kind, Job, handle, on_error=on_error, retry=ONCE), make_handler("sync", Next, number)
    )
    facts = Facts(system)
    record = system.dispatch(Job()).wait(WAIT)
    assert record.status is TaskStatus.FAILED
    assert record.error is not None
    assert (record.error.type, record.error.text, record.error.hook) == ("ValueError", "first", "on_error")
    assert "second" in str(record.error.hook_error)
    assert facts.first(ev.HookFailed).hook == "on_error"
    system.wait_idle(WAIT)
    assert results(system) == []


def test_a_failing_on_error_rebuilds_the_instance(lab: Lab, kind: str) -> None:
    def handle(self: Any, task: Job, ctx: TaskContext) -> None:
        assert not hasattr(self, "broken"), "the instance that a hook had failed in was used again"
        if task.n == 0:
            raise Bang

    def on_error(self: Any, ctx: TaskContext, error: BaseException) -> None:
        self.broken = True
        raise Bang

    system = lab.system(make_handler(kind, Job, handle, on_error=on_error, retry=ONCE))
    system.dispatch(Job(0)).wait(WAIT)
    assert system.dispatch(Job(1)).wait(WAIT).error is None


def test_an_on_completed_that_returns_something_is_no_failure(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, nothing, on_completed=lambda ctx: ctx.dispatch(Next(1)), retry=ONCE)
    system = lab.system(handler, make_handler("sync", Next, number))
    assert system.dispatch(Job()).wait(WAIT).status is TaskStatus.COMPLETED
    system.wait_idle(WAIT)
    assert results(system) == [1]


def test_sync_hooks_of_an_async_handler_run_too(lab: Lab, diary: Diary) -> None:
    class Handler(TaskHandler[Job]):
        async def handle(self, task: Job, ctx: TaskContext) -> str:
            return "ok"

        def on_completed(self, ctx: TaskContext) -> None:
            diary.note(ctx.result)

    lab.system(Handler).dispatch(Job()).wait(WAIT)
    assert diary == ["ok"]


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("hook", ["on_started", "on_retry", "on_error", "on_completed"])
def test_a_hook_that_takes_too_long_counts_as_raised(lab: Lab, kind: str, hook: str, deaf: bool) -> None:
    """A sync hook cannot be interrupted, a deaf one does not want to be: both are left behind."""

    def stuck(ctx: TaskContext, *rest: Any) -> Generator[Any, None, None]:
        calls.append(ctx.attempt)
        if len(calls) == 1:
            yield (never, "deaf") if deaf else never

    def handle(task: Job, ctx: TaskContext) -> int:
        ctx.dispatch(Next(ctx.attempt))
        if hook == "on_error" or (hook == "on_retry" and ctx.attempt == 1):
            raise Bang
        return ctx.attempt

    calls: list[int] = []
    never = lab.gate()
    handler = make_handler(kind, Job, handle, retry=TWICE, hook_timeout=BRIEF, **{hook: stuck})
    system = lab.system(handler, make_handler("sync", Next, number))
    facts = Facts(system)
    record = system.dispatch(Job()).wait(WAIT)
    system.wait_idle(WAIT)
    if hook == "on_error":
        assert record.status is TaskStatus.FAILED
        assert record.error is not None
        assert record.error.hook == "on_error"
        assert "HookTimeout" in str(record.error.hook_error)
    else:
        assert (record.status, record.error) == (TaskStatus.COMPLETED, None)
        assert results(system) == [2 if hook == "on_retry" else 1]
    assert "HookTimeout" in facts.first(ev.HookFailed).error
    assert calls == ([1, 1] if hook == "on_completed" else [2] if hook == "on_error" else [1])
    if kind == "sync" or deaf:
        assert facts.first(ev.ThreadAbandoned).where == hook
        assert system.health().abandoned_threads == 1
    assert system.dispatch(Job()).wait(WAIT).status is (
        TaskStatus.FAILED if hook == "on_error" else TaskStatus.COMPLETED
    )
    never.set()
    until(lambda: system.health().abandoned_threads == 0)


def test_a_factory_that_fails_leaves_the_task_queued_until_it_works(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: ctx.attempt)

    def factory() -> TaskHandler[Any]:
        if not allowed.is_set():
            raise SystemExit("no database")
        return handler()

    allowed = lab.gate()
    system = lab.system(bind(handler, factory))
    facts = Facts(system)
    task = system.dispatch(Job())
    event = facts.first(ev.CellFailed)
    assert "no database" in event.error
    record = task.record()
    assert (record.status, record.attempt, record.error) == (TaskStatus.QUEUED, 0, None)
    allowed.set()
    assert task.result(WAIT) == 1


def test_a_pool_over_its_intensity_is_suspended_and_opened_by_a_probe(lab: Lab, kind: str) -> None:
    def on_actor_start() -> None:
        if not allowed.is_set():
            raise Bang("no database")

    allowed = lab.gate()
    handler = make_handler(
        kind, Job, lambda task, ctx: 1, on_actor_start=on_actor_start, intensity=Intensity(0, within=60), concurrency=2
    )
    system = lab.system(handler, make_handler(kind, Next, number))
    facts = Facts(system)
    tasks = [system.dispatch(Job()) for _ in range(4)]
    suspended = facts.first(ev.PoolSuspended)
    assert "no database" in suspended.error
    assert system.health().suspended == (suspended.type,)
    assert not system.health().healthy
    assert system.dispatch(Next(5)).result(WAIT) == 5, "another pool is not concerned"
    assert {task.status() for task in tasks} == {TaskStatus.QUEUED}
    allowed.set()
    assert [task.result(WAIT) for task in tasks] == [1] * 4
    facts.first(ev.PoolResumed)
    until(lambda: system.health().healthy)


def test_failing_handlers_do_not_count_in_the_intensity(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise Bang

    handler = make_handler(kind, Job, handle, retry=ONCE, intensity=Intensity(0, within=60))
    system = lab.system(handler)
    facts = Facts(system)
    for _ in range(20):
        assert system.dispatch(Job()).wait(WAIT).status is TaskStatus.FAILED
    assert facts.of(ev.PoolSuspended) == []
    assert system.health().healthy


def test_an_on_actor_start_that_hangs_is_left_behind_and_tried_again(lab: Lab, kind: str) -> None:
    def on_actor_start() -> Generator[Any, None, None]:
        calls.append(1)
        if len(calls) == 1:
            yield never, "deaf"

    calls: list[int] = []
    never = lab.gate()
    system = lab.system(make_handler(kind, Job, lambda task, ctx: 1, on_actor_start=on_actor_start, hook_timeout=BRIEF))
    assert system.dispatch(Job()).result(WAIT) == 1
    assert len(calls) == 2


def test_an_on_actor_stop_that_hangs_before_on_error_does_not_hold_the_outcome(
    lab: Lab, kind: str, diary: Diary
) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        if task.n == 0:
            raise Bang

    def on_actor_stop() -> Generator[Any, None, None]:
        yield never, "deaf"

    never = lab.gate()
    handler = make_handler(
        kind,
        Job,
        handle,
        retry=ONCE,
        hook_timeout=BRIEF,
        on_actor_stop=on_actor_stop,
        on_error=lambda ctx, error: diary.note(type(error)),
    )
    system = lab.system(handler)
    assert system.dispatch(Job(0)).wait(WAIT).status is TaskStatus.FAILED
    assert diary == [Bang]
    assert system.dispatch(Job(1)).wait(WAIT).status is TaskStatus.COMPLETED
    never.set()


def test_a_factory_that_hangs_before_on_error_does_not_hold_the_outcome(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        if task.n == 0:
            raise Bang

    def on_actor_start() -> Generator[Any, None, None]:
        starts.append(1)
        if len(starts) == 2:
            yield never, "deaf"

    starts: list[int] = []
    never = lab.gate()
    handler = make_handler(
        kind,
        Job,
        handle,
        retry=ONCE,
        hook_timeout=BRIEF,
        on_actor_start=on_actor_start,
        on_error=lambda ctx, error: None,
    )
    system = lab.system(handler)
    assert system.dispatch(Job(0)).wait(WAIT).status is TaskStatus.FAILED
    assert system.dispatch(Job(1)).wait(WAIT).status is TaskStatus.COMPLETED
    never.set()


def test_a_raising_on_actor_stop_is_only_logged(lab: Lab, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def on_actor_stop() -> None:
        raise SystemExit("bye")

    system = lab.system(make_handler(kind, Job, nothing, on_actor_stop=on_actor_stop))
    system.dispatch(Job()).wait(WAIT)
    system.stop(WAIT)
    assert system.state == "stopped"
    assert "on_actor_stop" in caplog.text


def test_a_crash_between_handle_and_on_completed_runs_handle_again(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note("handle")
        ctx.dispatch(Next(1))

    def on_completed(ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note("on_completed")
        if diary.count("on_completed") == 1:
            inside.set()
            yield go

    inside, go = lab.gate(), lab.gate()
    handlers = (make_handler(kind, Job, handle, on_completed=on_completed), make_handler("sync", Next, number))
    old = lab.system(*handlers)
    task = old.dispatch(Job())
    inside.pass_through()
    lab.crash(old)
    system = lab.system(*handlers)
    assert system.wait(task.id, WAIT).status is TaskStatus.COMPLETED
    system.wait_idle(WAIT)
    assert diary == ["handle", "on_completed", "handle", "on_completed"]
    assert results(system) == [1]
