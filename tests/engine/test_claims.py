"""Adopted tasks, between their claim and their start, while storage fails and users cancel."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from everact import CancelOutcome, Intensity, Retry, Settings, StorageUnavailable, TaskContext, TaskStatus
from everact.actors import journal as journal_module
from everact.actors.messages import ClaimTasks, InTurn
from everact.storage.protocol import Batch
from everact.tasks import status as st
from tests.engine.conftest import GRACE, WAIT, Bang, Diary, Job, Lab, Next, make_handler, until

SMALL = Settings(grace=GRACE, high_water=10)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab("sqlite", tmp_path)
    yield made
    made.clear_up()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "REWRITE_SECONDS", 0.01)


def waiting_one(lab: Lab, diary: Diary, **members: Any) -> tuple[Any, Any]:
    """Make a handler whose negative tasks wait for a gate."""

    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note(task.n)
        if task.n < 0:
            yield go
        return task.n

    go = lab.gate()
    return make_handler("sync", Job, handle, **members), go


def windows(system: Any) -> list[int]:
    return [window.claimed for window in system._engine.node.journal.router._claims._windows.values()]


def claims_written_but_unknown(lab: Lab, system: Any, times: int = 1) -> list[Batch]:
    """Have the next commits with claims fail after they were written."""
    probe, seen = lab.probe(system), list[Batch]()

    def refuse(batch: Batch) -> BaseException | None:
        if not batch.claims or len(seen) >= times:
            return None
        seen.append(batch)
        probe.inner.commit(batch)
        return StorageUnavailable("cut off", outcome="unknown")

    probe.refuse = refuse
    return seen


def test_a_claim_whose_commit_failed_after_it_was_written_is_known_again(lab: Lab, diary: Diary) -> None:
    handler, _ = waiting_one(lab, diary)
    dying = lab.idle_system(handler)
    tasks = dying.dispatch_many([Job(n) for n in range(5)])
    lab.crash(dying)
    system = lab.build(handler)
    seen = claims_written_but_unknown(lab, system)
    system.start()
    assert [system.wait(task.id, WAIT).status for task in tasks] == [TaskStatus.COMPLETED] * 5
    system.wait_idle(WAIT)
    assert diary == list(range(5))
    assert (len(seen), windows(system)) == (1, [0])


def test_a_claim_is_made_once_more_after_a_turn_that_failed(lab: Lab, diary: Diary) -> None:
    """To know a claim again takes a read, and that fails, too."""
    handler, _ = waiting_one(lab, diary)
    dying = lab.idle_system(handler)
    tasks = dying.dispatch_many([Job(n) for n in range(5)])
    lab.crash(dying)
    system = lab.build(handler)
    claims_written_but_unknown(lab, system)
    get, failing = lab.probe(system).inner.get, [1]

    def fail_once(id: bytes) -> Any:
        if failing:
            failing.pop()
            raise StorageUnavailable("cut off")
        return get(id)

    lab.probe(system).get = fail_once  # type: ignore[method-assign]
    system.start()
    until(lambda: len(diary.lines) == 5)
    assert not failing
    system.wait_idle(WAIT)
    assert {system.get(task.id).status for task in tasks} == {TaskStatus.COMPLETED}


def test_a_cancel_that_storage_refused_does_not_lose_a_claimed_task(lab: Lab, diary: Diary) -> None:
    handler, go = waiting_one(lab, diary)
    dying = lab.idle_system(handler, settings=SMALL)
    claimed = dying.dispatch_many([Job(n) for n in (0, -1, *range(1, 60))])[2]
    lab.crash(dying)
    system = lab.system(handler, settings=SMALL)
    probe = lab.probe(system)
    until(lambda: diary.count(-1) and probe.inner.get(claimed.id.bytes).status == st.RUNNING)  # type: ignore[union-attr]
    assert diary == [0, -1]
    probe.refuse = lambda batch: StorageUnavailable("down") if batch.cancels else None
    with pytest.raises(StorageUnavailable):
        system.cancel(claimed.id)
    go.set()
    assert system.wait(claimed.id, WAIT).status is TaskStatus.COMPLETED
    system.wait_idle(WAIT)
    assert windows(system) == [0]


def test_a_suspect_that_is_cancelled_while_its_claim_is_refused_holds_nobody_up(lab: Lab, diary: Diary) -> None:
    handler, go = waiting_one(lab, diary, concurrency=2)
    dying = lab.idle_system(handler)
    tasks = dying.dispatch_many([Job(-1), Job(-2)])
    lab.crash(dying)
    dying = lab.system(handler)
    until(lambda: len(diary.lines) == 2)
    lab.crash(dying)
    go.set()
    system = lab.build(handler)
    probe, refused = lab.probe(system), []

    def refuse(batch: Batch) -> BaseException | None:
        refused.extend(batch.claims)
        return StorageUnavailable("down") if batch.claims and not cancelled.is_set() else None

    cancelled = lab.gate()
    probe.refuse = refuse
    system.start()
    until(lambda: refused)
    assert system.cancel(tasks[0].id) is CancelOutcome.SIGNALLED
    cancelled.set()
    assert system.wait(tasks[0].id, WAIT).status is TaskStatus.CANCELLED
    assert system.wait(tasks[1].id, WAIT).status is TaskStatus.COMPLETED
    system.wait_idle(WAIT)


def test_a_task_that_another_node_has_cancelled_is_not_waited_for(lab: Lab, diary: Diary) -> None:
    handler, go = waiting_one(lab, diary)
    dying = lab.idle_system(handler)
    dying.dispatch(Job(-1))
    task = dying.dispatch(Job(1))
    lab.crash(dying)
    system, other = lab.system(handler), lab.system()
    until(lambda: diary.count(-1))
    assert other.cancel(task.id) is CancelOutcome.CANCELLED
    assert system.cancel(task.id) is CancelOutcome.ALREADY_FINISHED
    go.set()
    system.wait_idle(WAIT)
    assert diary == [-1]


def test_a_cancel_of_what_a_dead_process_was_running_is_a_request(lab: Lab, diary: Diary) -> None:
    def on_error(ctx: TaskContext, error: BaseException) -> None:
        diary.note(type(error).__name__)

    handler, _ = waiting_one(lab, diary, on_error=on_error)
    dying = lab.idle_system(handler)
    task = dying.dispatch(Job(-1))
    lab.crash(dying)
    dying = lab.system(handler)
    until(lambda: diary.count(-1))
    tool = lab.system()
    lab.crash(dying)
    assert tool.cancel(task.id) is CancelOutcome.SIGNALLED
    system = lab.system(handler)
    assert system.wait(task.id, WAIT).status is TaskStatus.CANCELLED
    assert diary == [-1, "TaskCancelled"]


def test_a_cancel_between_attempts_that_a_crash_interrupted_acts_at_the_next_start(lab: Lab, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise Bang

    handler = make_handler("sync", Job, handle, retry=Retry(attempts=2, delay=3600))
    dying = lab.system(handler)
    task = dying.dispatch(Job(1))
    until(lambda: task.record().attempt == 1 and task.status() is TaskStatus.SCHEDULED)
    lab.close_pools(dying)
    assert dying.cancel(task.id) is CancelOutcome.SIGNALLED
    lab.crash(dying)
    system = lab.system(handler)
    assert system.wait(task.id, WAIT).status is TaskStatus.CANCELLED


def test_a_follow_up_that_a_page_has_found_before_its_parents_commit_was_known_runs_once(
    lab: Lab, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note(task.n)
        if task.n == 1:
            ctx.dispatch(Job(2))

    monkeypatch.setattr(journal_module, "REWRITE_SECONDS", 0.3)
    system = lab.system(make_handler("sync", Job, handle))
    probe, cut = lab.probe(system), list[Batch]()

    def refuse(batch: Batch) -> BaseException | None:
        if cut or not any(outcome.follow_ups for outcome in batch.outcomes):
            return None
        cut.append(batch)
        probe.inner.commit(batch)
        return StorageUnavailable("cut off", outcome="unknown")

    probe.refuse = refuse
    task = system.dispatch(Job(1))
    until(lambda: cut)
    journal = system._engine.node.journal  # type: ignore[union-attr]
    system._engine.node.timer.call_after(0.0, lambda: look(journal))  # type: ignore[union-attr]
    assert system.wait(task.id, WAIT).status is TaskStatus.COMPLETED
    system.wait_idle(WAIT)
    assert diary == [1, 2]


def look(journal: Any) -> None:
    """Have the journal read pages, as a spilled pool does."""
    names = [name for pool in journal.router._pools for name in pool.names]
    journal.submit(InTurn(lambda now: journal.router.look_in_storage(now, names)))


def test_tasks_whose_commit_may_have_been_written_are_looked_for_when_storage_is_back(lab: Lab, diary: Diary) -> None:
    system = lab.system(make_handler("sync", Job, lambda task, ctx: diary.note(task.n)))
    probe = lab.probe(system)
    get = probe.get
    own = UUID(int=7)

    def refuse(batch: Batch) -> BaseException | None:
        probe.refuse = None
        probe.inner.commit(batch)
        return StorageUnavailable("cut off", outcome="unknown")

    def fail_once(id: bytes) -> Any:
        probe.get = get  # type: ignore[method-assign]
        raise StorageUnavailable("cut off")

    probe.refuse, probe.get = refuse, fail_once  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable):
        system.dispatch(Job(1), id=own)
    assert system.wait(own, WAIT).status is TaskStatus.COMPLETED
    assert diary == [1]


def unreliable(lab: Lab, task_type: type, diary: Diary) -> tuple[Any, Any, Any]:
    """Make a handler that cannot start before its second gate is opened; one failure suspends its pool.

    A start fails when the first gate is opened. The diary has the stored status of each task that runs.
    """

    def on_actor_start(self: Any) -> None:
        if not repaired.is_set():
            failing.wait(WAIT)
            raise Bang

    def handle(task: Any, ctx: TaskContext) -> int:
        diary.note(lab.probe(ctx.system).inner.get(ctx.task_id.bytes).status)  # type: ignore[union-attr]
        return int(task.n)

    failing, repaired = lab.gate(), lab.gate()
    members: dict[str, Any] = {"on_actor_start": on_actor_start, "intensity": Intensity(0, within=60), "pinned": False}
    return make_handler("sync", task_type, handle, **members), failing, repaired


def stored(lab: Lab, system: Any, task: UUID) -> int:
    record = lab.probe(system).inner.get(task.bytes)
    assert record is not None
    return record.status


def test_a_pool_that_is_suspended_gives_its_claims_back(lab: Lab, diary: Diary) -> None:
    handler, failing, repaired = unreliable(lab, Job, diary)
    old = lab.idle_system(handler)
    task = old.dispatch(Job(7)).id
    lab.crash(old)
    system = lab.system(handler)
    until(lambda: stored(lab, system, task) == st.RUNNING)
    failing.set()
    until(lambda: stored(lab, system, task) == st.QUEUED)
    lab.crash(system)
    repaired.set()
    system = lab.system(handler)
    assert system.task(task).result(WAIT) == 7
    assert system.get(task).crashes == 0, "it had not started in either crash"


def test_what_a_pool_has_given_back_is_claimed_again_when_it_works(lab: Lab, diary: Diary) -> None:
    handler, failing, repaired = unreliable(lab, Job, diary)
    old = lab.idle_system(handler)
    tasks = [old.dispatch(Job(n)).id for n in range(5)]
    lab.crash(old)
    system = lab.system(handler)
    until(lambda: stored(lab, system, tasks[0]) == st.RUNNING)
    failing.set()
    until(lambda: stored(lab, system, tasks[0]) == st.QUEUED)
    repaired.set()
    assert [system.task(task).result(WAIT) for task in tasks] == list(range(5))
    assert diary == [st.RUNNING] * 5


def test_a_suspect_of_a_suspended_pool_does_not_hold_up_the_others(lab: Lab, diary: Diary) -> None:
    broken, failing, repaired = unreliable(lab, Next, diary)
    sound, go = waiting_one(lab, diary)
    failing.set()

    def blocked(task: Next, ctx: TaskContext) -> Generator[Any, None, int]:
        diary.note("next")
        yield go
        return task.n

    old = lab.idle_system(make_handler("sync", Next, blocked), sound)
    first, second = old.dispatch(Next(1), priority=5).id, old.dispatch(Job(-1)).id
    lab.crash(old)
    old = lab.system(make_handler("sync", Next, blocked), sound)
    until(lambda: sorted(map(str, diary.lines)) == ["-1", "next"])
    lab.crash(old)
    go.set()
    system = lab.system(broken, sound)
    assert system.task(second).result(WAIT) == -1
    assert system.get(first).crashes == 1
    repaired.set()
    assert system.task(first).result(WAIT) == 1


def test_a_claim_that_a_stop_overtakes_is_not_made(lab: Lab, diary: Diary) -> None:
    handler, _ = waiting_one(lab, diary)
    old = lab.idle_system(handler)
    task = old.dispatch(Job(1)).id
    lab.crash(old)
    system = lab.idle_system(handler)
    router = system._engine.node.journal.router  # type: ignore[union-attr]
    ticket = router.load(system._engine.storage.get(task.bytes))  # type: ignore[union-attr, arg-type]
    assert ticket is not None
    router.submit(ClaimTasks([ticket]))  # it was in the mailbox when the pools were closed
    system.stop()
    assert diary == []
    system = lab.system(handler)
    assert system.task(task).result(WAIT) == 1
    assert [entry.event for entry in system.history(task)].count("recovered") == 0
