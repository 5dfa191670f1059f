"""A backlog larger than memory may hold: the tasks wait in storage, and nobody can tell."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from everact import CancelOutcome, Retry, Settings, TaskContext, TaskStatus, WaitTimeout
from everact.actors.ticket import QUEUED
from tests.engine.conftest import BRIEF, GRACE, WAIT, Bang, Diary, Job, Lab, Next, make_handler, until

HIGH = 10
SMALL = Settings(grace=GRACE, high_water=HIGH)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Only a durable storage can hold what memory does not; `memory://` holds everything."""
    made = Lab("sqlite", tmp_path)
    yield made
    made.clear_up()


def resident(system: Any) -> int:
    return len(system._engine.node.journal.tickets.resident)


def blocking(kind: str, lab: Lab, diary: Diary) -> tuple[Any, Any, Any]:
    """Make a handler whose first task (n < 0) waits; the others write into the diary."""

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if task.n < 0:
            inside.set()
            yield go
        else:
            diary.note(task.n)
        return task.n

    inside, go = lab.gate(), lab.gate()
    return make_handler(kind, Job, handle), inside, go


def test_memory_holds_no_more_than_the_mark_and_every_task_runs_once_in_order(
    lab: Lab, kind: str, diary: Diary
) -> None:
    handler, inside, go = blocking(kind, lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    for start in range(0, 300, 3):
        system.dispatch_many([Job(n) for n in range(start, start + 3)])
    assert resident(system) <= HIGH + 1
    assert system.counts()[TaskStatus.QUEUED] == 300
    go.set()
    system.wait_idle(WAIT)
    assert diary == list(range(300))


def test_one_large_commit_is_not_held_in_memory_either(lab: Lab, diary: Diary) -> None:
    handler, inside, go = blocking("sync", lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    handles = system.dispatch_many([Job(n) for n in range(500)])
    assert resident(system) <= HIGH + 1
    go.set()
    assert [handle.result(WAIT) for handle in handles] == list(range(500))
    assert diary == list(range(500))


def test_what_is_urgent_goes_first_though_much_waits_in_storage(lab: Lab, kind: str, diary: Diary) -> None:
    handler, inside, go = blocking(kind, lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    system.dispatch_many([Job(n) for n in range(50)])
    system.dispatch(Job(1000), priority=7)
    system.dispatch(Job(2000), priority=-7)
    system.dispatch(Job(1001), priority=7)
    go.set()
    system.wait_idle(WAIT)
    assert diary == [1000, 1001, *range(50), 2000]


def test_a_task_in_storage_can_be_cancelled_and_never_runs(lab: Lab, diary: Diary) -> None:
    handler, inside, go = blocking("sync", lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    handles = system.dispatch_many([Job(n) for n in range(60)])
    answers = system.cancel_many([handle.id for handle in handles[30:]])
    assert set(answers.values()) == {CancelOutcome.CANCELLED}
    go.set()
    system.wait_idle(WAIT)
    assert diary == list(range(30))
    assert {handle.status() for handle in handles[30:]} == {TaskStatus.CANCELLED}


def test_cancelling_all_that_memory_holds_does_not_strand_the_rest(lab: Lab, kind: str, diary: Diary) -> None:
    handler, inside, go = blocking(kind, lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    handles = system.dispatch_many([Job(n) for n in range(40)])
    tickets = system._engine.node.journal.tickets.resident  # type: ignore[union-attr]
    held = [ticket.record.id for ticket in tickets.values() if ticket.state is QUEUED]
    assert 0 < len(held) < 40
    system.cancel_many([handle.id for handle in handles if handle.id.bytes in held])
    go.set()
    system.wait_idle(WAIT)
    assert diary == [n for n, handle in enumerate(handles) if handle.id.bytes not in held]


def test_a_busy_handler_does_not_hold_up_another_ones_tasks(lab: Lab, kind: str, diary: Diary) -> None:
    handler, inside, go = blocking(kind, lab, diary)
    system = lab.system(handler, make_handler(kind, Next, lambda task, ctx: task.n), settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    system.dispatch_many([Job(n) for n in range(50)])
    others = system.dispatch_many([Next(n) for n in range(50)])
    assert [other.result(WAIT) for other in others] == list(range(50))
    assert diary == []
    go.set()
    system.wait_idle(WAIT)


def test_wait_idle_counts_what_waits_in_storage(lab: Lab, diary: Diary) -> None:
    handler, inside, go = blocking("sync", lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    system.dispatch_many([Job(n) for n in range(50)])
    with pytest.raises(WaitTimeout):
        system.wait_idle(BRIEF)
    go.set()
    system.wait_idle(WAIT)
    assert len(diary.lines) == 50


def test_more_scheduled_tasks_than_fit_all_start_when_they_are_due(lab: Lab, diary: Diary) -> None:
    handler = make_handler("sync", Job, lambda task, ctx: diary.note(task.n), concurrency=1)
    system = lab.system(handler, settings=SMALL)
    chance = random.Random(7)
    delays = {n: chance.uniform(0.3, 0.8) for n in range(80)}
    handles = [system.dispatch(Job(n), delay=delay) for n, delay in delays.items()]
    far = system.dispatch_many([Job(-1)] * 30, delay=3600)
    assert resident(system) <= HIGH
    for handle in handles:
        handle.wait(WAIT)
    assert sorted(diary.lines) == list(range(80))
    record = [handle.record() for handle in handles]
    assert all(each.started is not None and each.started >= each.due for each in record)
    system.wait_idle(WAIT)
    assert {handle.status() for handle in far} == {TaskStatus.SCHEDULED}


def test_many_tasks_due_at_one_instant_all_start(lab: Lab, diary: Diary) -> None:
    handler = make_handler("sync", Job, lambda task, ctx: diary.note(task.n))
    system = lab.system(handler, settings=SMALL)
    handles = system.dispatch_many([Job(n) for n in range(100)], delay=0.2)
    for handle in handles:
        handle.wait(WAIT)
    assert diary == list(range(100))


def test_more_retries_than_fit_are_all_waited_for(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        if ctx.attempt == 1:
            raise Bang
        diary.note(task.n)

    handler = make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0.2, jitter=0))
    system = lab.system(handler, settings=SMALL)
    system.dispatch_many([Job(n) for n in range(60)])
    system.dispatch(Job(-1), delay=3600)
    system.wait_idle(WAIT)
    assert sorted(diary.lines) == list(range(60))


def test_a_cancel_between_attempts_acts_at_once_though_the_retry_waits_in_storage(
    lab: Lab, kind: str, diary: Diary
) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise Bang

    def on_error(ctx: TaskContext, error: BaseException) -> None:
        diary.note((ctx.task.n, type(error).__name__))

    handler = make_handler(kind, Job, handle, on_error=on_error, retry=Retry(attempts=2, delay=3600))
    system = lab.system(handler, settings=SMALL)
    handles = system.dispatch_many([Job(n) for n in range(40)])
    until(lambda: all(handle.record().attempt == 1 for handle in handles))
    until(lambda: resident(system) <= HIGH)
    resident_ids = set(system._engine.node.journal.tickets.resident)  # type: ignore[union-attr]
    spilled = next(handle for handle in handles if handle.id.bytes not in resident_ids)
    assert system.cancel(spilled.id) is CancelOutcome.SIGNALLED
    assert spilled.wait(WAIT).status is TaskStatus.CANCELLED
    assert [name for _, name in diary.lines] == ["TaskCancelled"]


def test_a_backlog_larger_than_memory_survives_a_crash(lab: Lab, kind: str, diary: Diary) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: diary.note(task.n))
    old = lab.idle_system(handler, settings=SMALL)
    for n in range(100):
        old.dispatch(Job(n), delay=0.001 if n % 3 == 0 else None)
    until(lambda: old.counts()[TaskStatus.QUEUED] == 100)
    lab.crash(old)
    system = lab.system(handler, settings=SMALL)
    most = 0
    for _ in itertools.repeat(None):
        most = max(most, resident(system))
        if system.counts()[TaskStatus.COMPLETED] == 100:
            break
    system.wait_idle(WAIT)
    assert sorted(diary.lines) == list(range(100))


def test_stopping_with_scheduled_tasks_in_storage_does_not_spin(lab: Lab, diary: Diary) -> None:
    handler, inside, go = blocking("sync", lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch_many([Job(n) for n in range(50)], delay=0.3)
    system.dispatch(Job(-1))
    inside.pass_through()
    journal = system._engine.node.journal  # type: ignore[union-attr]
    until(lambda: journal.router._agenda.horizon < float("inf"))
    lab.close_pools(system)
    turns = []
    on_batch = journal.on_batch
    journal.on_batch = lambda messages: (turns.append(1), on_batch(messages))  # type: ignore[method-assign]
    until(lambda: system.counts()[TaskStatus.QUEUED] == 50)
    turns.clear()
    threading.Event().wait(0.2)
    assert len(turns) < 20
    go.set()


def test_tasks_wait_in_storage_while_the_clock_is_set_back_and_run_all_the_same(
    lab: Lab, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, inside, go = blocking("sync", lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    system.dispatch_many([Job(n) for n in range(50)])
    system.dispatch_many([Job(n) for n in range(50, 80)], delay=0.01)
    until(lambda: system.counts()[TaskStatus.QUEUED] == 80)
    runtime = system._engine.node.runtime  # type: ignore[union-attr]
    now = runtime.now
    monkeypatch.setattr(runtime, "now", lambda: now() - 400_000)
    go.set()
    until(lambda: sorted(diary.lines) == list(range(80)))
    system.wait_idle(WAIT)


@pytest.mark.parametrize("seed", range(12))
def test_any_backlog_runs_in_order_of_priority_and_arrival(lab: Lab, diary: Diary, seed: int) -> None:
    handler, inside, go = blocking("sync", lab, diary)
    system = lab.system(handler, settings=SMALL)
    system.dispatch(Job(-1))
    inside.pass_through()
    chance, numbers = random.Random(seed), itertools.count()
    wanted: list[tuple[int, int]] = []
    for _ in range(chance.randint(5, 25)):
        priority = chance.choice([-5, 0, 0, 0, 1, 5])
        batch = [next(numbers) for _ in range(chance.randint(1, 15))]
        system.dispatch_many([Job(n) for n in batch], priority=priority)
        wanted += [(-priority, n) for n in batch]
    assert resident(system) <= 2 * HIGH + 1
    go.set()
    system.wait_idle(WAIT)
    assert diary == [n for _, n in sorted(wanted)]


def test_tasks_start_though_the_turn_that_was_to_hand_them_on_has_failed(
    lab: Lab, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = lab.system(make_handler("sync", Job, lambda task, ctx: diary.note(task.n)), settings=SMALL)
    router = system._engine.node.journal.router  # type: ignore[union-attr]
    usual, failures = router.due, [Bang]

    def due(now: int) -> None:
        if failures:
            raise failures.pop()
        usual(now)

    monkeypatch.setattr(router, "due", due)
    assert system.dispatch(Job(1), delay=0.05).wait(WAIT).status is TaskStatus.COMPLETED
    assert not failures
    assert diary == [1]
