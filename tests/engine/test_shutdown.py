"""Stopping: what may finish, what is interrupted, what the next start finds, and that it always comes to an end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

from everact import (
    ActorSystem,
    CancelOutcome,
    EverActError,
    Retry,
    Settings,
    SystemNotRunning,
    TaskCancelled,
    TaskContext,
    TaskStatus,
)
from everact.actors.attempt import Attempt
from everact.actors.ticket import Delivery, Ticket
from tests.engine.conftest import BRIEF, WAIT, Bang, Diary, Job, Lab, Next, make_handler, until


def nothing(task: Any, ctx: TaskContext) -> None:
    return None


def in_thread(call: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=call, args=args, daemon=True)
    thread.start()
    return thread


def joined(thread: threading.Thread, timeout: float = WAIT) -> bool:
    thread.join(timeout)
    return not thread.is_alive()


def test_running_work_may_finish_and_nothing_new_starts(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(task.n)
        inside.set()
        yield go
        if task.n == 1:
            ctx.dispatch(Next(1))
        return task.n

    inside, go = lab.gate(), lab.gate()
    handlers = (make_handler(kind, Job, handle), make_handler("sync", Next, lambda task, ctx: diary.note("next")))
    system = lab.system(*handlers)
    first, second = system.dispatch_many([Job(1), Job(2)])
    inside.pass_through()
    stopping = in_thread(system.stop, WAIT)
    until(lambda: system.state == "stopping")
    go.set()
    assert joined(stopping)
    assert diary == [1]
    again = lab.system(*handlers)
    again.wait_idle(WAIT)
    assert diary.lines[0] == 1
    assert sorted(diary.lines[1:], key=str) == [2, "next"]
    assert again.get(first.id).status is TaskStatus.COMPLETED
    assert again.get(second.id).result == 2


def test_an_interrupted_task_is_queued_again_uncounted_and_without_on_error(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if not restarted.is_set():
            inside.set()
            try:
                yield never
            finally:
                diary.note(str(ctx.cancellation.reason))
        return ctx.attempt

    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, on_error=lambda ctx, error: diary.note("on_error"))
    system = lab.system(handler)
    task = system.dispatch(Job())
    inside.pass_through()
    system.stop(timeout=0)
    assert diary == ["CancelReason.SHUTDOWN"]
    restarted.set()
    again = lab.system(handler)
    assert again.task(task.id).result(WAIT) == 1
    record = again.get(task.id)
    assert (record.attempt, record.crashes) == (1, 0)
    assert diary == ["CancelReason.SHUTDOWN"]


def test_an_interrupted_handler_that_returns_in_grace_completes(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        inside.set()
        try:
            yield never
        except BaseException:
            assert ctx.cancellation.cancelled
        return "done"

    inside, never = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle)
    system = lab.system(handler, settings=Settings(grace=WAIT))
    task = system.dispatch(Job())
    inside.pass_through()
    system.stop(timeout=0)
    assert lab.system(handler).get(task.id).result == "done"


def test_whatever_is_raised_during_the_interruption_does_not_count(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if not restarted.is_set():
            inside.set()
            try:
                yield never
            except BaseException:
                raise Bang from None
        return ctx.attempt

    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, retry=Retry(attempts=1))
    system = lab.system(handler)
    task = system.dispatch(Job())
    inside.pass_through()
    system.stop(timeout=0)
    restarted.set()
    assert lab.system(handler).task(task.id).result(WAIT) == 1


def test_a_deaf_handler_is_left_behind_and_its_task_runs_again(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        if not restarted.is_set():
            inside.set()
            ctx.dispatch(Next(1))
            yield never, "deaf"
            came_back.set()
            return "late"
        return "again"

    inside, never, restarted, came_back = lab.gate(), lab.gate(), lab.gate(), lab.gate()
    handlers = (make_handler(kind, Job, handle), make_handler("sync", Next, nothing))
    system = lab.system(*handlers)
    task = system.dispatch(Job())
    inside.pass_through()
    stopping = in_thread(system.stop, BRIEF)
    assert joined(stopping, BRIEF + 0.1 + 5 + 1), "stop took longer than timeout + grace + 5 s"
    restarted.set()
    again = lab.system(*handlers)
    assert again.task(task.id).result(WAIT) == "again"
    never.set()
    if kind == "sync":
        came_back.pass_through()
    again.wait_idle(WAIT)
    assert again.get(task.id).result == "again"
    assert again.tasks(type=Next) == []


def test_leaving_the_block_by_an_exception_does_not_wait_for_handlers(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        yield never

    inside, never = lab.gate(), lab.gate()
    system = lab.build(make_handler(kind, Job, handle))
    calls: list[float] = []
    stop = system.stop
    system.stop = lambda timeout=30.0: (calls.append(timeout), stop(timeout))[1]  # type: ignore[assignment,method-assign]
    with pytest.raises(Bang), system:
        system.dispatch(Job())
        inside.pass_through()
        raise Bang
    assert calls == [0.0]
    assert system.state == "stopped"


def test_the_async_block_starts_and_stops(lab: Lab, kind: str) -> None:
    system = lab.build(make_handler(kind, Job, lambda task, ctx: task.n))

    async def main() -> int:
        async with system:
            return int(await (await system.dispatch_async(Job(3))))

    assert asyncio.run(main()) == 3
    assert system.state == "stopped"


def test_a_user_cancel_wins_over_the_shutdown(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        try:
            yield never
        except BaseException:
            told.set()
            yield go, "deaf"
            raise

    inside, never, told, go = lab.gate(), lab.gate(), lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, on_error=lambda ctx, error: diary.note(type(error)))
    system = lab.system(handler, settings=Settings(grace=WAIT))
    task = system.dispatch(Job())
    inside.pass_through()
    stopping = in_thread(system.stop, 0.0)
    told.pass_through()
    assert task.cancel() is CancelOutcome.SIGNALLED
    go.set()
    assert joined(stopping)
    assert diary == [TaskCancelled]
    assert lab.system(handler).get(task.id).status is TaskStatus.CANCELLED


def test_a_retry_that_is_due_during_the_stop_waits_for_the_next_start(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(ctx.attempt)
        if ctx.attempt == 1:
            inside.set()
            yield go, "deaf"
            raise Bang
        return ctx.attempt

    inside, go = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0))
    system = lab.system(handler)
    task = system.dispatch(Job())
    inside.pass_through()
    stopping = in_thread(system.stop, WAIT)
    until(lambda: system.state == "stopping")
    go.set()
    assert joined(stopping)
    assert diary == [1]
    assert lab.system(handler).task(task.id).result(WAIT) == 2


def test_a_task_dispatched_during_the_stop_is_stored_for_the_next_start(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if task.n == 0:
            inside.set()
            yield go
        return task.n

    inside, go = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle)
    system = lab.system(handler)
    system.dispatch(Job(0))
    inside.pass_through()
    stopping = in_thread(system.stop, WAIT)
    until(lambda: system.state == "stopping")
    late = system.dispatch(Job(5))
    assert late.status() is TaskStatus.QUEUED
    go.set()
    assert joined(stopping)
    assert lab.system(handler).task(late.id).result(WAIT) == 5


def test_a_task_whose_payload_is_decoded_while_the_system_stops_does_not_start(lab: Lab) -> None:
    @dataclass
    class Slow:
        n: int = 0

        def __post_init__(self) -> None:
            if armed.is_set() and not restarted.is_set():
                decoding.set()
                go.pass_through()

    def handle(task: Slow, ctx: TaskContext) -> int:
        if ctx.attempt == 1:
            armed.set()
            raise Bang
        calls.append(restarted.is_set())
        return ctx.attempt

    calls: list[bool] = []
    armed, decoding, go, restarted = lab.gate(), lab.gate(), lab.gate(), lab.gate()
    system = lab.system(make_handler("sync", Slow, handle, retry=Retry(attempts=2, delay=0)), name="decoding")
    system.dispatch(Slow())
    decoding.pass_through()
    stopping = in_thread(system.stop, 0.0)
    assert joined(stopping)
    go.set()
    until(lambda: not any(t.name.startswith("slow/") and t.is_alive() for t in threading.enumerate()), "the end")
    assert calls == [], "a handler was called after stop() had returned"


def test_a_task_that_a_cell_has_just_taken_does_not_start_after_the_stop(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may lose its turn anywhere: here between taking the ticket and showing its delivery."""

    def begin(self: Attempt, ticket: Ticket, task: object) -> Delivery:
        taken.set()
        go.pass_through()
        return real(self, ticket, task)

    real = Attempt.begin
    monkeypatch.setattr(Attempt, "begin", begin)
    calls: list[str] = []
    taken, go = lab.gate(), lab.gate()
    system = lab.system(
        make_handler("sync", Job, lambda task, ctx: calls.append(system.state)),
        settings=Settings(grace=WAIT),
        name="taking",
    )
    system.dispatch(Job())
    taken.pass_through()
    stopping = in_thread(system.stop, 0.0)
    joined(stopping, 0.2)
    go.set()
    assert joined(stopping)
    until(lambda: not any(t.name.startswith("taking") for t in threading.enumerate()), "the end of all threads")
    assert "stopped" not in calls, "a handler was called after stop() had returned"


