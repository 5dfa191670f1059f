"""A batch that storage does not take: how often it is asked, who is told what, and that the rest goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from typing import Any
from uuid import UUID

import pytest

from everact import ActorSystem, CancelOutcome, StorageError, StorageUnavailable, TaskContext, TaskStatus, access
from everact.actors import journal as journal_module
from everact.actors.baton import Waiter
from everact.actors.messages import AwaitIdle, CancelTasks, StoreTasks
from everact.storage.protocol import Batch
from tests.engine.conftest import WAIT, Diary, Gate, Job, Lab, Next, make_handler, until

MANY = 200
NOBODY = UUID(int=5)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "REWRITE_SECONDS", 0.01)


def number(task: Any, ctx: TaskContext) -> int:
    return int(task.n)


class Held:
    """The journal waits in a commit; what is sent meanwhile becomes one batch."""

    def __init__(self, lab: Lab, system: ActorSystem) -> None:
        assert system._engine is not None
        self.engine = system._engine
        self.journal = self.engine.node.journal
        self.probe = lab.probe(system)
        self.sizes: list[int] = []
        self._gate: Gate = self.probe.hold()
        self._first = threading.Thread(target=self._dispatch_first, args=(system,), daemon=True)
        self._first.start()
        self.probe.wait_until_held()

    def _dispatch_first(self, system: ActorSystem) -> None:
        with contextlib.suppress(StorageUnavailable):
            system.dispatch(Next(0), delay=3600)

    def store(self, *tasks: Any) -> list[Waiter]:
        """Send each task in a message of its own."""
        waiters = [Waiter(self.engine.node.runtime.gate) for _ in tasks]
        for task, waiter in zip(tasks, waiters, strict=True):
            self.journal.submit(StoreTasks([access.prepare(self.engine, task, {})], waiter))
        return waiters

    def refuse(self, error: Callable[[Batch], BaseException | None]) -> None:
        """Refuse commits from now on, noting the sizes of those with new tasks; the first is the one that is held."""

        def refuse(batch: Batch) -> BaseException | None:
            follow_ups = sum(len(outcome.follow_ups) for outcome in batch.outcomes)
            if batch.inserts:
                self.sizes.append(len(batch.inserts) + len(batch.outcomes) + follow_ups)
            return error(batch)

        self.probe.refuse = refuse

    def release(self, *waiters: Waiter) -> None:
        """Let the journal go on, and wait for these answers."""
        self._gate.set()
        self._first.join(WAIT)
        for waiter in waiters:
            assert waiter.wait(WAIT)


def bad_row(batch: Batch) -> BaseException | None:
    return StorageError("bad row") if any(b"666" in record.payload for record in batch.inserts) else None


def test_one_offender_of_a_large_batch_is_found_by_halving(lab: Lab) -> None:
    system = lab.system(make_handler("sync", Job, number), make_handler("sync", Next, number))
    held = Held(lab, system)
    waiters = held.store(*[Job(666 if n == 77 else n) for n in range(MANY)])
    held.refuse(lambda batch: bad_row(batch) if MANY in held.sizes else None)
    held.release(*waiters)
    assert [place for place, waiter in enumerate(waiters) if waiter.error is not None] == [77]
    assert isinstance(waiters[77].error, StorageError)
    system.wait_idle(WAIT)
    assert [record.result for record in system.tasks(type=Job, limit=MANY)] == [n for n in range(MANY) if n != 77]
    assert len(held.sizes) < 40, "found one by one"


def test_a_broken_disk_is_asked_once_for_a_batch_and_everybody_is_told(lab: Lab) -> None:
    system = lab.system(make_handler("sync", Job, number), make_handler("sync", Next, number))
    held = Held(lab, system)
    waiters = held.store(*[Job(n) for n in range(MANY)])
    broken = StorageUnavailable("fsync failed", outcome="unknown")
    held.refuse(lambda batch: broken if batch.inserts and batch.inserts[0].payload == b'{"n":0}' else None)
    reads: list[bytes] = []
    real = held.probe.inner.get

    def get(id: bytes) -> Any:
        if MANY in held.sizes and id not in reads:
            reads.append(id)
            raise StorageUnavailable("disk I/O error")
        return real(id)

    held.probe.get = get  # type: ignore[method-assign]
    held.release(*waiters)
    told = [waiter.error for waiter in waiters]
    assert held.sizes.count(MANY) == 1
    assert {type(error) for error in told} == {StorageUnavailable}
    assert len({id(error) for error in told}) == MANY
    assert len({error.task_id for error in told if isinstance(error, StorageUnavailable)}) == MANY
    assert len(reads) == 1, "a disk that cannot be read is not asked for each task"


def test_an_outcome_in_a_batch_with_an_offender_is_written_once(lab: Lab, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(task.n)
        yield go
        ctx.dispatch(Next(task.n))
        return task.n

    go = lab.gate()
    system = lab.system(make_handler("sync", Job, handle), make_handler("sync", Next, number))
    running = system.dispatch(Job(1))
    until(lambda: diary.lines == [1])
    held = Held(lab, system)
    waiters = held.store(Next(666), Next(5))
    held.refuse(bad_row)
    go.set()
    until(lambda: held.journal.actor_inbox.qsize() == 3, "the outcome")
    held.release(*waiters)
    assert [waiter.error is None for waiter in waiters] == [False, True]
    assert held.sizes[:2] == [1, 4], "two tasks, an outcome and its follow-up were not one batch"
    assert running.result(WAIT) == 1
    system.wait_idle(WAIT)
    assert diary == [1]
    assert sorted(record.result for record in system.tasks(type=Next, status=TaskStatus.COMPLETED)) == [1, 5]


def test_who_waits_for_idle_is_not_told_of_a_batch_that_was_refused(lab: Lab) -> None:
    system = lab.system(make_handler("sync", Job, number), make_handler("sync", Next, number))
    held = Held(lab, system)
    waiters = held.store(Job(666), Job(1))
    idle = Waiter(held.engine.node.runtime.gate)
    held.journal.submit(AwaitIdle(idle))
    held.refuse(lambda batch: StorageUnavailable("disk I/O error") if batch.inserts and len(held.sizes) > 0 else None)
    held.release(*waiters, idle)
    assert idle.error is None
    assert idle.answer is True


def test_a_read_that_fails_while_a_cancel_is_planned_loses_no_outcome(lab: Lab, diary: Diary) -> None:
    """The cancel of a task that is not in memory asks storage; one beside it that is in memory is taken back."""

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(task.n)
        yield go
        return task.n

    go = lab.gate()
    system = lab.system(make_handler("sync", Job, handle), make_handler("sync", Next, number))
    running, later = system.dispatch(Job(1)), system.dispatch(Job(2), delay=3600)
    until(lambda: diary.lines == [1])
    held = Held(lab, system)
    real = held.probe.inner.get

    def get(id: bytes) -> Any:
        if id == NOBODY.bytes:
            raise StorageUnavailable("disk I/O error")
        return real(id)

    held.probe.get = get  # type: ignore[method-assign]
    cancel = CancelTasks([later.id.bytes, NOBODY.bytes], "", Waiter(held.engine.node.runtime.gate))
    held.journal.submit(cancel)
    go.set()
    until(lambda: held.journal.actor_inbox.qsize() == 2, "the outcome")
    assert cancel.waiter is not None
    held.release(cancel.waiter)
    assert isinstance(cancel.waiter.error, StorageUnavailable)
    assert running.result(WAIT) == 1
    assert later.status() is TaskStatus.SCHEDULED
    assert later.cancel() is CancelOutcome.CANCELLED
    assert diary == [1]


def test_an_outcome_survives_a_turn_that_failed_after_its_commit(
    lab: Lab, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        diary.note(task.n)
        ctx.dispatch(Next(task.n))
        return task.n

    system = lab.system(make_handler("sync", Job, handle), make_handler("sync", Next, number))
    assert system._engine is not None
    journal = system._engine.node.journal
    real = journal._settle
    failures: list[int] = []

    def settle(commit: Any, *rest: Any) -> None:
        if commit.finishes and not failures:
            failures.append(1)
            raise RuntimeError("a bug")
        real(commit, *rest)

    monkeypatch.setattr(journal, "_settle", settle)
    one = system.dispatch(Job(1))
    assert one.result(WAIT) == 1
    system.wait_idle(WAIT)
    assert diary == [1]
    assert failures == [1]
    assert [record.status for record in system.tasks()] == [TaskStatus.COMPLETED] * 2


def test_a_task_survives_a_turn_that_failed_after_its_commit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    system = lab.system(make_handler("sync", Job, number))
    assert system._engine is not None
    journal = system._engine.node.journal
    real = journal._settle
    failures: list[int] = []

    def settle(commit: Any, *rest: Any) -> None:
        if commit.stores and not failures:
            failures.append(1)
            raise RuntimeError("a bug")
        real(commit, *rest)

    monkeypatch.setattr(journal, "_settle", settle)
    monkeypatch.setattr(journal, "gathers", False)  # so that the caller is told
    with pytest.raises(StorageUnavailable) as caught:
        system.dispatch(Job(1))
    assert caught.value.outcome == "unknown"
    assert caught.value.task_id is not None
    assert system.wait(caught.value.task_id, WAIT).result == 1


def test_a_refused_cancel_of_a_task_that_came_due_meanwhile_leaves_nothing_parked(lab: Lab, diary: Diary) -> None:
    system = lab.system(make_handler("sync", Job, lambda task, ctx: diary.note(task.n)))
    assert system._engine is not None
    journal, probe = system._engine.node.journal, lab.probe(system)
    task = system.dispatch(Job(1), delay=3600)
    now = journal.runtime.now
    journal.runtime.now = lambda: now() + 7200 * 10**6  # type: ignore[method-assign]
    probe.refuse = lambda batch: StorageUnavailable("down") if batch.cancels else None
    with pytest.raises(StorageUnavailable):
        system.cancel(task.id)
    assert task.wait(WAIT).status is TaskStatus.COMPLETED
    assert (journal.tickets.resident, journal.tickets.parked) == ({}, {})
