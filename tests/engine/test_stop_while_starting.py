"""A system that is to end before it is up: it comes up first, then it stops, and who has started it is told why."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from everact import Actor, ActorSystem, ChildSpec, Directive, SystemNotRunning
from tests.engine.conftest import WAIT, Job, Lab, make_handler, until


class Fails(Actor):
    def on_receive(self, message: Any) -> Any:
        raise ValueError(message)


TO_THE_TOP = ChildSpec(on={ValueError: Directive.ESCALATE})


def fail(system: ActorSystem) -> None:
    """Have a failure come up to the top."""
    system.spawn(Fails, spec=TO_THE_TOP).tell("too early")
    until(lambda: system.stop_cause is not None)


def test_a_failure_escalated_while_it_starts_stops_the_system_and_start_raises_it(lab: Lab) -> None:
    system = lab.build(make_handler("sync", Job, lambda task, ctx: task.n))
    lab.probe(system).on_adopt = lambda: fail(system)
    with pytest.raises(SystemNotRunning, match=r"is stopped since a failure was escalated to it .*too early") as caught:
        system.start()
    assert isinstance(caught.value.__cause__, ValueError)
    assert (system.state, system._engine) == ("stopped", None)


def test_after_that_it_can_be_started_again(lab: Lab) -> None:
    system = lab.build(make_handler("sync", Job, lambda task, ctx: task.n))
    lab.probe(system).on_adopt = lambda: fail(system)
    with pytest.raises(SystemNotRunning):
        system.start()
    lab.probe(system).on_adopt = lambda: None
    system.start()
    assert system.stop_cause is None
    assert system.dispatch(Job(7)).result(WAIT) == 7


def test_a_stop_that_comes_while_it_starts_waits_until_it_is_up(lab: Lab) -> None:
    def stop() -> None:
        stopping.start()
        until(lambda: system._stop_asked is not None)
        seen.append(system.state)

    seen: list[str] = []
    system = lab.build(make_handler("sync", Job, lambda task, ctx: task.n))
    stopping = threading.Thread(target=system.stop, daemon=True)
    lab.probe(system).on_adopt = stop
    system.start()
    stopping.join(WAIT)
    assert not stopping.is_alive()
    assert seen == ["not started"]
    assert (system.state, system._engine) == ("stopped", None)


def test_a_stop_that_comes_while_the_start_fails_is_let_go(lab: Lab) -> None:
    def stop_and_fail() -> None:
        stopping.start()
        until(lambda: system._stop_asked is not None)
        raise OSError("no")

    system = lab.build(make_handler("sync", Job, lambda task, ctx: task.n))
    stopping = threading.Thread(target=system.stop, args=(WAIT * 10,), daemon=True)
    lab.probe(system).on_adopt = stop_and_fail
    with pytest.raises(OSError, match="no"):
        system.start()
    stopping.join(WAIT)
    assert not stopping.is_alive()
