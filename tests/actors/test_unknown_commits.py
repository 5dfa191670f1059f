"""A commit that fails after it was written: callers are told "unknown", and the work goes on all the same."""

from __future__ import annotations

import pathlib
import threading
from typing import Any
from uuid import uuid4

import pytest

from everact import ActorSystem, StorageUnavailable, TaskContext, TaskStatus, task
from everact.actors.commit import still_new
from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Batch, Committed, Storage
from everact.storage.sqlite import SqliteStorage
from everact.tasks.record import Record
from everact.tasks.status import COMPLETED, QUEUED

WAIT = 10.0


@task
def child(n: int) -> int:
    return n


@task
def parent(ctx: TaskContext, n: int) -> int:
    ctx.dispatch(child.task(n))
    return n


class WritesAndFails:
    """A storage whose next commits that `picks` chooses are written, and answered with an error."""

    def __init__(self, inner: Storage) -> None:
        self._inner = inner
        self.picks: Any = lambda batch: False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def commit(self, batch: Batch) -> Committed:
        committed = self._inner.commit(batch)
        if self.picks(batch):
            self.picks = lambda batch: False
            msg = "fsync failed"
            raise StorageUnavailable(msg, outcome="unknown")
        return committed


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Any:
    return WritesAndFails(MemoryStorage() if request.param == "memory" else SqliteStorage(tmp_path / "tasks.db"))


def test_a_task_whose_dispatch_ended_unknown_is_run_and_the_same_id_settles_it(storage: Any) -> None:
    with ActorSystem(handlers=[child, parent], storage=storage) as system:
        chosen = uuid4()
        storage.picks = lambda batch: batch.inserts
        with pytest.raises(StorageUnavailable) as caught:
            system.dispatch(child.task(7), id=chosen)
        assert caught.value.outcome == "unknown"
        assert system.wait(chosen, WAIT).status is TaskStatus.COMPLETED
        assert system.dispatch(child.task(7), id=chosen).result(WAIT) == 7
        assert len(system.tasks()) == 1


def test_an_outcome_that_was_written_is_not_taken_for_a_fenced_one(storage: Any) -> None:
    with ActorSystem(handlers=[child, parent], storage=storage) as system:
        storage.picks = lambda batch: batch.outcomes
        assert system.dispatch(parent.task(3)).result(WAIT) == 3
        system.wait_idle(WAIT)
        assert [(record.type.rpartition(".")[2], record.result) for record in system.tasks()] == [
            ("parent", 3),
            ("child", 3),
        ]
        assert {record.status for record in system.tasks()} == {TaskStatus.COMPLETED}


def test_an_adopted_task_whose_claim_was_written_is_run(storage: Any) -> None:
    """Sent once more, the claim does not fit its row; left at that, the task would be RUNNING until the next start."""
    with ActorSystem(handlers=[child, parent], storage=storage) as first:
        left = first.dispatch(child.task(7), delay=0.2).id
    claims: list[Batch] = []

    def is_claim(batch: Batch) -> bool:
        claims.extend([batch] * bool(batch.claims))
        return bool(batch.claims)

    storage.picks = is_claim
    with ActorSystem(handlers=[child, parent], storage=storage) as system:
        assert system.wait(left, WAIT).result == 7
        system.wait_idle(WAIT)
    assert len(claims) == 1, "no claim was made, so nothing was tested"


def test_a_subscriber_is_no_reason_for_an_outcome_that_was_written_to_be_settled_in_half(storage: Any) -> None:
    """What it has dispatched may have started, even ended, before the outcome is sent a second time."""
    told: list[str] = []
    with ActorSystem(handlers=[child, parent], storage=storage) as system:
        system.events.subscribe(lambda event: told.append(type(event).__name__))
        storage.picks = lambda batch: batch.outcomes
        assert system.dispatch(parent.task(3)).result(WAIT) == 3
        system.wait_idle(WAIT)
        assert system.health().restarts == 0
    assert "ActorRestarted" not in told


def test_a_task_whose_cancel_was_written_after_all_never_starts(storage: Any) -> None:
    """It had been put back into its queue when the commit seemed to have failed."""
    going, ran = threading.Event(), list[int]()

    @task(name="slow")
    def slow(n: int) -> None:
        ran.append(n)
        assert going.wait(WAIT)

    with ActorSystem(handlers=[slow], storage=storage) as system:
        first, second = system.dispatch(slow.task(1)), system.dispatch(slow.task(2))
        storage.picks = lambda batch: batch.cancels
        with pytest.raises(StorageUnavailable):
            second.cancel()
        going.set()
        assert first.wait(WAIT).status is TaskStatus.COMPLETED
        assert second.wait(WAIT).status is TaskStatus.CANCELLED
        system.wait_idle(WAIT)
    assert ran == [1]


def test_what_has_ended_meanwhile_is_not_new_though_storage_has_kept_the_very_record_that_was_sent() -> None:
    record = Record(id=b"1" * 16, type="child", payload=b"7", due=0, created=0, status=QUEUED, seq=1)
    assert still_new(record, record)
    record.status = COMPLETED
    assert not still_new(record, record)