def test_callers_that_wait_are_told_when_the_system_stops(lab: Lab, kind: str) -> None:
    """Nobody waits for ever."""

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        yield never

    inside, never = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    task = system.dispatch(Job())
    later = system.dispatch(Job(), delay=3600)
    inside.pass_through()
    ends: list[BaseException] = []

    def wait(call: Any) -> None:
        try:
            call()
        except EverActError as error:
            ends.append(error)

    async def awaited() -> None:
        await task

    calls = (task.result, later.wait, system.wait_idle, lambda: asyncio.run(awaited()))
    threads = [in_thread(wait, call) for call in calls]
    journal = system._engine.node.journal  # type: ignore[union-attr]
    until(lambda: len(journal.watchers) == 3 and journal.idle_waiters)
    system.stop(timeout=0)
    assert all(joined(thread, 3.0) for thread in threads), "somebody still waits for a system that has stopped"
    assert len(ends) == 4


def test_dispatching_threads_all_end_when_the_system_stops(lab: Lab, kind: str) -> None:
    def dispatch_until_refused() -> None:
        try:
            while True:
                acknowledged.append(system.dispatch(Job()).id)
                if len(acknowledged) > 3000:  # enough to run afterwards
                    threading.Event().wait(0.001)
        except EverActError:
            return

    acknowledged: list[Any] = []
    handler = make_handler(kind, Job, nothing)
    system = lab.system(handler)
    threads = [in_thread(dispatch_until_refused) for _ in range(6)]
    until(lambda: len(acknowledged) > 100)
    system.stop(WAIT)
    assert all(joined(thread, 5.0) for thread in threads), "a dispatch hangs on a system that has stopped"
    again = lab.system(handler)
    again.wait_idle(WAIT)
    statuses = {again.get(task_id).status for task_id in acknowledged}
    assert statuses == {TaskStatus.COMPLETED}


