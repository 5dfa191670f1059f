"""Ends of deliveries, and in memory new tasks, that nobody waits for go along with others, and nobody can tell."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from everact import ActorSystem, TaskStatus, task
from everact.actors import elastic_executor
from everact.actors.journal import Journal
from everact.actors.pool import Pool
from everact.storage.protocol import Batch, Committed

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


# -- new tasks in memory -----------------------------------------------------------------------------------


@pytest.fixture
def in_memory() -> Iterator[Office]:
    made = Office("memory://")
    with made.system:
        yield made
        made.may_leave.set()


def journal_of(office: Office) -> Journal:
    engine = office.system._engine
    assert engine is not None
    return engine.node.journal


def pool_of(office: Office, name: str) -> Pool:
    return journal_of(office).router.named[name]


@contextlib.contextmanager
def turn_elsewhere(office: Office) -> Iterator[None]:
    """Another thread is at a turn of the journal for as long as this lasts."""
    journal = journal_of(office)
    until(lambda: journal._turnstile)
    journal._turnstile.pop()
    yield
    journal._turnstile.append(None)
    journal._run_turns()  # as every turn looks once more when it is over


def test_in_memory_whoever_has_dispatched_reads_it_though_another_thread_is_at_the_turn_that_stores_it(
    in_memory: Office,
) -> None:
    read: list[TaskStatus] = []
    with turn_elsewhere(in_memory):
        handle = in_memory.system.dispatch(in_memory.nothing.task(1))
        reader = threading.Thread(target=lambda: read.append(handle.status()))
        reader.start()
        reader.join(0.05)
        assert reader.is_alive()
    reader.join(WAIT)
    assert read[0] in (TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.COMPLETED)


def test_in_memory_a_wait_for_quiet_waits_for_a_task_that_is_only_on_its_way(in_memory: Office) -> None:
    with turn_elsewhere(in_memory):
        quiet = threading.Thread(target=in_memory.system.wait_idle, args=(WAIT,))
        quiet.start()
        until(journal_of(in_memory).actor_inbox.qsize)
        handle = in_memory.system.dispatch(in_memory.nothing.task(1))
    quiet.join(WAIT)
    assert handle.status() is TaskStatus.COMPLETED


def test_in_memory_a_task_runs_that_was_dispatched_while_all_cells_were_busy(in_memory: Office) -> None:
    system, turn = in_memory.system, in_memory.turn
    for _ in range(len(pool_of(in_memory, "turn").cells)):
        system.dispatch(turn.task(short=False))
    assert in_memory.entered.wait(WAIT)
    last = system.dispatch(turn.task(short=True))
    in_memory.may_leave.set()
    assert last.wait(WAIT).status is TaskStatus.COMPLETED
    system.wait_idle(WAIT)


def test_in_memory_a_cell_that_ends_its_turn_while_a_task_comes_runs_it(in_memory: Office) -> None:
    """Nobody wakes a cell that is not at rest yet, so it looks once more when it is."""
    handler = pool_of(in_memory, "nothing")
    came: list[Any] = []
    rest = handler.rest

    def rest_while_a_task_comes(cell: Any) -> None:
        if not came:
            idle, handler._idle = handler._idle, []  # the others are busy
            came.append(in_memory.system.dispatch(in_memory.nothing.task(2)))
            handler._idle = idle
        rest(cell)

    handler.rest = rest_while_a_task_comes  # type: ignore[method-assign]
    in_memory.system.dispatch(in_memory.nothing.task(1))
    until(lambda: came)
    until(lambda: not journal_of(in_memory).gathered)
    assert came[0].wait(WAIT).status is TaskStatus.COMPLETED


def test_in_memory_what_is_more_urgent_does_not_wait_behind_what_has_gathered(in_memory: Office) -> None:
    order: list[int] = []
    held, go_on = threading.Event(), threading.Event()

    @task(name="noted", concurrency=1)
    def noted(n: int) -> None:
        if n == 0:
            held.set()
            go_on.wait(WAIT)
        order.append(n)

    with ActorSystem("urgent", handlers=[noted], storage="memory://") as system:
        system.dispatch(noted.task(0))
        assert held.wait(WAIT)
        system.dispatch(noted.task(1), priority=-1)
        system.dispatch(noted.task(2))
        system.dispatch(noted.task(3), priority=1)
        go_on.set()
        system.wait_idle(WAIT)
    assert order == [0, 3, 2, 1]


@pytest.mark.parametrize("written", [False, True], ids=["before it is written", "after that"])
def test_in_memory_a_task_whose_commit_fails_runs_once_after_all(in_memory: Office, *, written: bool) -> None:
    journal, commit, failed = journal_of(in_memory), journal_of(in_memory)._commit, list[bool]()

    def fail_once(batch: Batch) -> Committed:
        if failed:
            return commit(batch)
        failed.append(True)
        if written:
            commit(batch)
        raise RuntimeError("planted")

    journal._commit = fail_once
    handle = in_memory.system.dispatch(in_memory.nothing.task(1))
    until(lambda: in_memory.system.counts()[TaskStatus.COMPLETED] == 1)
    assert failed
    assert handle.record().attempt == 1


class Robbed(deque[Any]):
    """Has one less than it says: another thread has been there in between."""

    def __len__(self) -> int:
        return super().__len__() + 1

    def __bool__(self) -> bool:
        return True


def test_a_turn_bears_that_another_thread_takes_away_what_it_is_about_to_take(in_memory: Office) -> None:
    engine = in_memory.system._engine
    assert engine is not None
    journal = engine.node.journal
    kept, journal.gathered = journal.gathered, Robbed(["one", "two"])
    try:
        taken: list[Any] = [*journal._take_gathered()]
        assert taken == ["one", "two"]
    finally:
        journal.gathered = kept
