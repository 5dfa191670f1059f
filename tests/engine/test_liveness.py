"""Two nodes on one file: a living one takes over what a dead one leaves, and nothing from another living one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from everact import (
    Intensity,
    NotOwner,
    Settings,
    StorageUnavailable,
    TaskContext,
    TaskHandler,
    TaskNotFound,
    TaskStatus,
)
from everact import events as ev
from everact.actors.liveness import Liveness
from everact.storage.sqlite import SqliteStorage
from everact.tasks import status as st
from everact.testing import Simulation, What, drained
from tests.engine.conftest import GRACE, WAIT, Diary, Facts, Job, Lab, Next, make_handler, until


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab("sqlite", tmp_path)
    yield made
    made.clear_up()


def test_a_living_node_runs_what_a_dead_one_left(lab: Lab, kind: str, diary: Diary) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: diary.note(task.n))
    dying, living = lab.idle_system(handler), lab.system(handler)
    tasks = dying.dispatch_many([Job(n) for n in range(20)])
    later = dying.dispatch(Job(20), delay=0.2)
    lab.crash(dying)
    for task in [*tasks, later]:
        assert living.wait(task.id, WAIT).status is TaskStatus.COMPLETED
    assert diary == list(range(21))


def test_a_living_node_runs_what_a_stopped_one_left(lab: Lab, kind: str, diary: Diary) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: diary.note(task.n))
    stopping = lab.idle_system(handler)
    lab.system(handler)
    stopping.dispatch_many([Job(n) for n in range(20)])
    stopping.stop()
    until(lambda: len(diary.lines) == 20)
    assert diary == list(range(20))


def test_nothing_is_taken_from_a_living_node(lab: Lab, kind: str, diary: Diary) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: diary.note(task.n))
    first, second = lab.idle_system(handler), lab.system(handler)
    task = first.dispatch(Job(1))
    adoptions = threading.Semaphore(0)
    lab.probe(second).on_adopt = adoptions.release
    for _ in range(2):
        assert adoptions.acquire(timeout=WAIT)
    assert diary == []
    with pytest.raises(NotOwner):
        second.cancel(task.id)


def test_a_task_of_a_type_that_only_the_other_node_handles_waits_for_that_one(lab: Lab, kind: str) -> None:
    job, other = make_handler(kind, Job, lambda task, ctx: task.n), make_handler(kind, Next, lambda task, ctx: task.n)
    dying = lab.idle_system(job, other)
    mine, foreign = dying.dispatch(Job(1)), dying.dispatch(Next(2))
    living = lab.build(job)
    facts = Facts(living)
    living.start()
    lab.crash(dying)
    assert living.wait(mine.id, WAIT).result == 1
    unhandled = facts.first(ev.TypeUnhandled)
    assert (unhandled.type.endswith("Next"), unhandled.count) == (True, 1)
    assert living.get(foreign.id).status is TaskStatus.QUEUED
    third = lab.system(other)
    assert third.wait(foreign.id, WAIT).result == 2
    assert len(facts.of(ev.TypeUnhandled)) == 1


def test_wait_idle_waits_for_what_was_adopted(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        yield go
        diary.note(task.n)

    inside, go = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle)
    dying, living = lab.idle_system(handler), lab.system(handler)
    dying.dispatch(Job(1))
    lab.crash(dying)
    inside.pass_through()
    threading.Timer(0.05, go.set).start()
    living.wait_idle(WAIT)
    assert diary == [1]


def test_what_runs_for_a_while_is_written_down_so_that_a_crash_counts(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        inside.set()
        yield never, "deaf"
        return 1

    inside, never = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle)
    system = lab.system(handler)
    task = system.dispatch(Job())
    inside.pass_through()
    until(lambda: lab.probe(system).inner.get(task.id.bytes).status == st.RUNNING)  # type: ignore[union-attr]
    lab.crash(system)
    system = lab.idle_system(handler)
    record = system.get(task.id)
    assert (record.status, record.crashes) == (TaskStatus.QUEUED, 1)
    assert [entry.event for entry in system.history(task.id)] == ["created", "recovered"]


def test_a_task_that_was_written_down_as_running_ends_as_any_other(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        yield go
        ctx.dispatch(Next(2))
        return 1

    go = lab.gate()
    system = lab.system(make_handler(kind, Job, handle), make_handler(kind, Next, lambda task, ctx: task.n))
    task = system.dispatch(Job())
    until(lambda: lab.probe(system).inner.get(task.id.bytes).status == st.RUNNING)  # type: ignore[union-attr]
    go.set()
    assert task.result(WAIT) == 1
    system.wait_idle(WAIT)
    assert [record.result for record in system.tasks()] == [1, 2]


def test_looking_for_dead_nodes_goes_on_after_it_has_failed(
    lab: Lab, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    handler = make_handler("sync", Job, lambda task, ctx: diary.note(task.n))
    dying, living = lab.idle_system(handler), lab.system(handler)
    dying.dispatch(Job(1))
    lab.probe(living).fail_adopt = StorageUnavailable("busy")
    lab.crash(dying)
    until(lambda: "looking for dead nodes failed" in caplog.text)
    lab.probe(living).fail_adopt = None
    until(lambda: diary == [1])


def test_what_another_process_requeues_is_run_without_a_restart(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        if not fixed.is_set():
            raise ValueError
        return task.n

    fixed = lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    task = system.dispatch(Job(4))
    assert task.wait(WAIT).status is TaskStatus.FAILED
    fixed.set()
    tool = lab.system()
    again = tool.requeue(task.id)
    tool.stop()
    assert system.task(again.id).result(WAIT) == 4


def test_finished_tasks_are_deleted_after_their_time(lab: Lab, kind: str) -> None:
    settings = Settings(grace=GRACE, retention=0.1)
    system = lab.system(make_handler(kind, Job, lambda task, ctx: task.n), settings=settings)
    done, later = system.dispatch(Job(1)), system.dispatch(Job(2), delay=3600)
    assert done.result(WAIT) == 1
    until(lambda: [record.id for record in system.tasks()] == [later.id])
    with pytest.raises(TaskNotFound):
        system.get(done.id)


def test_who_waits_for_a_dead_nodes_task_is_told_when_another_node_has_run_it(lab: Lab, kind: str) -> None:
    dying = lab.idle_system(make_handler(kind, Job, lambda task, ctx: task.n))
    task = dying.dispatch(Job(3))
    bystander = lab.system()
    lab.crash(dying)
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(bystander.task(task.id).result(WAIT)))
    asking.start()
    until(lambda: len(bystander._engine.node.journal.watchers) == 1)  # type: ignore[union-attr]
    lab.system(make_handler(kind, Job, lambda task, ctx: task.n))
    asking.join(WAIT)
    assert answers == [3]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each incarnation has looked for what others have left or made."""
    counted: Counter[int] = Counter()
    adopt = SqliteStorage.adopt

    def count(storage: SqliteStorage, types: Collection[str], now: int) -> Any:
        counted[storage._incarnation] += 1
        return adopt(storage, types, now)

    monkeypatch.setattr(SqliteStorage, "adopt", count)
    return counted


