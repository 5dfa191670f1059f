"""A task that kills its process is set aside in the end, and takes nobody with it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from everact import Settings, TaskContext, TaskQuarantined, TaskStatus
from everact import events as ev
from tests.engine.conftest import GRACE, WAIT, Diary, Facts, Job, Lab, make_handler, until


def stubborn(kind: str, lab: Lab, diary: Diary, **members: Any) -> tuple[Any, Any]:
    """Make a handler whose negative tasks never return, so that the test can kill the node on them."""

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(task.n)
        if task.n < 0:
            yield never, "deaf"
        return task.n

    never = lab.gate()
    return make_handler(kind, Job, handle, **members), never


def crash_on(lab: Lab, system: Any, diary: Diary, line: int, times: int) -> None:
    until(lambda: diary.count(line) >= times, f"start {times} of task {line}")
    lab.crash(system)


def test_a_poison_task_is_quarantined_after_three_crashes_and_the_innocent_complete(
    lab: Lab, kind: str, diary: Diary
) -> None:
    handler, _ = stubborn(kind, lab, diary, concurrency=3)
    system = lab.idle_system(handler)
    before = system.dispatch_many([Job(n) for n in range(10)])
    poison = system.dispatch(Job(-1))
    after = system.dispatch_many([Job(n) for n in range(10, 20)])
    lab.crash(system)  # it had not started anything: nobody is to blame yet
    for crash in range(1, 4):
        system = lab.system(handler)
        crash_on(lab, system, diary, -1, crash)
    system = lab.build(handler)
    facts = Facts(system)
    system.start()
    system.wait_idle(WAIT)
    record = system.get(poison.id)
    assert (record.status, record.crashes) == (TaskStatus.QUARANTINED, 3)
    assert diary.count(-1) == 3
    assert {system.get(task.id).status for task in before + after} == {TaskStatus.COMPLETED}
    assert facts.first(ev.TaskQuarantined).task_id == poison.id
    with pytest.raises(TaskQuarantined, match="the process died 3 times"):
        system.task(poison.id).result(WAIT)
    assert [entry.event for entry in system.history(poison.id)].count("recovered") == 3


def test_no_hook_runs_for_a_task_that_is_set_aside(lab: Lab, kind: str, diary: Diary) -> None:
    def on_error(ctx: TaskContext, error: BaseException) -> None:
        diary.note("on_error")

    handler, _ = stubborn(kind, lab, diary, on_error=on_error)
    settings = Settings(grace=GRACE, max_crashes=1)
    system = lab.idle_system(handler)
    poison = system.dispatch(Job(-1))
    lab.crash(system)
    system = lab.system(handler, settings=settings)
    crash_on(lab, system, diary, -1, 1)
    system = lab.system(handler, settings=settings)
    system.wait_idle(WAIT)
    assert system.get(poison.id).status is TaskStatus.QUARANTINED
    assert diary == [-1]


def test_a_task_that_was_set_aside_can_be_requeued(lab: Lab, kind: str, diary: Diary) -> None:
    handler, never = stubborn(kind, lab, diary)
    settings = Settings(grace=GRACE, max_crashes=1)
    system = lab.idle_system(handler)
    poison = system.dispatch(Job(-1))
    lab.crash(system)
    system = lab.system(handler, settings=settings)
    crash_on(lab, system, diary, -1, 1)
    never.set()
    system = lab.system(handler, settings=settings)
    system.wait_idle(WAIT)
    again = system.requeue(poison.id)
    assert again.result(WAIT) == -1
    assert (again.record().crashes, again.record().retry_of) == (0, poison.id)


def test_waiting_in_a_mailbox_counts_no_crash(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: task.n)
    system = lab.idle_system(handler)
    tasks = system.dispatch_many([Job(n) for n in range(10)])
    for _ in range(4):
        lab.crash(system)
        system = lab.idle_system(handler)
    assert [system.get(task.id).crashes for task in tasks] == [0] * 10


def test_a_crash_blames_only_what_the_handler_had_cells_for(lab: Lab, kind: str, diary: Diary) -> None:
    handler, _ = stubborn(kind, lab, diary, concurrency=2)
    system = lab.idle_system(handler)
    system.dispatch_many([Job(-n) for n in range(1, 11)])
    lab.crash(system)
    system = lab.system(handler)
    until(lambda: len(diary.lines) == 2)
    lab.crash(system)
    system = lab.idle_system(handler)
    assert sorted(record.crashes for record in system.tasks()) == [0] * 8 + [1] * 2


def test_suspects_run_one_at_a_time_until_each_has_ended_once(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(task.n)
        yield gates[task.n], "deaf"
        return task.n

    gates = [lab.gate() for _ in range(3)]
    handler = make_handler(kind, Job, handle, concurrency=3)
    system = lab.idle_system(handler)
    tasks = system.dispatch_many([Job(n) for n in range(3)])
    lab.crash(system)
    system = lab.system(handler)
    until(lambda: len(diary.lines) == 3)
    lab.crash(system)
    diary.lines.clear()
    system = lab.system(handler)
    for n in range(3):
        until(lambda: len(diary.lines) > n)  # noqa: B023 - called at once
        assert diary == list(range(n + 1))
        gates[n].set()
    system.wait_idle(WAIT)
    assert [system.get(task.id).result for task in tasks] == [0, 1, 2]


def test_a_long_suspect_does_not_hold_up_the_others_for_ever(lab: Lab, kind: str, diary: Diary) -> None:
    one_cell, _ = stubborn(kind, lab, diary)
    two_cells, never = stubborn(kind, lab, diary, concurrency=2)
    system = lab.idle_system(one_cell)
    long, short = system.dispatch(Job(-1), priority=1), system.dispatch(Job(5))
    lab.crash(system)
    system = lab.system(one_cell)
    until(lambda: diary.count(-1) == 1)
    lab.crash(system)
    system = lab.system(two_cells)
    assert system.wait(short.id, WAIT).status is TaskStatus.COMPLETED
    until(lambda: system.get(long.id).status is TaskStatus.RUNNING)
    fresh = system.dispatch(Job(6))
    assert fresh.result(WAIT) == 6
    never.set()
    system.wait_idle(WAIT)
