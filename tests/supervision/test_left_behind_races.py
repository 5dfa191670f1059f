"""A turn is left behind at the very moment at which something else happens: the worst moments, one by one."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from everact import Actor, ActorSystem
from everact.actors.cell import Cell
from everact.actors.executor import PinnedExecutor
from everact.actors.lifecycle import CellState, Start, TakeDown
from tests.supervision.conftest import WAIT, until


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("races") as running:
        yield running


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


class Pinned(Echo):
    pinned = True


class Tripwire:
    """A lock that calls back once, when it is let go for the first time after it was armed."""

    def __init__(self, lock: Any, callback: Callable[[], object]) -> None:
        self._lock = lock
        self._callback = callback
        self.armed = False

    def __enter__(self) -> None:
        self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)
        if self.armed:
            self.armed = False
            self._callback()


def restart_after_leaving_behind(cell: Cell) -> None:
    cell.abandon(final=False)
    cell.tell_order(Start())


def test_a_message_that_comes_while_a_pinned_actor_is_left_behind_reaches_the_next_thread(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = system.spawn(Pinned)
    cell = pinned._cell
    close = PinnedExecutor.close

    def close_while_a_message_comes(executor: PinnedExecutor) -> None:
        close(executor)
        pinned.tell("wakes the cell")

    with monkeypatch.context() as patch:
        patch.setattr(PinnedExecutor, "close", close_while_a_message_comes)
        restart_after_leaving_behind(cell)
    assert pinned.ask("still there?", timeout=WAIT) == "still there?"


def test_a_turn_that_is_left_behind_when_its_end_is_all_but_done_does_not_end_the_next_instance(
    system: ActorSystem,
) -> None:
    ended = threading.Event()

    class Ends(Echo):
        def on_stop(self) -> None:
            wire.armed = first.is_set()
            first.clear()

    def leave_behind() -> None:
        restart_after_leaving_behind(cell)
        until(lambda: cell.state is CellState.RUNNING)
        ended.set()

    first = threading.Event()
    first.set()
    actor = system.spawn(Ends)
    cell = actor._cell
    wire = Tripwire(cell.environment.transitions, leave_behind)
    cell.environment.transitions = wire
    cell.tell_order(TakeDown(final=False))
    assert ended.wait(WAIT)
    assert actor.ask("still there?", timeout=WAIT) == "still there?"


class LeftBehindWhileLookedAt(list[object]):
    """Orders whose turn is left behind at the very moment at which it has seen that there are some."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__([TakeDown(final=False)])
        self._then = [then]

    def __bool__(self) -> bool:
        if self._then:
            self._then.pop()()
        return len(self) > 0


def test_a_turn_that_is_left_behind_takes_no_order_that_is_for_the_turn_after_it(system: ActorSystem) -> None:
    actor = system.spawn(Echo)
    cell = actor._cell
    assert actor.ask("up?", timeout=WAIT) == "up?"
    cell._orders = LeftBehindWhileLookedAt(lambda: restart_after_leaving_behind(cell))
    cell.wake()
    assert actor.ask("started again?", timeout=WAIT) == "started again?"
    assert cell.generation == 2


def test_a_pinned_actor_whose_factory_comes_back_too_late_does_not_start_the_next_instance_twice(
    system: ActorSystem,
) -> None:
    starts, built, go_on = Counter[int](), threading.Event(), threading.Event()

    class Slow(Pinned):
        def __init__(self) -> None:
            super().__init__()
            self.number = self._actor_cell.generation
            if self.number == 2:
                built.set()
                go_on.wait(WAIT)

        def on_start(self) -> None:
            starts[self.number] += 1

    cell = system.spawn(Slow)._cell
    cell.tell_order(TakeDown(final=False))
    cell.tell_order(Start())
    assert built.wait(WAIT)
    restart_after_leaving_behind(cell)
    until(lambda: cell.state is CellState.RUNNING)
    go_on.set()
    until(lambda: not cell.left_behind)
    assert cell.ref.ask("twice?", timeout=WAIT) == "twice?"
    assert starts == {1: 1, 3: 1}
