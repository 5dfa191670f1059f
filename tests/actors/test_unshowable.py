"""Messages and errors that cannot be shown: whatever their `__repr__` and `__str__` do, it stays with them."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from everact import Actor, ActorDead, ActorSystem, Backoff, ChildSpec

WAIT = 10.0
AT_ONCE = ChildSpec(backoff=Backoff(0, most=0, jitter=0))
UNSHOWABLE = [ValueError, RecursionError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration]


class Unshowable:
    """A message that raises when it is looked at."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class Held(Actor):
    """Waits in a gate, answers, or raises."""

    def __init__(self, inside: threading.Event, go: threading.Event) -> None:
        super().__init__()
        self.inside, self.go = inside, go

    def on_receive(self, message: Any) -> Any:
        if message == "wait":
            self.inside.set()
            assert self.go.wait(WAIT)
        if isinstance(message, BaseException):
            raise message
        return message


@pytest.mark.parametrize("error", UNSHOWABLE)
def test_a_message_that_cannot_be_shown_keeps_no_other_from_being_answered(
    error: type[BaseException], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    caplog.set_level(logging.INFO, "everact")
    inside, go = threading.Event(), threading.Event()
    with ActorSystem() as system:
        held = system.spawn(lambda: Held(inside, go))
        held.tell("wait")
        assert inside.wait(WAIT)
        held.stop(block=False)
        held.tell(Unshowable(error))
        behind = held.ask("behind it", block=False)
        go.set()
        with pytest.raises(ActorDead):
            behind.get(timeout=WAIT)
        assert system.spawn(lambda: Held(inside, go)).ask("next") == "next"


@pytest.mark.parametrize("error", UNSHOWABLE)
def test_an_error_that_cannot_be_shown_is_supervised_as_any_other(
    error: type[BaseException], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise error

        __repr__ = __str__

    monkeypatch.setattr(logging, "raiseExceptions", False)
    caplog.set_level(logging.INFO, "everact")
    inside, go = threading.Event(), threading.Event()
    with ActorSystem() as system:
        held = system.spawn(lambda: Held(inside, go), spec=AT_ONCE)
        for _ in range(2):
            held.tell(Broken())
        with pytest.raises(Broken):
            held.ask(Broken())
        assert held.ask("next", timeout=WAIT) == "next"
        assert system.actors().children[-1].children[0].generation == 4
