"""Cancel: before, during and after each stage of a task's life, and the answers it gives."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any
from uuid import UUID, uuid4

import pytest

from everact import CancelOutcome, Retry, TaskCancelled, TaskContext, TaskStatus
from everact import events as ev
from everact.actors.attempt import HOOK_DELAY_LIMIT
from tests.engine.conftest import WAIT, Bang, Diary, Facts, Job, Lab, Next, make_handler, until

ONCE = Retry(attempts=1)


def number(task: Next, ctx: TaskContext) -> int:
    return task.n


def test_a_task_cancelled_before_it_starts_never_starts_and_runs_no_hook(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note(task.n)
        inside.set()
        yield go

    def hook(*args: Any) -> None:
        if args[0].task.n == 2:
            diary.note("hook")

    inside, go = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, on_started=hook, on_error=hook, on_completed=hook)
    system = lab.system(handler)
    first, second, third = system.dispatch_many([Job(1), Job(2), Job(3)])
    inside.pass_through()
    assert system.cancel(second.id, "not needed") is CancelOutcome.CANCELLED
    record = second.record()
    assert record.status is TaskStatus.CANCELLED
    assert (record.attempt, record.started, record.finished is not None) == (0, None, True)
    with pytest.raises(TaskCancelled, match="not needed") as caught:
        second.result(WAIT)
    assert caught.value.reason == "not needed"
    go.set()
    third.wait(WAIT)
    assert diary == [1, 3]
    assert second.record() == record
    assert first.record().status is TaskStatus.COMPLETED


def test_a_scheduled_task_can_be_cancelled(lab: Lab, kind: str, diary: Diary) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: diary.note(task.n)))
    task = system.dispatch(Job(), delay=3600)
    assert task.cancel() is CancelOutcome.CANCELLED
    assert task.cancel() is CancelOutcome.ALREADY_FINISHED
    system.wait_idle(WAIT)
    assert system.dispatch(Job(2), delay=0.01).wait(WAIT).status is TaskStatus.COMPLETED
    assert diary == [2]


def test_a_running_task_that_stops_ends_cancelled_and_on_error_is_told(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(self: Any, task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        self.dirty = True
        ctx.dispatch(Next(1))
        inside.set()
        yield never

    def on_error(self: Any, ctx: TaskContext, error: BaseException) -> None:
        assert isinstance(error, TaskCancelled)
        diary.note((error.reason, error.task_id == ctx.task_id, hasattr(self, "dirty"), ctx.attempt))
        ctx.dispatch(Next(2))

    inside, never = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, on_error=on_error), make_handler("sync", Next, number))
    facts = Facts(system)
    task = system.dispatch(Job())
    inside.pass_through()
    assert task.cancel("too late") is CancelOutcome.SIGNALLED
    with pytest.raises(TaskCancelled) as caught:
        task.result(WAIT)
    assert caught.value.reason == "too late"
    assert diary == [("too late", True, False, 1)]
    system.wait_idle(WAIT)
    assert [child.result for child in system.tasks(type=Next)] == [2]
    assert facts.first(ev.TaskCancelled).attempt == 1
    assert "cancel_requested" in [entry.event for entry in system.history(task.id)]
    assert task.cancel() is CancelOutcome.ALREADY_FINISHED


def test_a_running_task_that_returns_first_ends_completed(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        inside.set()
        try:
            yield go
        except BaseException:
            assert ctx.cancellation.cancelled
        ctx.dispatch(Next(1))
        return "finished"

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle), make_handler("sync", Next, number))
    task = system.dispatch(Job())
    inside.pass_through()
    assert task.cancel() is CancelOutcome.SIGNALLED
    assert task.result(WAIT) == "finished"
    system.wait_idle(WAIT)
    assert len(system.tasks(type=Next)) == 1


def test_whatever_a_cancelled_handler_raises_is_the_cancel_with_the_error_kept(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        try:
            yield never
        except BaseException:
            raise Bang("clean-up failed") from None

    inside, never = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=5, delay=0)))
    task = system.dispatch(Job())
    inside.pass_through()
    task.cancel()
    record = task.wait(WAIT)
    assert record.status is TaskStatus.CANCELLED
    assert record.error is not None
    assert "clean-up failed" in record.error.traceback
    assert record.attempt == 1


def test_a_task_between_attempts_is_signalled_and_only_on_error_runs(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note("handle")
        raise Bang

    def on_error(ctx: TaskContext, error: BaseException) -> None:
        diary.note((type(error), str(getattr(error, "reason", ""))))

    handler = make_handler(
        kind,
        Job,
        handle,
        retry=Retry(attempts=3, delay=300),
        on_error=on_error,
        on_started=lambda ctx: diary.note("on_started"),
    )
    system = lab.system(handler)
    task = system.dispatch(Job())
    until(lambda: task.status() is TaskStatus.SCHEDULED)
    started = task.record().started
    assert task.cancel("enough") is CancelOutcome.SIGNALLED
    record = task.wait(WAIT)
    assert record.status is TaskStatus.CANCELLED
    assert (record.attempt, record.started) == (1, started)
    assert diary == ["on_started", "handle", (TaskCancelled, "enough")]
    system.wait_idle(WAIT)


def test_a_task_that_waits_for_a_cell_between_attempts_is_signalled(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note((task.n, ctx.attempt))
        if task.n == 0:
            raise Bang
        inside.set()
        yield go

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0.05)))
    first, second = system.dispatch_many([Job(0), Job(1)])
    inside.pass_through()
    until(lambda: first.status() is TaskStatus.QUEUED)
    assert first.cancel() is CancelOutcome.SIGNALLED
    go.set()
    assert first.wait(WAIT).status is TaskStatus.CANCELLED
    assert second.wait(WAIT).status is TaskStatus.COMPLETED
    assert diary == [(0, 1), (1, 1)]


def test_a_cancel_during_on_retry_is_not_forgotten(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note(ctx.attempt)
        raise Bang

    def on_retry(ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> Generator[Any, None, None]:
        inside.set()
        yield go, "deaf"

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=3, delay=300), on_retry=on_retry))
    task = system.dispatch(Job())
    inside.pass_through()
    assert task.cancel() is CancelOutcome.SIGNALLED
    go.set()
    assert task.wait(WAIT).status is TaskStatus.CANCELLED
    assert diary == [1]


def test_a_cancel_during_on_completed_lets_it_complete(lab: Lab, kind: str) -> None:
    def on_completed(ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        yield go, "deaf"

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, lambda task, ctx: "done", on_completed=on_completed))
    task = system.dispatch(Job())
    inside.pass_through()
    assert task.cancel() is CancelOutcome.SIGNALLED
    go.set()
    assert task.result(WAIT) == "done"


def test_a_cancel_while_on_completed_is_retried_ends_the_wait(lab: Lab, kind: str, diary: Diary) -> None:
    def on_completed(ctx: TaskContext) -> None:
        diary.note("on_completed")
        failed.set()
        raise Bang

    failed = lab.gate()
    handler = make_handler(
        kind,
        Job,
        lambda task, ctx: "done",
        on_completed=on_completed,
        retry=Retry(attempts=3, delay=300),
        on_error=lambda ctx, error: diary.note(type(error)),
    )
    task = lab.system(handler).dispatch(Job())
    failed.pass_through()
    assert task.cancel() is CancelOutcome.SIGNALLED
    ended = task.wait(HOOK_DELAY_LIMIT - 1)  # the cancel ends the pause; without it the pause ends by itself
    assert ended.status is TaskStatus.CANCELLED
    assert diary == ["on_completed", TaskCancelled]


def test_a_cancel_request_survives_a_crash(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note("handle")
        if diary.count("handle") > 1:
            raise Bang
        inside.set()
        yield never, "deaf"

    inside, never = lab.gate(), lab.gate()
    handler = make_handler(
        kind, Job, handle, retry=Retry(attempts=2, delay=0), on_error=lambda ctx, error: diary.note(type(error))
    )
    old = lab.system(handler)
    task = old.dispatch(Job())
    inside.pass_through()
    assert task.cancel("stop it") is CancelOutcome.SIGNALLED
    lab.crash(old)
    system = lab.system(handler)
    assert system.wait(task.id, WAIT).status is TaskStatus.CANCELLED
    assert diary == ["handle", TaskCancelled]


def test_unknown_ids_are_not_found_and_bad_ones_are_refused(lab: Lab) -> None:
    system = lab.system(make_handler("sync", Job, lambda task, ctx: None))
    unknown = uuid4()
    assert system.cancel(unknown) is CancelOutcome.NOT_FOUND
    assert system.cancel(str(unknown)) is CancelOutcome.NOT_FOUND
    with pytest.raises(ValueError, match="not a task id"):
        system.cancel("unknown")
    with pytest.raises(TypeError):
        system.cancel(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="reason"):
        system.cancel(unknown, reason=7)  # type: ignore[arg-type]


def test_cancel_many_answers_for_each_id_in_one_commit(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        if task.n:
            inside.set()
            yield never

    inside, never = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    done = system.dispatch(Job(0))
    done.wait(WAIT)
    running = system.dispatch(Job(1))
    inside.pass_through()
    waiting = [system.dispatch(Job(2)) for _ in range(3)]
    unknown = UUID(int=7)
    before = lab.probe(system).batches
    answers = system.cancel_many([done, str(running.id), *waiting, unknown, waiting[0].id])
    assert answers == {
        done.id: CancelOutcome.ALREADY_FINISHED,
        running.id: CancelOutcome.SIGNALLED,
        **{task.id: CancelOutcome.CANCELLED for task in waiting},
        unknown: CancelOutcome.NOT_FOUND,
    }
    assert running.wait(WAIT).status is TaskStatus.CANCELLED
    assert lab.probe(system).batches <= before + 2
    assert system.cancel_many([]) == {}


def test_cancel_takes_the_callers_word_with_any_text(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: None))
    task = system.dispatch(Job(), delay=3600)
    assert system.cancel(task, "\ud800 ü") is CancelOutcome.CANCELLED
    error = task.record().error
    assert error is not None
    assert error.text == "\\ud800 ü"


def test_cancel_and_start_race_for_each_of_many_tasks(lab: Lab, kind: str) -> None:
    """Whoever wins, the answer, the record and what really happened say the same."""

    def handle(task: Job, ctx: TaskContext) -> None:
        started.add(task.n)

    started: set[int] = set()
    count = 300
    system = lab.system(make_handler(kind, Job, handle, concurrency=3))
    tasks: list[Any] = []
    answers: dict[int, CancelOutcome] = {}

    def cancel_all() -> None:
        for n, task in enumerate(tasks):
            answers[n] = task.cancel()

    tasks += system.dispatch_many([Job(n) for n in range(count)])
    threads = [threading.Thread(target=cancel_all) for _ in range(1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    system.wait_idle(WAIT)
    for n, task in enumerate(tasks):
        status = task.status()
        if answers[n] is CancelOutcome.CANCELLED:
            assert status is TaskStatus.CANCELLED
            assert n not in started
        elif answers[n] is CancelOutcome.ALREADY_FINISHED:
            assert status is TaskStatus.COMPLETED
            assert n in started
        else:
            assert status in (TaskStatus.CANCELLED, TaskStatus.COMPLETED)
    assert system.counts()[TaskStatus.RUNNING] == 0


def test_cancel_and_finish_in_one_commit_agree(lab: Lab, kind: str) -> None:
    """The finish comes first: what the journal takes together is answered as ALREADY_FINISHED."""

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if task.n == 0:
            inside.set()
            yield go, "deaf"
        return task.n

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    task = system.dispatch(Job(0))
    inside.pass_through()
    hold = lab.probe(system).hold()
    blocker = threading.Thread(target=system.dispatch, args=(Job(1),))
    blocker.start()
    lab.probe(system).wait_until_held()
    go.set()  # the outcome now waits in the journal's mailbox
    journal = system._engine.node.journal  # type: ignore[union-attr]
    until(lambda: journal.actor_inbox.qsize() > 0)
    answers: list[CancelOutcome] = []
    canceller = threading.Thread(target=lambda: answers.append(task.cancel()))
    canceller.start()
    until(lambda: journal.actor_inbox.qsize() > 1)
    hold.set()
    canceller.join(WAIT)
    blocker.join(WAIT)
    assert answers == [CancelOutcome.ALREADY_FINISHED]
    assert task.result(WAIT) == 0


def test_a_cancel_that_meets_a_failing_attempt_in_one_commit_wins_over_the_retry(
    lab: Lab, kind: str, diary: Diary
) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        if task.n == 0:
            diary.note(ctx.attempt)
            inside.set()
            yield go, "deaf"
            raise Bang

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=3, delay=300)))
    task = system.dispatch(Job(0))
    inside.pass_through()
    hold = lab.probe(system).hold()
    blocker = threading.Thread(target=system.dispatch, args=(Job(1),))
    blocker.start()
    lab.probe(system).wait_until_held()
    go.set()
    journal = system._engine.node.journal  # type: ignore[union-attr]
    until(lambda: journal.actor_inbox.qsize() > 0)
    answers: list[CancelOutcome] = []
    canceller = threading.Thread(target=lambda: answers.append(task.cancel()))
    canceller.start()
    until(lambda: journal.actor_inbox.qsize() > 1)
    hold.set()
    canceller.join(WAIT)
    blocker.join(WAIT)
    assert answers == [CancelOutcome.SIGNALLED]
    assert task.wait(WAIT).status is TaskStatus.CANCELLED
    assert diary == [1]
    system.wait_idle(WAIT)
