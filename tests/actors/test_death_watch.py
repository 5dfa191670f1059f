"""Death watch: what a watcher is told about an end, and that it leaves nothing behind."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from everact import Actor, ActorRef, ActorSystem, Backoff, ChildSpec, Directive, Terminated

WAIT = 10.0
AT_ONCE = ChildSpec(backoff=Backoff(0, most=0, jitter=0), on={KeyError: Directive.RESUME, OSError: Directive.STOP})


class Fragile(Actor):
    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Exception):
            raise message
        return message


class Watcher(Actor):
    def __init__(self, told: queue.SimpleQueue[Terminated]) -> None:
        super().__init__()
        self.told = told

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Terminated):
            self.told.put(message)
        else:
            self.watch(message)


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("watching") as running:
        yield running


@pytest.fixture
def told() -> queue.SimpleQueue[Terminated]:
    return queue.SimpleQueue()


@pytest.fixture
def watched(system: ActorSystem, told: queue.SimpleQueue[Terminated]) -> ActorRef[Fragile]:
    fragile = system.spawn(Fragile, spec=AT_ONCE)
    system.spawn(lambda: Watcher(told)).ask(fragile)
    return fragile


@pytest.mark.parametrize("error", [ValueError("restart"), KeyError("resume")])
def test_a_failure_that_was_survived_is_no_cause_of_a_later_end(
    watched: ActorRef[Fragile], told: queue.SimpleQueue[Terminated], error: Exception
) -> None:
    with pytest.raises(type(error)):
        watched.ask(error)
    assert watched.ask(1) == 1
    watched.stop()
    assert told.get(timeout=WAIT).cause is None


def test_the_failure_that_ended_it_is_the_cause(
    watched: ActorRef[Fragile], told: queue.SimpleQueue[Terminated]
) -> None:
    error = OSError("the end")
    watched.tell(error)
    assert told.get(timeout=WAIT) == Terminated(watched, error)


def test_a_watcher_that_has_ended_is_not_kept_by_those_it_watched(system: ActorSystem) -> None:
    fragile = system.spawn(Fragile)
    watchers = [system.spawn(lambda: Watcher(queue.SimpleQueue())) for _ in range(4)]
    for watcher in watchers:
        watcher.ask(fragile)
    assert len(fragile._cell._watchers) == 4
    for watcher in watchers[1:]:
        watcher.stop()
    assert list(fragile._cell._watchers.values()) == [watchers[0]._cell]
