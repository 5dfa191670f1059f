"""What the tests of supervision share: a system, a journal that its actors write, and the facts it publishes."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from everact import Actor, ActorRef, ActorSystem, Backoff, ChildSpec
from everact.tasks.events import Event

WAIT = 10.0
POLL = 0.002
E = TypeVar("E", bound=Event)
PROGRAMS = Path(__file__).with_name("programs")
Measure = Callable[..., dict[str, Any]]


class Crash(Exception):
    """What actors under test fail with."""


def at_once(factory: Callable[[], Actor] | None = None, name: str | None = None, **options: Any) -> ChildSpec:
    """A spec without a backoff."""
    return ChildSpec(factory, name=name, backoff=Backoff(0, most=0, jitter=0), **options)


class Journal:
    """What the actors of a test write about themselves, in the order in which it happens."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.refs: dict[str, ActorRef[Any]] = {}
        self.failing_starts: dict[str, int] = {}
        self._changed = threading.Condition()

    def write(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for(self, *lines: str) -> None:
        """Wait until these are all the lines there are; fail at the first other one."""
        expected = list(lines)
        with self._changed:
            self._changed.wait_for(
                lambda: len(self.lines) >= len(expected) or self.lines != expected[: len(self.lines)], WAIT
            )
            assert self.lines == expected

    def clear(self) -> None:
        with self._changed:
            self.lines = []

    def part(self, name: str) -> Callable[[], Actor]:
        """A factory of actors with this name."""
        return lambda: Part(self, name)


class Part(Actor):
    """One part of a whole under supervision; it writes down what becomes of it."""

    pinned = False

    def __init__(self, journal: Journal, name: str) -> None:
        super().__init__()
        self.journal = journal
        self.name = name
        self.seen: list[object] = []

    def on_start(self) -> None:
        if self.journal.failing_starts.get(self.name, 0):
            self.journal.failing_starts[self.name] -= 1
            self.journal.write(f"no start {self.name}")
            raise Crash(self.name)
        self.journal.refs[self.name] = self.actor_ref
        self.journal.write(f"start {self.name}")

    def on_stop(self) -> None:
        self.journal.write(f"stop {self.name}")

    def on_failure(self, *_: object) -> None:
        self.journal.write(f"fail {self.name}")

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise Crash(self.name)
        if message == "stop":
            self.stop()
        if isinstance(message, threading.Event):
            assert message.wait(WAIT)
        self.seen.append(message)
        return self.seen


class Facts:
    """What a system publishes, in order."""

    def __init__(self, system: ActorSystem) -> None:
        self._queue: queue.Queue[Event] = queue.Queue()
        system.events.subscribe(self._queue.put)

    def next(self, kind: type[E]) -> E:
        """Wait for the next one of a kind."""
        while True:
            event = self._queue.get(timeout=WAIT)
            if isinstance(event, kind):
                return event


def until(condition: Callable[[], object]) -> None:
    """Wait for something that no event tells of."""
    pause = threading.Event()
    for _ in range(int(WAIT / POLL)):
        if condition():
            return
        pause.wait(POLL)
    pytest.fail(f"it did not come true in {WAIT} s")


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("tree") as running:
        yield running


@pytest.fixture
def facts(system: ActorSystem) -> Facts:
    return Facts(system)


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def measure() -> Measure:
    """Runs a program by its file name with arguments, and returns the figures that it prints and its exit code."""

    def run(name: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, str(PROGRAMS / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "exit_code": done.returncode}

    return run
