"""Ends of deliveries that nobody waits for go along with others, and nobody can tell."""

from __future__ import annotations

import pathlib
import sqlite3
import threading
from collections.abc import Callable, Iterator

import pytest

from everact import ActorSystem, TaskStatus, task
from everact.actors import elastic_executor
from everact.actors.journal import Journal

WAIT = 30.0
COMPLETED = int(TaskStatus.COMPLETED)


class Office:
    """A system whose tasks do nothing, or wait."""

    def __init__(self, url: str) -> None:
        self.entered, self.may_leave = threading.Event(), threading.Event()

        @task(name="nothing")
        def nothing(n: int) -> int:
            return n

        @task(name="turn")
        def turn(*, short: bool) -> None:
            if not short:
                self.entered.set()
                self.may_leave.wait(WAIT)

        self.nothing, self.turn = nothing, turn
        self.system = ActorSystem("office", handlers=[nothing, turn], storage=url)

    @property
    def kept_back(self) -> int:
        engine = self.system._engine
        assert engine is not None
        return len(engine.node.journal.gathered)


def until(condition: Callable[[], object]) -> None:
    for _ in range(int(WAIT * 500)):
        if condition():
            return
        threading.Event().wait(0.002)
    pytest.fail("it never came true")


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "office.db"


@pytest.fixture
def office(file: pathlib.Path) -> Iterator[Office]:
    made = Office(f"sqlite:///{file}")
    with made.system:
        yield made
        made.may_leave.set()


def written(file: pathlib.Path) -> list[int]:
    """The statuses of all tasks, read past the system."""
    connection = sqlite3.connect(file)
    try:
        return [status for (status,) in connection.execute("SELECT status FROM task ORDER BY seq")]
    finally:
        connection.close()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread keeps back what it may for as long as the test takes."""
    monkeypatch.setattr(elastic_executor, "HOLD_SECONDS", WAIT)


def test_an_end_that_nobody_waits_for_is_written_within_a_moment(office: Office, file: pathlib.Path) -> None:
    office.system.dispatch(office.nothing.task(1))
    until(lambda: written(file) == [COMPLETED])


@pytest.mark.usefixtures("kept")
def test_an_end_goes_along_with_the_next_dispatch(office: Office, file: pathlib.Path) -> None:
    office.system.dispatch(office.nothing.task(1))
    until(lambda: office.kept_back)
    assert written(file) == [int(TaskStatus.QUEUED)]
    office.system.dispatch(office.turn.task(short=False))
    assert written(file)[0] == COMPLETED


@pytest.mark.usefixtures("kept")
def test_who_asks_for_a_result_gets_it_though_its_end_is_kept_back(office: Office) -> None:
    handle = office.system.dispatch(office.nothing.task(7))
    until(lambda: office.kept_back)
    assert handle.result(WAIT) == 7


@pytest.mark.usefixtures("kept")
def test_who_looks_has_it_written(office: Office) -> None:
    handle = office.system.dispatch(office.nothing.task(7))
    until(lambda: office.kept_back)
    until(lambda: handle.status() is TaskStatus.COMPLETED)


@pytest.mark.usefixtures("kept")
def test_a_wait_for_quiet_does_not_wait_for_what_is_kept_back(office: Office) -> None:
    office.system.dispatch(office.nothing.task(7))
    until(lambda: office.kept_back)
    office.system.wait_idle(WAIT / 2)


@pytest.mark.usefixtures("kept")
def test_a_stop_writes_what_is_kept_back(file: pathlib.Path) -> None:
    office = Office(f"sqlite:///{file}")
    with office.system:
        office.system.dispatch(office.nothing.task(1))
        until(lambda: office.kept_back)
    assert written(file) == [COMPLETED]


def test_in_memory_who_looks_sees_an_end_though_the_same_cell_is_busy_with_the_next_task() -> None:
    office = Office("memory://")
    with office.system as system:
        first, second = system.dispatch_many([office.turn.task(short=True), office.turn.task(short=False)])
        assert office.entered.wait(WAIT)
        assert (first.status(), second.status()) == (TaskStatus.COMPLETED, TaskStatus.RUNNING)
        assert system.counts()[TaskStatus.COMPLETED] == 1
        office.may_leave.set()


def test_a_stop_does_not_call_dropped_in_memory_what_had_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Journal, "keeps_back", lambda self: False)
    office = Office("memory://")
    with office.system as system:
        system.dispatch(office.turn.task(short=False))
        assert office.entered.wait(WAIT)
        office.may_leave.set()
        assert system._engine is not None
        until(system._engine.node.journal.actor_inbox.qsize)
    assert "dropped" not in caplog.text