def test_where_nothing_happens_nobody_looks(looks: Counter[int]) -> None:
    with Simulation([make_handler("sync", Job, lambda task, ctx: task.n)], nodes=2, storage="sqlite") as sim:
        sim.advance(5)
        at_rest = looks.copy()
        sim.advance(60)
        assert looks == at_rest
        sim.dispatch(Job(1), node="node-1")
        sim.advance(5)
        assert all(looks[node] > at_rest[node] for node in (1, 2))
        at_rest = looks.copy()
        sim.advance(60)
        assert looks == at_rest
        sim.kill("node-2")
        sim.advance(5)
        assert looks[1] > at_rest[1]


def test_a_look_that_has_failed_is_repeated_though_nothing_has_changed(looks: Counter[int], monkeypatch: Any) -> None:
    def refuse(storage: SqliteStorage, types: Collection[str]) -> None:
        raise StorageUnavailable("for a while")

    with Simulation([make_handler("sync", Job, lambda task, ctx: task.n)], storage="sqlite") as sim:
        sim.advance(5)
        with monkeypatch.context() as failing:
            failing.setattr(SqliteStorage, "asked", refuse)
            sim.dispatch(Job(1))
            sim.advance(5)
            at_rest = looks.copy()
            sim.advance(10)
            assert looks[1] == at_rest[1] + 20
        sim.advance(5)
        at_rest = looks.copy()
        sim.advance(60)
        assert looks == at_rest


def test_a_page_that_could_not_be_read_is_read_again_though_nothing_has_changed(monkeypatch: Any) -> None:
    def refuse(storage: SqliteStorage, *args: Any) -> None:
        raise StorageUnavailable("for a while")

    with Simulation([make_handler("sync", Job, lambda task, ctx: task.n)], storage="sqlite") as sim:
        task = sim.dispatch(Job(1), delay=60)
        sim.kill()
        with monkeypatch.context() as failing:
            failing.setattr(SqliteStorage, "ready", refuse)
            failing.setattr(SqliteStorage, "scheduled", refuse)
            sim.restart()
            sim.advance(100)
            unread = task.status()
        sim.advance(2)
        assert [unread, task.status()] == [TaskStatus.QUEUED, TaskStatus.COMPLETED]


class FragileHandler(TaskHandler[Job]):
    """Cannot start before virtual second 30."""

    intensity = Intensity(1, within=60)
    sim: Simulation

    def handle(self, task: Job, ctx: TaskContext) -> None:
        """Can only be called later."""

    def on_actor_start(self) -> None:
        if self.sim.time < 30:
            raise ConnectionError


def test_what_was_adopted_starts_as_soon_as_its_pool_works_again() -> None:
    with Simulation([FragileHandler], storage="sqlite", events=True) as sim:
        FragileHandler.sim = sim
        sim.dispatch(Job(1), delay=5)
        sim.kill()
        sim.restart()
        sim.run(until=drained, timeout=300)
        resumed = [event.time for event in sim.history.of(What.TOLD) if event.detail == "PoolResumed"]
        assert [event.time for event in sim.history.of(What.STARTED)] == resumed


def test_a_tick_that_fails_is_not_the_last_one(looks: Counter[int], monkeypatch: Any) -> None:
    """A bug of ours there must not keep the work of dead nodes waiting for ever."""

    def fail(*args: Any) -> None:
        raise RuntimeError("planted")

    with Simulation([make_handler("sync", Job, lambda task, ctx: task.n)], nodes=2, storage="sqlite") as sim:
        with monkeypatch.context() as failing:
            failing.setattr(Liveness, "_running_long", fail)
            sim.advance(5)
        sim.kill("node-2")
        before = looks[1]
        sim.advance(5)
        assert looks[1] > before


def test_a_task_that_ends_while_ticks_look_at_it_does_no_harm() -> None:
    class Ending:
        """A cell whose task ends as soon as somebody has looked."""

        seen = 0

        @property
        def current(self) -> object:
            self.seen += 1
            ended = SimpleNamespace(started=0, closed=True, ticket=SimpleNamespace(record=SimpleNamespace(status=1)))
            return ended if self.seen == 1 else None

    liveness = object.__new__(Liveness)
    liveness._pools = [SimpleNamespace(cells=[Ending()])]  # type: ignore[list-item]
    assert liveness._running_long(10**9) == []
