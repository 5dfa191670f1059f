"""What a new incarnation finds after the old one has died, in this process and in a real one."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import pytest

from everact import ActorSystem, Retry, TaskContext, TaskHandler, TaskStatus
from everact.storage.protocol import Adoption
from everact.storage.sqlite import SqliteStorage
from tests.engine.conftest import WAIT, Bang, Diary, Job, Lab, Next, Probe, make_handler, until


def test_everything_queued_is_run_by_the_next_incarnation(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if not restarted.is_set():
            inside.set()
            yield never, "deaf"
        return task.n

    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, concurrency=2)
    old = lab.system(handler)
    tasks = old.dispatch_many([Job(n) for n in range(50)])
    inside.pass_through()
    lab.crash(old)
    restarted.set()
    system = lab.system(handler)
    system.wait_idle(WAIT)
    assert [system.get(task.id).result for task in tasks] == list(range(50))
    assert {system.get(task.id).attempt for task in tasks} == {1}


def test_the_late_outcome_of_a_dead_incarnation_is_refused(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        if not restarted.is_set():
            inside.set()
            ctx.dispatch(Next(1))
            yield never, "deaf"
            return "late"
        return "again"

    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()
    handlers = (make_handler(kind, Job, handle), make_handler("sync", Next, lambda task, ctx: task.n))
    old = lab.system(*handlers)
    task = old.dispatch(Job())
    inside.pass_through()
    lab.crash(old)
    restarted.set()
    system = lab.system(*handlers)
    assert system.task(task.id).result(WAIT) == "again"
    never.set()
    system.wait_idle(WAIT)
    assert system.get(task.id).result == "again"
    assert system.tasks(type=Next) == []


def test_scheduled_tasks_keep_their_due_time(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: task.n)
    old = lab.system(handler)
    far, near = old.dispatch(Job(1), delay=3600), old.dispatch(Job(2), delay=0.1)
    due = far.record().due
    lab.crash(old)
    system = lab.system(handler)
    assert system.task(near.id).result(WAIT) == 2
    record = system.get(far.id)
    assert (record.status, record.due) == (TaskStatus.SCHEDULED, due)
    system.wait_idle(WAIT)
    assert system.cancel(far.id).value == "cancelled"


def test_options_survive_a_crash(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: dict(ctx.headers))
    old = lab.system(handler)
    options: dict[str, Any] = {"key": "k", "priority": 7, "tags": ["a", "b"], "headers": {"h": "1"}}
    task = old.dispatch(Job(), delay=0.05, **options)
    before = task.record()
    lab.crash(old)
    system = lab.system(handler)
    assert system.task(task.id).result(WAIT) == {"h": "1"}
    after = system.get(task.id)
    for name in ("key", "priority", "tags", "headers", "due", "created", "workflow_id", "type", "queue"):
        assert getattr(after, name) == getattr(before, name), name


def test_a_key_is_held_over_a_crash(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: task.n)
    old = lab.system(handler)
    task = old.dispatch(Job(1), key="k", delay=3600)
    lab.crash(old)
    system = lab.system(handler)
    assert system.dispatch(Job(2), key="k").id == task.id
    system.cancel(task.id)
    assert system.dispatch(Job(2), key="k").result(WAIT) == 2


def test_adopted_tasks_can_be_cancelled_waited_for_and_listed(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: task.n)
    old = lab.idle_system(handler)
    later, soon = old.dispatch(Job(1), delay=3600), old.dispatch(Job(2))
    lab.crash(old)
    system = lab.system(handler)
    assert [record.id for record in system.tasks()] == [later.id, soon.id]
    assert system.counts()[TaskStatus.SCHEDULED] == 1
    assert system.cancel(later.id).value == "cancelled"
    assert system.wait(soon.id, WAIT).result == 2
    assert system.counts() == {
        **dict.fromkeys(TaskStatus, 0),
        TaskStatus.CANCELLED: 1,
        TaskStatus.COMPLETED: 1,
    }


def test_a_task_survives_many_crashes_while_it_is_queued(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: task.n)
    old = lab.idle_system(handler)
    tasks = [old.dispatch(Job(n)) for n in range(10)]
    for _ in range(4):
        lab.crash(old)
        old = lab.idle_system(handler)
    lab.crash(old)
    old = lab.system(handler)
    assert [old.task(task.id).result(WAIT) for task in tasks] == list(range(10))


def test_more_adopted_tasks_than_one_page_are_all_run(lab: Lab) -> None:
    class Handler(TaskHandler[Job]):
        def handle(self, task: Job, ctx: TaskContext) -> int:
            if not restarted.is_set():
                never.wait(WAIT)
            return task.n

    never, restarted = lab.gate(), lab.gate()
    old = lab.system(Handler)
    old.dispatch_many([Job(n) for n in range(2500)], priority=3)
    old.dispatch_many([Job(n) for n in range(100)], priority=-3)
    lab.crash(old)
    restarted.set()
    system = lab.system(Handler)
    system.wait_idle(WAIT)
    assert system.counts()[TaskStatus.COMPLETED] == 2600


def test_a_retry_that_was_waiting_is_waited_for_by_wait_idle(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note(ctx.attempt)
        if ctx.attempt == 1:
            inside.set()
            yield go
            raise Bang

    inside, go = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=0.1))
    old = lab.system(handler)
    task = old.dispatch(Job())
    inside.pass_through()
    lab.close_pools(old)
    go.set()
    until(lambda: old.get(task.id).status is not TaskStatus.RUNNING)
    lab.crash(old)
    system = lab.system(handler)
    system.wait_idle(WAIT)
    assert diary == [1, 2]


def test_no_incarnation_is_given_the_number_of_one_that_was_forgotten(tmp_path: Path) -> None:
    """A slow starter adopts after a later node has come and gone; the next one must not follow in its steps."""

    class Slow(Probe):
        def adopt(self, types: Collection[str], now: int) -> Adoption:
            with ActorSystem(handlers=[handler], storage=url, name="passer-by") as system:
                assert system.dispatch(Job(1)).result(WAIT) == 1
            return super().adopt(types, now)

    url = f"sqlite:///{tmp_path}/tasks.db"
    handler = make_handler("sync", Job, lambda task, ctx: task.n)
    with (
        ActorSystem(handlers=[handler], storage=Slow(SqliteStorage(tmp_path / "tasks.db"))) as first,
        ActorSystem(handlers=[handler], storage=url) as second,
    ):
        assert [system.dispatch(Job(2)).result(WAIT) for system in (first, second)] == [2, 2]


PROGRAM = textwrap.dedent(
    """
    import os, sys, threading
    from everact import ActorSystem, Retry, task

    LEDGER = sys.argv[2]

    def write(line):
        with open(LEDGER, "a") as ledger:
            ledger.write(line + "\\n")
            ledger.flush()
            os.fsync(ledger.fileno())

    @task(name="step", retry=Retry(attempts=3, delay=0.01), concurrency=2)
    def step(n: int) -> int:
        write(f"run {n}")
        if len(sys.argv) > 3 and n == 5:
            print("five", flush=True)
            threading.Event().wait()
        return n

    if __name__ == "__main__":
        with ActorSystem(handlers=[step], storage=sys.argv[1]) as system:
            if len(sys.argv) > 3:
                for n in range(20):
                    write(f"ack {system.dispatch(step.task(n)).id} {n}")
                print("acknowledged", flush=True)
                threading.Event().wait()
            system.wait_idle(20)
    """
)


@pytest.mark.crash
def test_what_was_acknowledged_before_a_sigkill_is_completed_after_it(tmp_path: Path) -> None:
    program, ledger, url = tmp_path / "prog.py", tmp_path / "ledger", f"sqlite:///{tmp_path}/tasks.db"
    program.write_text(PROGRAM)
    first = subprocess.Popen(
        [sys.executable, str(program), url, str(ledger), "first"], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    assert {first.stdout.readline().strip(), first.stdout.readline().strip()} == {"five", "acknowledged"}
    first.send_signal(signal.SIGKILL)
    assert first.wait(WAIT) == -signal.SIGKILL
    assert subprocess.run([sys.executable, str(program), url, str(ledger)], timeout=60, check=False).returncode == 0
    lines = ledger.read_text().splitlines()
    acknowledged = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("ack")}
    assert len(acknowledged) == 20
    assert lines.count("run 5") == 2
    with ActorSystem(handlers=[], storage=url) as reader:
        records = reader.tasks(limit=1000)
    assert {str(record.id): record.result for record in records} == acknowledged
    assert {record.status for record in records} == {TaskStatus.COMPLETED}
