"""A full disk: new tasks are refused, what runs can end, and there is no restart afterwards."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from typing import Any

import pytest

from everact import ActorSystem, CancelOutcome, StorageFull, TaskContext, TaskStatus
from everact.actors import journal as journal_module
from everact.actors import reserve as reserve_module
from everact.actors.messages import InTurn
from everact.storage.protocol import Batch
from tests.engine.conftest import WAIT, Diary, Job, Lab, Next, make_handler, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "REWRITE_SECONDS", 0.01)
    monkeypatch.setattr(reserve_module, "RESTORE_SECONDS", 0.01)


def number(task: Any, ctx: TaskContext) -> int:
    return int(task.n)


class Disk:
    """A disk that is full when the test says so, with a reserve for some commits."""

    def __init__(self, lab: Lab, system: ActorSystem, reserve: int) -> None:
        self.full = False
        self.reserve, self.left = reserve, 0
        self.asked: list[Batch] = []
        self.releases = 0
        probe = lab.probe(system)
        probe.refuse = self._refuse
        probe.release_reserve = self._release  # type: ignore[method-assign]
        probe.restore_reserve = self._restore  # type: ignore[method-assign]

    def _refuse(self, batch: Batch) -> BaseException | None:
        self.asked.append(batch)
        if self.full and self.left == 0:
            return StorageFull("no room")
        self.left -= self.full
        return None

    def _release(self) -> bool:
        self.releases += 1
        self.left, self.reserve = self.reserve, 0
        return self.left > 0

    def _restore(self) -> bool:
        return not self.full


def holding(lab: Lab, diary: Diary) -> tuple[Any, Any]:
    """A handler that runs until its gate is opened, and then has a follow-up."""

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(task.n)
        yield go
        ctx.dispatch(Next(task.n))
        return task.n

    go = lab.gate()
    return make_handler("sync", Job, handle, concurrency=4), go


def test_what_runs_ends_from_the_reserve_while_new_tasks_are_refused(lab: Lab, diary: Diary) -> None:
    handler, go = holding(lab, diary)
    system = lab.system(handler, make_handler("sync", Next, number))
    disk = Disk(lab, system, reserve=1000)
    running = system.dispatch_many([Job(1), Job(2), Job(3)])
    until(lambda: len(diary.lines) == 3)
    disk.full = True
    with pytest.raises(StorageFull, match="no room"):
        system.dispatch(Next(0))
    assert disk.releases == 0, "a dispatch has used the reserve"
    go.set()
    assert [handle.result(WAIT) for handle in running] == [1, 2, 3]
    system.wait_idle(WAIT)
    assert disk.releases == 1
    asked = len(disk.asked)
    with pytest.raises(StorageFull, match="dispatch works again"):
        system.dispatch_many([Next(0)] * 3)
    assert len(disk.asked) == asked, "a dispatch was tried in the room that is kept for outcomes"
    disk.full = False
    until(lambda: not system._engine.node.journal.reserve.used)  # type: ignore[union-attr]
    assert system.dispatch(Next(7)).result(WAIT) == 7
    assert sorted(diary.lines) == [1, 2, 3]
    assert sorted(record.result for record in system.tasks(type=Next)) == [1, 2, 3, 7]


def test_without_a_reserve_outcomes_wait_for_room(lab: Lab, diary: Diary) -> None:
    """The control: in the test above it is the reserve that lets work end."""
    handler, go = holding(lab, diary)
    system = lab.system(handler, make_handler("sync", Next, number))
    disk = Disk(lab, system, reserve=0)
    running = system.dispatch(Job(1))
    until(lambda: diary.lines == [1])
    disk.full = True
    go.set()
    until(lambda: len([batch for batch in disk.asked if batch.outcomes]) > 5, "the outcome's tries")
    assert running.status() is TaskStatus.RUNNING
    disk.full = False
    assert running.result(WAIT) == 1
    system.wait_idle(WAIT)
    assert diary == [1]
    assert len(system.tasks(type=Next)) == 1


def test_a_cancel_works_on_a_full_disk(lab: Lab) -> None:
    system = lab.system(make_handler("sync", Next, number))
    later = system.dispatch(Next(1), delay=3600)
    disk = Disk(lab, system, reserve=1000)
    disk.full = True
    assert later.cancel() is CancelOutcome.CANCELLED
    assert disk.releases == 1


def test_new_tasks_beside_an_outcome_do_not_use_the_reserve_if_the_outcome_fits_without_them(
    lab: Lab, diary: Diary
) -> None:
    handler, go = holding(lab, diary)
    system = lab.system(handler, make_handler("sync", Next, number))
    disk = Disk(lab, system, reserve=1000)
    probe = lab.probe(system)
    running = system.dispatch(Job(1))
    until(lambda: diary.lines == [1])
    probe.refuse = lambda batch: StorageFull("no room") if batch.inserts else None
    go.set()
    with pytest.raises(StorageFull):
        system.dispatch(Next(0))
    assert running.result(WAIT) == 1
    assert disk.releases == 0


def test_a_full_disk_and_its_end_are_told_once_each(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    system = lab.system(make_handler("sync", Next, number))
    scheduled = [system.dispatch(Next(n), delay=3600) for n in range(3)]
    disk = Disk(lab, system, reserve=1000)
    disk.full = True
    with caplog.at_level(logging.WARNING, "everact.journal"):
        for task in scheduled:
            task.cancel()
        disk.full = False
        until(lambda: len(caplog.records) > 1, "the end")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "new tasks are refused" in caplog.records[0].message
    assert "new tasks are taken" in caplog.records[1].message


def test_a_database_that_must_not_grow_refuses_and_recovers_by_itself(lab: Lab, diary: Diary) -> None:
    if lab.backend == "memory":
        pytest.skip("memory:// has no pages")

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        diary.note(task.n)
        yield go
        return "x" * 20_000

    go = lab.gate()
    system = lab.system(make_handler("sync", Job, handle, concurrency=4), make_handler("sync", Next, number))
    running = system.dispatch_many([Job(1), Job(2), Job(3)])
    until(lambda: len(diary.lines) == 3)
    inner: Any = lab.probe(system).inner

    def limit(more: int) -> None:
        """In the journal's turn, where its connection is in nobody's hands: the limit is the connection's."""
        done = threading.Event()

        def apply(now: int) -> None:
            with inner._opened().writer() as writer:
                (pages,) = writer.execute("PRAGMA page_count").fetchone()
                writer.execute(f"PRAGMA max_page_count = {pages + more}")
            done.set()

        assert system._engine is not None
        system._engine.node.journal.submit(InTurn(apply))
        assert done.wait(WAIT)

    system.dispatch(Next(0)).wait(WAIT)
    before = len(system.tasks())
    limit(0)
    for _ in range(3):
        with pytest.raises(StorageFull, match="nothing was stored"):
            system.dispatch_many([Next(1)] * 100)
    go.set()
    until(lambda: system._engine.node.journal.reserve.used, "the first outcome's refusal")  # type: ignore[union-attr]
    assert [handle.status() for handle in running] == [TaskStatus.RUNNING] * 3
    limit(1000)
    assert [handle.result(WAIT) for handle in running] == ["x" * 20_000] * 3
    until(lambda: not system._engine.node.journal.reserve.used)  # type: ignore[union-attr]
    assert system.dispatch(Next(2)).result(WAIT) == 2
    assert sorted(diary.lines) == [1, 2, 3]
    assert len(system.tasks()) == before + 1


def test_a_node_takes_over_on_a_full_disk_from_the_reserve(lab: Lab) -> None:
    handler = make_handler("sync", Job, number)
    old = lab.idle_system(handler)
    task = old.dispatch(Job(4)).id
    lab.crash(old)
    system = lab.build(handler)
    disk = Disk(lab, system, reserve=9)
    probe = lab.probe(system)
    disk.full = True

    def adopt() -> None:
        if disk.left == 0:
            raise StorageFull("no room")

    probe.on_adopt = adopt
    system.start()
    assert system.task(task).result(WAIT) == 4
    with pytest.raises(StorageFull):
        system.dispatch(Job(5))
    disk.full, probe.on_adopt = False, lambda: None
    until(lambda: not system._engine.node.journal.reserve.used)  # type: ignore[union-attr]
    assert system.dispatch(Job(5)).result(WAIT) == 5


def test_a_node_that_cannot_take_over_on_a_full_disk_says_so(lab: Lab) -> None:
    system = lab.build(make_handler("sync", Job, number))
    Disk(lab, system, reserve=0).full = True
    lab.probe(system).fail_adopt = StorageFull("no room")
    with pytest.raises(StorageFull):
        system.start()
