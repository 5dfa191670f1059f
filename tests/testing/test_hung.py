"""User code that does not come back is told of, instead of a test that hangs for ever."""

from __future__ import annotations

import sys
import threading
from contextlib import AbstractContextManager
from types import FrameType, FunctionType
from typing import Any

import pytest

from everact import TaskContext, task
from everact.testing import Hung, Simulation, hung, simulate


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hung, "HUNG_SECONDS", 0.2)


def shop(lock: AbstractContextManager[Any]) -> list[Any]:
    """Two handlers that hold a lock over a wait."""

    @task(name="Receive")
    def receive(ctx: TaskContext) -> None:
        with lock:
            ctx.cancellation.wait(1)

    @task(name="Sell")
    def sell(ctx: TaskContext) -> None:
        with lock:
            ctx.cancellation.wait(1)

    return [receive, sell]


def both(sim: Simulation, handlers: list[Any]) -> None:
    for handler in handlers:
        sim.dispatch(handler.task())
    sim.run()


def test_a_lock_that_another_handler_holds_over_a_wait_is_named() -> None:
    handlers = shop(threading.Lock())
    with Simulation(handlers) as sim:
        with pytest.raises(Hung) as caught:
            both(sim, handlers)
        with pytest.raises(Hung):
            sim.run()
    assert f"{__file__}:" in str(caught.value)
    assert "in sell: with lock:" in str(caught.value)
    assert "threading.Semaphore(1)" in str(caught.value)


def test_a_semaphore_is_known_to_wait() -> None:
    handlers = shop(threading.Semaphore(1))
    with Simulation(handlers) as sim:
        both(sim, handlers)
        assert sim.time == 2.0
        sim.check_all()


def test_a_test_that_hangs_is_not_run_again_and_again() -> None:
    handlers = shop(threading.Lock())
    runs = []

    @simulate(handlers, seeds=100)
    def test(sim: Simulation) -> None:
        runs.append(sim)
        both(sim, handlers)

    with pytest.raises(Hung) as caught:
        test()
    assert len(runs) == 1
    assert "--everact-schedule=ev1:" in caught.value.__notes__[0]


def test_whoever_uses_a_debugger_has_the_time_for_that() -> None:
    def here() -> FrameType:
        return sys._getframe()

    assert hung.debugged(FunctionType(here.__code__, {"__name__": "pdb", "sys": sys})())
    assert not hung.debugged(sys._getframe())
