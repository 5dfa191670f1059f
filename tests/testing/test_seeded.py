"""The runtime seam is whole: production actors, journal and SQLite code run under a seed, crash, and go on."""

from __future__ import annotations

import pathlib
import threading
from typing import Any

import pytest

from everact import ActorSystem, Retry, Saga, Step, StorageError, TaskContext, TaskStatus, WorkflowState, task
from everact.testing.seeded import Deadlock, SeededRuntime

History = list[tuple[int, str, Any]]


class World:
    """One seeded world: a runtime, a file, and what the handlers did."""

    def __init__(self, seed: int, file: pathlib.Path, crash_at: int | None = None) -> None:
        self.runtime = SeededRuntime(seed, crash_at)
        self.history: History = []
        self.url = f"sqlite:///{file}"

    def system(self) -> ActorSystem:
        runtime, history = self.runtime, self.history

        @task(name="step", retry=Retry(attempts=3, delay=60, jitter=0.5), concurrency=2)
        def step(ctx: TaskContext, number: int, *, flaky: bool = False) -> int:
            history.append((runtime.now(), "step", number))
            if flaky and ctx.attempt == 1:
                raise OSError(number)
            ctx.dispatch(after.task(number))
            return number

        @task(name="after")
        def after(number: int) -> None:
            history.append((runtime.now(), "after", number))

        class Seeded(ActorSystem):
            _make_runtime = staticmethod(lambda: runtime)

        self.step = step
        return Seeded("world", handlers=[step, after], storage=self.url)


def play(world: World) -> tuple[History, dict[TaskStatus, int]]:
    """Dispatch five steps, one of them flaky; if the node dies on the way, start another one over its file."""
    system = world.system()
    acknowledged = 0
    try:
        system.start()
        for number in range(5):
            system.dispatch(world.step.task(number, flaky=number == 3))
            acknowledged += 1
        system.wait_idle(1000)
    except (StorageError, TimeoutError):
        assert world.runtime.crashed
    if world.runtime.crashed:
        engine = system._engine
        assert engine is not None
        assert engine.meter is not None
        engine.meter.close()
        engine.storage.abandon()
        system._engine, system.state = None, "killed"  # else it is stopped at exit
        system = world.system()
        system.start()
        for number in range(acknowledged, 5):
            system.dispatch(world.step.task(number, flaky=number == 3))
        system.wait_idle(1000)
    counts = system.counts()
    system.stop(10)
    world.runtime.end()
    return world.history, counts


def test_a_simulation_that_has_ended_leaves_no_thread_behind(tmp_path: pathlib.Path) -> None:
    before = set(threading.enumerate())
    for seed in range(6):
        _, counts = play(World(seed, tmp_path / f"{seed}.db", crash_at=2 + seed))
        assert counts[TaskStatus.COMPLETED] >= 10
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left), left


def test_a_run_without_a_crash_finishes_everything_in_virtual_time(tmp_path: pathlib.Path) -> None:
    history, counts = play(World(1, tmp_path / "world.db"))
    assert counts[TaskStatus.COMPLETED] == 10
    assert sorted(number for _, kind, number in history if kind == "after") == [0, 1, 2, 3, 4]
    retried = [moment for moment, kind, number in history if (kind, number) == ("step", 3)]
    assert len(retried) == 2
    assert 60_000_000 <= retried[1] - retried[0] <= 90_000_000


@pytest.mark.parametrize("seed", range(10))
def test_one_seed_is_one_history(seed: int, tmp_path: pathlib.Path) -> None:
    crash_at = seed % 9 + 1
    first = play(World(seed, tmp_path / "first.db", crash_at))
    second = play(World(seed, tmp_path / "second.db", crash_at))
    assert first == second


def test_seeds_differ_in_their_histories(tmp_path: pathlib.Path) -> None:
    histories = {repr(play(World(seed, tmp_path / f"{seed}.db"))[0]) for seed in range(8)}
    assert len(histories) > 4


@pytest.mark.parametrize("crash_at", range(1, 10))
@pytest.mark.parametrize("seed", [10, 11])
def test_what_was_acknowledged_before_a_crash_is_finished_after_it(
    seed: int, crash_at: int, tmp_path: pathlib.Path
) -> None:
    """Even seeds die after the commit has been written, odd ones before it."""
    world = World(seed, tmp_path / "world.db", crash_at)
    history, counts = play(world)
    assert world.runtime.crashed
    unfinished = sum(count for status, count in counts.items() if not status.terminal)
    assert unfinished == 0
    assert {number for _, kind, number in history if kind == "step"} == {0, 1, 2, 3, 4}
    # Each step that is completed has one follow-up; a dispatch whose outcome was unknown may be there twice.
    assert counts[TaskStatus.COMPLETED] in (10, 12)
    assert counts[TaskStatus.COMPLETED] + unfinished == sum(counts.values())


def test_a_storage_that_forgets_what_it_acknowledged_is_caught(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the same harness sees a loss when one is planted."""
    world = World(3, tmp_path / "world.db", crash_at=4)
    system = world.system()
    system.start()
    engine = system._engine
    assert engine is not None
    commit = engine.storage.commit
    held: list[Any] = []

    def acknowledge_before_commit(batch: Any) -> Any:
        from everact.storage.protocol import NOTHING_LOST

        held.append(batch)
        return NOTHING_LOST if len(held) < 3 else commit(batch)

    monkeypatch.setattr(engine.storage, "commit", acknowledge_before_commit)
    acknowledged = [system.dispatch(world.step.task(0)).id]
    assert engine.meter is not None
    engine.meter.close()
    engine.storage.abandon()
    system._engine, system.state = None, "killed"
    monkeypatch.undo()
    after = World(4, tmp_path / "world.db").system()
    after.start()
    assert {record.id for record in after.tasks()}.isdisjoint(acknowledged)
    after.stop(10)


@pytest.mark.parametrize("seed", range(5))
def test_waiting_until_a_system_is_idle_includes_what_a_failed_saga_has_to_undo(seed: int) -> None:
    runtime, undone = SeededRuntime(seed), list[int]()

    @task(name="do")
    def do(number: int) -> None: ...

    @task(name="undo")
    def undo(number: int) -> None:
        undone.append(number)

    @task(name="break", retry=Retry(attempts=1))
    def fail(number: int) -> None:
        raise OSError(number)

    class Seeded(ActorSystem):
        _make_runtime = staticmethod(lambda: runtime)

    saga = Saga("order", Step(do.task, undo.task, name="one"), Step(do.task, undo.task), Step(fail.task), input=int)
    with Seeded("world", handlers=[do, undo, fail, saga]) as system:
        order = system.dispatch(saga(7))
        system.wait_idle(1000)
        assert undone == [7, 7]
        assert system.workflow(order.id).state is WorkflowState.COMPENSATED
    runtime.end()


def test_a_wait_that_nobody_can_end_is_reported_as_a_deadlock() -> None:
    runtime = SeededRuntime(0)
    with pytest.raises(Deadlock, match="nobody can run: driver"):
        runtime.gate().wait()


def test_what_catches_the_end_of_a_simulation_does_not_go_on_with_the_next_task() -> None:
    """A cell catches whatever comes out of a turn; it asks for the time before it calls a handler."""
    runtime, went_on = SeededRuntime(0), list[int]()

    def turn() -> None:
        while True:
            try:
                runtime.gate().wait()
            except BaseException:
                went_on.append(runtime.now())

    runtime.spawn(turn, "cell")
    runtime.gate().wait(1)
    runtime.end()
    assert went_on == []
