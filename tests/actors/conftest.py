"""What the tests of users' actors share: pykka's base class beside ours, a diary, and an end to whoever is left."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pykka
import pytest

import everact

WAIT = 10.0
"""Seconds after which a test that waits for something gives up; no test is meant to take this long."""


@pytest.fixture(params=[pykka.ThreadingActor, everact.Actor], ids=["pykka", "everact"])
def base(request: pytest.FixtureRequest) -> Any:
    """The base class of the actors under test: a sentence that holds for both is what makes ours a drop-in."""
    return request.param


@pytest.fixture(params=[pykka.ThreadingFuture, everact.Future], ids=["pykka", "everact"])
def future_class(request: pytest.FixtureRequest) -> Any:
    """Pykka's futures beside ours."""
    return request.param


class Gate(threading.Event):
    """Opened by the test; an actor under test waits for it, in vain at most as long as a test may take."""

    def pass_through(self) -> None:
        """Wait until it is open."""
        assert self.wait(WAIT), "the test never opened this gate"


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A closed gate; it opens at the end, so that nobody is left waiting."""
    made = Gate()
    yield made
    made.set()


@pytest.fixture(autouse=True)
def _nobody_left(gate: Gate) -> Iterator[None]:
    yield
    gate.set()
    pykka.ActorRegistry.stop_all(timeout=WAIT)
    assert pykka.ActorRegistry.get_all() == []


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Everything that is logged."""
    caplog.set_level(logging.DEBUG)
    return caplog
