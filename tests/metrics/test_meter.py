"""A running system as a scrape sees it: what it reads, when it reads it, and what it never waits for."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from everact import (
    Actor,
    ActorSystem,
    Backoff,
    ChildSpec,
    Directive,
    Intensity,
    StorageUnavailable,
    TaskHandler,
    TaskStatus,
    task,
)
from everact.actors.ticket import current_delivery
from everact.meter import Meter
from everact.metrics.snapshot import TaskState
from everact.storage.protocol import Waiting

WAIT = 10.0
AT_ONCE = Backoff(0, most=0, jitter=0)


@task(name="Add")
def add(a: int, b: int) -> int:
    return a + b


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def meter_of(system: ActorSystem) -> Meter:
    meter = system._engine.meter  # type: ignore[union-attr]
    assert meter is not None
    return meter


def state_of(system: ActorSystem) -> TaskState:
    (state,) = meter_of(system).snapshot().tasks
    return state


def wait_as(system: ActorSystem, waiting: Callable[..., list[Waiting]]) -> None:
    """Have the storage of a system count what waits in another way."""
    system._engine.storage.waiting = waiting  # type: ignore[union-attr, method-assign]


def state_of_type(system: ActorSystem, name: str) -> TaskState:
    return next(state for state in meter_of(system).snapshot().tasks if state.task == name)


class SlowStorage:
    """Stands in for a storage whose backlog is long: counting it takes until the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.calls = 0
        self.answer: list[Waiting] = []

    def waiting(self, now: int, skip: object) -> list[Waiting]:
        self.calls += 1
        assert self.gate.wait(WAIT)
        return self.answer


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'x.db'}?durability=process"


def test_what_waits_is_told_by_type_with_the_age_of_the_oldest(url: str) -> None:
    with ActorSystem(handlers=[add], storage=url) as system:
        system._engine.node.pools[0].suspended = True  # type: ignore[union-attr]
        system.dispatch_many([add.task(1, 2)] * 3)
        system.dispatch_many([add.task(1, 2)] * 2, delay=3600)
        until(lambda: state_of(system).ready == 3)
        state = state_of(system)
        assert (state.scheduled, state.running, state.depth) == (2, 0, 3)
        assert 0 < state.oldest < WAIT


def test_what_a_cell_has_is_running_and_not_ready(url: str) -> None:
    begun, end = threading.Event(), threading.Event()

    @task(name="Hold")
    def hold() -> None:
        begun.set()
        assert end.wait(WAIT)

    with ActorSystem(handlers=[hold], storage=url) as system:
        handle = system.dispatch(hold.task())
        assert begun.wait(WAIT)
        state = state_of(system)
        assert (state.running, state.ready, state.started) == (1, 0, 1)
        end.set()
        handle.wait(WAIT)
        until(lambda: state_of(system).running == 0)


def test_a_task_that_has_ended_is_not_running_though_its_cell_has_not_put_it_down_yet() -> None:
    had: list[Any] = []

    @task(name="Noted")
    def noted() -> None:
        had.append(current_delivery.get())

    with ActorSystem("meter", handlers=[noted]) as system:
        system.dispatch(noted.task()).result(timeout=WAIT)
        (delivery,) = had
        until(lambda: delivery.cell.current is None)
        delivery.cell.current = delivery
        assert state_of(system).running == 0
        delivery.cell.current = None


def test_an_outcome_that_another_node_has_fenced_off_is_not_counted(tmp_path: Path) -> None:
    begun, end = threading.Event(), threading.Event()

    @task(name="Hold")
    def hold() -> None:
        begun.set()
        assert end.wait(WAIT)

    path = tmp_path / "x.db"
    with ActorSystem(handlers=[hold, add], storage=f"sqlite:///{path}?durability=process") as system:
        system.dispatch(hold.task())
        assert begun.wait(WAIT)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE task SET owner = owner + 1")  # as the adoption by another node does
        end.set()
        until(lambda: state_of_type(system, "Hold").running == 0)
        system.dispatch(add.task(1, 2)).wait(WAIT)
        series = meter_of(system).tally.series
        assert series["Add", "default"].ended[TaskStatus.COMPLETED] == 1
        assert sum(series["Hold", "default"].ended) == 0
        assert sum(series["Hold", "default"].run.counts) == 0


