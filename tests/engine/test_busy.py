"""Another process keeps the database locked: commits wait for it, and nothing is lost or doubled."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from everact import ActorSystem, Settings, StorageBusy, StorageUnavailable, TaskContext
from everact.actors import journal as journal_module
from everact.tasks.status import TaskStatus
from tests.engine.conftest import GRACE, WAIT, Diary, Job, Lab, Next, make_handler, until

STOP_PROMISE = GRACE + 5.0


class Locker:
    """Another connection, as of another process, which takes and leaves the write lock."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=WAIT)

    def lock(self) -> None:
        """Take the lock."""
        self._connection.execute("BEGIN IMMEDIATE")

    def unlock(self) -> None:
        """Leave it."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Leave the lock and the file."""
        self.unlock()
        self._connection.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab("sqlite", tmp_path)
    yield made
    made.clear_up()


@pytest.fixture
def locker(lab: Lab) -> Iterator[Locker]:
    lab.build(make_handler("sync", Job, number))._storage.open(1)  # makes the file
    for probe in lab._probes.values():
        probe.close()
    made = Locker(lab.path)
    yield made
    made.close()


def number(task: Any, ctx: TaskContext) -> int:
    return int(task.n)


def in_thread(call: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=call, args=args, daemon=True)
    thread.start()
    return thread


def tries_of(lab: Lab, system: ActorSystem) -> list[int]:
    """Count the commits that the journal asks storage for, which `Probe.batches` counts only if they succeed."""
    probe = lab.probe(system)
    tries: list[int] = []
    real = probe.inner.commit

    def counted(batch: Any) -> Any:
        tries.append(len(tries))
        return real(batch)

    probe.inner.commit = counted  # type: ignore[method-assign]
    return tries


def test_a_dispatch_waits_for_a_lock_and_is_stored_once(lab: Lab, locker: Locker) -> None:
    system = lab.system(make_handler("sync", Job, number))
    tries = tries_of(lab, system)
    locker.lock()
    handles: list[Any] = []
    waiting = in_thread(lambda: handles.append(system.dispatch(Job(7))))
    until(lambda: len(tries) > 2, "a second and a third try")
    locker.unlock()
    waiting.join(WAIT)
    assert handles[0].result(WAIT) == 7
    assert len(system.tasks()) == 1


def test_an_outcome_waits_for_a_lock_and_its_handler_runs_once(lab: Lab, locker: Locker, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        diary.note(task.n)
        locker.lock()
        ctx.dispatch(Next(task.n))
        return task.n

    system = lab.system(make_handler("sync", Job, handle), make_handler("sync", Next, number))
    handle_of = system.dispatch(Job(1))
    tries = tries_of(lab, system)
    until(lambda: len(tries) > 2, "a second and a third try")
    locker.unlock()
    assert handle_of.result(WAIT) == 1
    system.wait_idle(WAIT)
    assert diary == [1]
    assert len(system.tasks(type=Next)) == 1


def test_a_lock_that_stays_is_told_as_refused_and_nothing_is_stored(lab: Lab, locker: Locker) -> None:
    system = lab.system(make_handler("sync", Job, number), settings=Settings(commit_timeout=1.0, grace=GRACE))
    locker.lock()
    with pytest.raises(StorageBusy, match="another process") as caught:
        system.dispatch(Job(1))
    assert caught.value.outcome == "refused"
    locker.unlock()
    assert system.dispatch(Job(2)).result(WAIT) == 2
    assert [record.result for record in system.tasks()] == [2]


def test_an_outcome_that_met_a_lock_to_the_end_is_written_later(
    lab: Lab, locker: Locker, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "REWRITE_SECONDS", 0.01)

    def handle(task: Job, ctx: TaskContext) -> int:
        diary.note(task.n)
        locker.lock()
        return task.n

    system = lab.system(make_handler("sync", Job, handle), settings=Settings(commit_timeout=0.2, grace=GRACE))
    running = system.dispatch(Job(1))
    refused = threading.Event()
    monkeypatch.setattr(journal_module.logger, "error", lambda *args, **kwargs: refused.set())
    assert refused.wait(WAIT)
    locker.unlock()
    assert running.result(WAIT) == 1
    assert diary == [1]


def test_a_caller_who_gave_up_finds_the_task_stored_once_under_the_same_id(lab: Lab, locker: Locker) -> None:
    """Its message came while the journal waited for another one: when it gives up, nobody can know yet."""
    system = lab.system(make_handler("sync", Job, number), settings=Settings(commit_timeout=1.0, grace=GRACE))
    tries = tries_of(lab, system)
    locker.lock()

    def first() -> None:
        with pytest.raises(StorageUnavailable):
            system.dispatch(Job(1))

    earlier = in_thread(first)
    until(lambda: len(tries) > 1, "a second try")
    chosen = uuid4()
    with pytest.raises(StorageUnavailable) as caught:
        system.dispatch(Job(2), id=chosen)
    assert (type(caught.value), caught.value.outcome) == (StorageUnavailable, "unknown")
    locker.unlock()
    earlier.join(WAIT)
    assert system.dispatch(Job(2), id=chosen).result(WAIT) == 2
    assert [record.result for record in system.tasks()] == [2]


def test_a_stop_while_the_database_is_locked_keeps_its_promise(lab: Lab, locker: Locker) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        locker.lock()
        return task.n

    system = lab.system(make_handler("sync", Job, handle), make_handler("sync", Next, number))
    tries = tries_of(lab, system)
    ended = system.dispatch(Job(1))
    until(lambda: len(tries) > 2, "the outcome's second try")
    began = time.monotonic()
    system.stop(timeout=0)
    assert time.monotonic() - began < STOP_PROMISE
    locker.unlock()
    again = lab.system(make_handler("sync", Job, number))
    assert again.wait(ended.id, WAIT).status is TaskStatus.COMPLETED


def test_a_start_waits_for_a_lock(lab: Lab, locker: Locker) -> None:
    system = lab.build(make_handler("sync", Job, number))
    locker.lock()
    threading.Timer(0.5, locker.unlock).start()
    system.start()
    assert system.dispatch(Job(1)).result(WAIT) == 1
