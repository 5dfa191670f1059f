"""Starting an actor while its supervisor, or the whole system, is on the way down: there is always an answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from everact import (
    Actor,
    ActorStartFailed,
    ActorSystem,
    Backoff,
    ChildSpec,
    Directive,
    Supervisor,
    SystemNotRunning,
)
from tests.engine.conftest import WAIT, until

NEVER = ChildSpec(backoff=Backoff(600, most=600))


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("spawning") as running:
        yield running


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


class Call:
    """A call in a thread of its own, and how it ended."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.answer: Any = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.answer = self._call()
        except BaseException as error:
            self.answer = error

    def ended(self) -> Any:
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), "it hangs"
        return self.answer


def gated(starting: threading.Event, go: threading.Event) -> type[Actor]:
    class Gated(Echo):
        def on_start(self) -> None:
            starting.set()
            assert go.wait(WAIT)

    return Gated


def test_who_spawns_while_the_system_stops_is_told_so() -> None:
    starting, go = threading.Event(), threading.Event()
    system = ActorSystem("spawning")
    system.start()
    spawning = Call(lambda: system.spawn(gated(starting, go)))
    starting.wait(WAIT)
    stopping = Call(system.stop)
    until(lambda: system.state == "stopping")
    go.set()
    assert isinstance(spawning.ended(), SystemNotRunning)
    assert stopping.ended() is None


def test_the_first_actor_spawned_while_the_actors_stop_does_not_outlive_them() -> None:
    system = ActorSystem("spawning")
    system.start()
    engine = system._engine
    assert engine is not None
    engine._deadline = engine.node.runtime.monotonic() + 1.0
    engine._stop_actors(1.0)
    with pytest.raises(SystemNotRunning, match="stopping"):
        system.spawn(Echo)
    assert engine.guardian is None
    system.stop()


def test_spawning_below_a_supervisor_that_waits_for_its_restart_fails_at_once(system: ActorSystem) -> None:
    class Fails(Actor):
        def on_receive(self, message: Any) -> Any:
            raise ValueError(message)

    fails = ChildSpec(Fails, name="fails", on={ValueError: Directive.ESCALATE})
    boss = system.spawn(lambda: Supervisor([fails]), name="boss", spec=NEVER)
    boss._cell.children["fails"].ref.tell("x")
    until(lambda: system.actors().children[-1].children[0].state == "down")
    answer = Call(lambda: system.spawn(Echo, under=boss)).ended()
    assert isinstance(answer, ActorStartFailed)
    assert "spawning/user/boss/echo could not start (its supervisor is stopping" in str(answer)


def test_a_child_that_is_being_started_when_its_supervisor_stops_is_answered_for(system: ActorSystem) -> None:
    starting, go = threading.Event(), threading.Event()
    boss = system.spawn(Supervisor, name="boss")
    spawning = Call(lambda: system.spawn(gated(starting, go), under=boss))
    starting.wait(WAIT)
    stopping = Call(boss.stop)
    until(lambda: not boss.is_alive())
    go.set()
    assert stopping.ended() is True
    assert isinstance(spawning.ended(), ActorStartFailed)


def test_nothing_is_started_below_a_supervisor_that_stops(system: ActorSystem) -> None:
    stopping, go, started = threading.Event(), threading.Event(), threading.Event()

    class Lingers(Actor):
        def on_stop(self) -> None:
            stopping.set()
            assert go.wait(WAIT)

    class Late(Actor):
        def on_start(self) -> None:
            started.set()

    boss = system.spawn(lambda: Supervisor([ChildSpec(Lingers)]), name="boss")
    # Asked for before the stop is known, as it may be when both come at once.
    is_alive, boss.is_alive = boss.is_alive, lambda: True  # type: ignore[method-assign]
    stop = Call(boss.stop)
    stopping.wait(WAIT)
    assert isinstance(Call(lambda: system.spawn(Late, under=boss)).ended(), ActorStartFailed)
    go.set()
    assert stop.ended() is True
    assert not is_alive()
    assert not started.is_set()


def test_an_actor_may_spawn_another_while_it_starts(system: ActorSystem) -> None:
    class Parent(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.first = system.spawn(Echo)

        def on_start(self) -> None:
            self.second = system.spawn(Echo)

        def on_receive(self, message: Any) -> Any:
            return self.first.ask(message), self.second.ask(message)

    assert system.spawn(Parent).ask(7) == (7, 7)