def test_a_scrape_never_waits_for_a_long_backlog_and_shows_the_last_reading() -> None:
    with ActorSystem(handlers=[add]) as system:
        slow = SlowStorage()
        wait_as(system, slow.waiting)
        began = time.monotonic()
        assert state_of(system).ready == 0
        assert state_of(system).ready == 0  # while the first reading is under way nobody begins another
        assert time.monotonic() - began < WAIT
        assert slow.calls == 1
        slow.answer = [Waiting("Add", 7, 0, None)]
        slow.gate.set()
        until(lambda: state_of(system).ready == 7)


def test_a_reading_is_kept_as_long_as_it_was_dear() -> None:
    with ActorSystem(handlers=[add]) as system:
        slow = SlowStorage()
        slow.gate.set()
        wait_as(system, slow.waiting)
        for _ in range(20):
            meter_of(system).snapshot()
        assert slow.calls == 1


def test_a_storage_that_cannot_be_read_leaves_the_last_numbers() -> None:
    def broken(now: int, skip: object) -> list[Waiting]:
        raise StorageUnavailable("gone")

    with ActorSystem(handlers=[add]) as system:
        meter_of(system)._waiting = [Waiting("Add", 5, 1, None)]
        wait_as(system, broken)
        assert state_of(system).ready == 5


class Fails(Actor):
    def on_receive(self, message: Any) -> None:
        raise message


@pytest.mark.parametrize(
    ("directive", "counted"),
    [(Directive.RESUME, "resume"), (Directive.RESTART, "restart"), (Directive.STOP, "stop")],
)
def test_what_a_supervisor_decides_is_counted(directive: Directive, counted: str) -> None:
    with ActorSystem(handlers=[add]) as system:
        ref = system.spawn(Fails, spec=ChildSpec(backoff=AT_ONCE, on={ValueError: directive}))
        ref.tell(ValueError("x"))
        until(lambda: meter_of(system).tally.decisions == {("user", counted): 1})
        until(lambda: meter_of(system).snapshot().dead_letters == 1)


def test_what_the_supervisor_of_a_handler_decides_is_counted_and_its_suspension_shown() -> None:
    class Broken(TaskHandler[add.task]):  # type: ignore[name-defined]
        task_name = "Add"
        intensity = Intensity(1, within=60)

        def on_actor_start(self) -> None:
            raise ValueError("no")

        def handle(self, task: add.task, ctx: Any) -> int:  # type: ignore[name-defined]
            return 1

    with ActorSystem(handlers=[Broken]) as system:
        system.dispatch(add.task(1, 2))
        until(lambda: meter_of(system).snapshot().suspended == 1)
        decisions = meter_of(system).tally.decisions
        assert decisions["handler", "restart"] == 1
        assert decisions["handler", "suspend"] >= 1


def test_an_internal_actor_that_goes_on_is_counted() -> None:
    def broken() -> None:
        raise ValueError("bug")

    with ActorSystem(handlers=[add]) as system:
        system._engine.node.timer.call_after(0.0, broken)  # type: ignore[union-attr]
        until(lambda: meter_of(system).tally.decisions == {("internal", "resume"): 1})


def test_actors_that_live_are_counted_by_kind() -> None:
    with ActorSystem(handlers=[add]) as system:
        ref = system.spawn(Fails)
        assert meter_of(system).snapshot().alive == {"internal": 3, "handler": 1, "user": 1}
        ref.stop()
        assert meter_of(system).snapshot().alive["user"] == 0
