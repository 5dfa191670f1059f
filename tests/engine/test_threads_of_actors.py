"""Which thread an actor's code runs in, from its first line on, and that threads leave again."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from everact import Actor, ActorSystem, Backoff, ChildSpec
from everact.actors.cell import Cell
from everact.actors.lifecycle import Report, Start, Started
from tests.engine.conftest import WAIT, Gate, until

AT_ONCE = ChildSpec(backoff=Backoff(0, most=0, jitter=0))


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("threads") as running:
        yield running


class Stock(Actor):
    """Owns a connection that must not be used in any other thread than the one it was made in."""

    def __init__(self, path: str = ":memory:") -> None:
        super().__init__()
        self.connection = sqlite3.connect(path)
        self.made_in = threading.get_ident()

    def on_start(self) -> None:
        self.connection.execute("CREATE TABLE stock (n)")

    def on_receive(self, message: Any) -> int:
        if isinstance(message, Exception):
            raise message
        self.connection.execute("INSERT INTO stock VALUES (?)", (message,))
        return int(self.connection.execute("SELECT count(*) FROM stock").fetchone()[0])


def test_what_an_actor_makes_in_its_init_belongs_to_its_thread_however_it_is_made(system: ActorSystem) -> None:
    factories: list[Callable[[], Stock]] = [Stock, lambda: Stock(), partial(Stock, ":memory:")]  # noqa: PLW0108
    for factory in factories:
        stock = system.spawn(factory, spec=AT_ONCE)
        assert [stock.ask(1), stock.ask(1)] == [1, 2]
        with pytest.raises(ValueError, match="again"):
            stock.ask(ValueError("again"))
        assert stock.ask(1) == 1


def test_an_actor_of_the_pool_keeps_no_thread_from_being_made(system: ActorSystem) -> None:
    class Pooled(Actor):
        def on_receive(self, message: Any) -> Any:
            return threading.current_thread().name

    pooled = [system.spawn(lambda: Pooled(), name=f"pooled-{number}") for number in range(20)]  # noqa: PLW0108
    assert {each.ask("where") for each in pooled} == {"threads/actors"}
    until(lambda: not any("pooled" in thread.name for thread in threading.enumerate()))


def test_an_async_actor_starts_on_the_loop_however_it_is_made(system: ActorSystem) -> None:
    class Async(Actor):
        async def on_start(self) -> None:  # type: ignore[override]
            self.started_in = threading.current_thread().name

        async def on_receive(self, message: Any) -> Any:
            return self.started_in, threading.current_thread().name

    for factory in (Async, lambda: Async()):  # noqa: PLW0108
        assert system.spawn(factory).ask("where") == ("threads/loop", "threads/loop")


class Parent:
    """Hears a cell's reports."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def tell_order(self, report: Report) -> None:
        self.reports.append(report)


def test_a_factory_that_comes_back_too_late_moves_nobody_to_another_thread(system: ActorSystem) -> None:
    class Made(Actor):
        pinned = True

        def on_receive(self, message: Any) -> int:
            return threading.get_ident()

    def make() -> Made:
        made.append(None)
        if len(made) > 1:
            return Made()
        slow.set()
        go.wait(WAIT)
        try:
            return Made()
        finally:
            late.set()

    made: list[None] = []
    slow, go, late, parent = Gate(), Gate(), Gate(), Parent()
    cell = Cell(system._running().environment, make, path="threads/made", parent=parent)
    cell.tell_order(Start())
    slow.pass_through()
    cell.abandon(final=False)
    cell.tell_order(Start())
    before = cell.ref.ask("where")
    go.set()
    late.pass_through()
    until(lambda: not cell.left_behind)
    assert cell.ref.ask("where") == before
    assert [type(report) for report in parent.reports] == [Started]
    cell.close()