def test_stop_from_a_handler_only_requests(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> str:
        ctx.system.stop()
        return "asked"

    handler = make_handler(kind, Job, handle)
    system = lab.system(handler)
    task = system.dispatch(Job())
    until(lambda: system.state == "stopped")
    assert lab.system(handler).get(task.id).result == "asked"


def test_stop_from_a_hook_of_the_actor_only_requests(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, nothing, on_actor_start=lambda: system.stop(0.0))
    system = lab.system(handler)
    system.dispatch(Job())
    until(lambda: system.state == "stopped")


def test_stop_from_a_subscriber_only_requests(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, nothing)
    system = lab.system(handler)
    system.events.subscribe(lambda event: system.stop(1.0))
    system.dispatch(Job())
    until(lambda: system.state == "stopped")
    lab.system(handler).wait_idle(WAIT)


def test_stop_beside_a_requested_stop_waits_for_its_end(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        ctx.system.stop()
        asked.set()
        yield go

    asked, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    system.dispatch(Job())
    asked.pass_through()
    stopping = in_thread(system.stop, WAIT)
    go.set()
    assert joined(stopping)
    assert system.state == "stopped"


def test_after_the_stop_every_use_is_refused_and_a_second_stop_does_nothing(lab: Lab) -> None:
    system = lab.build(make_handler("sync", Job, nothing))
    with pytest.raises(SystemNotRunning, match="not started"):
        system.dispatch(Job())
    system.start()
    with pytest.raises(EverActError, match="once"):
        system.start()
    task = system.dispatch(Job())
    task.wait(WAIT)
    system.stop(WAIT)
    system.stop(WAIT)
    for use in (
        lambda: system.dispatch(Job()),
        lambda: system.dispatch_many([Job()]),
        lambda: system.cancel(task),
        lambda: system.get(task.id),
        system.tasks,
        system.counts,
        lambda: system.wait(task.id, 1),
        lambda: system.wait_idle(1),
        lambda: task.result(1),
        lambda: system.requeue(task.id),
        lambda: system.events.subscribe(print),
    ):
        with pytest.raises(SystemNotRunning, match="stopped"):
            use()
    assert (system.health().healthy, system.health().state) == (False, "stopped")


def test_a_system_can_be_started_again(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: task.n))
    task = system.dispatch(Job(1), delay=0.05)
    system.stop(WAIT)
    system.start()
    assert system.task(task.id).result(WAIT) == 1


def test_no_thread_is_left_after_the_stop(lab: Lab, kind: str) -> None:
    system = lab.system(
        make_handler(kind, Job, nothing, concurrency=3, pinned=True), make_handler("async", Next, nothing), name="leaky"
    )
    for task in system.dispatch_many([Job()] * 20 + [Next()] * 20):  # type: ignore[list-item]
        task.wait(WAIT)
    system.stop(WAIT)
    until(lambda: not [t.name for t in threading.enumerate() if t.name.startswith("leaky")], "the end of all threads")


def test_stopping_memory_with_unfinished_records_says_how_many_are_dropped(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with ActorSystem(handlers=[make_handler("sync", Job, nothing)]) as system:
        for _ in range(3):
            system.dispatch(Job(), delay=3600)
        system.dispatch(Job()).wait(WAIT)
    assert any("3 unfinished" in record.getMessage() for record in caplog.records)


def test_a_failed_start_leaves_nothing_behind(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: 1)
    system = lab.build(handler)
    lab.probe(system).fail_adopt = Bang("no disk")
    with pytest.raises(Bang):
        system.start()
    with pytest.raises(SystemNotRunning):
        system.dispatch(Job())
    lab.probe(system).fail_adopt = None
    system.start()
    assert system.dispatch(Job()).result(WAIT) == 1


def test_a_stop_while_on_completed_waits_for_its_next_try_runs_handle_again(lab: Lab, kind: str, diary: Diary) -> None:
    def on_completed(ctx: TaskContext) -> None:
        diary.note("on_completed")
        if not restarted.is_set():
            failed.set()
            raise Bang

    failed, restarted = lab.gate(), lab.gate()
    handler = make_handler(
        kind,
        Job,
        lambda task, ctx: diary.note("handle"),
        on_completed=on_completed,
        retry=Retry(attempts=3, delay=300),
        on_error=lambda ctx, error: diary.note("on_error"),
    )
    system = lab.system(handler)
    task = system.dispatch(Job())
    failed.pass_through()
    system.stop(timeout=0)
    restarted.set()
    assert lab.system(handler).wait(task.id, WAIT).status is TaskStatus.COMPLETED
    assert diary == ["handle", "on_completed"] * 2
