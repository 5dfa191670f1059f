"""What the tests of the engine share: a system on either storage, handlers of either kind, and ways to break in."""

from __future__ import annotations

import asyncio
import inspect
import threading
import types
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from everact import ActorSystem, Settings, TaskContext, TaskHandler
from everact import events as ev
from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Adoption, Batch, Committed, Storage
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import StorageUnavailable
from everact.tasks.record import Record

WAIT = 10.0
"""Seconds after which a test that waits for something gives up; no test is meant to take this long."""
BRIEF = 0.05
"""Seconds of a deadline that is itself the subject of a test."""
GRACE = 0.1


@dataclass(frozen=True)
class Job:
    """The task of most tests."""

    n: int = 0


@dataclass(frozen=True)
class Next:
    """A follow-up."""

    n: int = 0


@dataclass(frozen=True)
class Alarm:
    """A follow-up of a failure."""

    text: str = ""


class Bang(Exception):
    """What handlers under test raise."""


class Gate(threading.Event):
    """Opened by the test. A handler body says `yield gate` to wait for it, on a thread and in the loop alike."""

    def pass_through(self) -> None:
        """Wait in a thread."""
        assert self.wait(WAIT), "the test never opened this gate"


Body = Callable[..., Any]
POLL = 0.003


def make_handler(kind: str, task_type: type, handle: Body, **members: Any) -> type[TaskHandler[Any]]:
    """Make a handler class, sync or async, from plain functions.

    Each may be a generator function: `yield gate` waits for a gate, and `yield gate, "deaf"` does so without
    listening to the cancellation token.
    """
    bodies = {name: member for name, member in members.items() if inspect.isfunction(member)}
    attributes = {name: member for name, member in members.items() if name not in bodies}
    for name, body in {"handle": handle, **bodies}.items():
        attributes[name] = _method(kind, body)
    base: Any = TaskHandler
    return types.new_class(
        f"{task_type.__name__}Handler", (base[task_type],), exec_body=lambda ns: ns.update(attributes)
    )


def _method(kind: str, body: Body) -> Body:
    wants_self = next(iter(inspect.signature(body).parameters), "") == "self"

    def run(self: object, args: tuple[Any, ...]) -> Any:
        return body(self, *args) if wants_self else body(*args)

    async def async_method(self: Any, *args: Any) -> Any:
        await asyncio.sleep(0)
        answer = run(self, args)
        return await _drive_in_loop(answer) if inspect.isgenerator(answer) else answer

    def sync_method(self: Any, *args: Any) -> Any:
        answer = run(self, args)
        return _drive_in_thread(answer, args) if inspect.isgenerator(answer) else answer

    return async_method if kind == "async" else sync_method


def _drive_in_thread(steps: Generator[Any, None, Any], args: tuple[Any, ...]) -> Any:
    ctx = next((arg for arg in args if isinstance(arg, TaskContext)), None)
    try:
        wish = next(steps)
        while True:
            gate, deaf = (wish[0], True) if isinstance(wish, tuple) else (wish, False)
            try:
                while not gate.is_set():
                    if not deaf and ctx is not None:
                        ctx.cancellation.raise_if_cancelled()
                    gate.wait(POLL)
            except BaseException as error:
                wish = steps.throw(error)
            else:
                wish = next(steps)
    except StopIteration as end:
        return end.value


async def _drive_in_loop(steps: Generator[Any, None, Any]) -> Any:
    try:
        wish = next(steps)
        while True:
            gate, deaf = (wish[0], True) if isinstance(wish, tuple) else (wish, False)
            try:
                while not gate.is_set():
                    try:
                        await asyncio.sleep(POLL)
                    except asyncio.CancelledError:
                        if not deaf:
                            raise
            except BaseException as error:
                wish = steps.throw(error)
            else:
                wish = next(steps)
    except StopIteration as end:
        return end.value


class Probe:
    """A storage in front of the real one, where a test can hold, refuse or cut off commits."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner
        self.url = inner.url
        self.inline = inner.inline
        self.durable = inner.durable
        self.batches = 0
        self.refuse: Callable[[Batch], BaseException | None] | None = None
        self.fail_adopt: BaseException | None = None
        self.on_adopt: Callable[[], object] = lambda: None
        self._hold: Gate | None = None
        self._held = threading.Event()
        self._dead = False

    def hold(self) -> Gate:
        """Make the next commit wait until the gate that this returns is opened."""
        self._held.clear()
        self._hold = Gate()
        return self._hold

    def wait_until_held(self) -> None:
        """Wait until a commit waits."""
        assert self._held.wait(WAIT)

    def die(self) -> None:
        """From now on nothing is written any more, as when the process had been killed."""
        self._dead = True
        self.inner.abandon()

    def open(self, now: int) -> int:
        return self.inner.open(now)

    def commit(self, batch: Batch) -> Committed:
        hold, self._hold = self._hold, None
        if hold is not None:
            self._held.set()
            hold.pass_through()
        if self._dead:
            raise StorageUnavailable("dead")
        if self.refuse is not None and (error := self.refuse(batch)) is not None:
            raise error
        self.batches += 1
        return self.inner.commit(batch)

    def adopt(self, types: Collection[str], now: int) -> Adoption:
        if self.fail_adopt is not None:
            raise self.fail_adopt
        self.on_adopt()
        return self.inner.adopt(types, now)

    def get(self, id: bytes) -> Record | None:
        return self.inner.get(id)

    def release_reserve(self) -> bool:
        return self.inner.release_reserve()

    def restore_reserve(self) -> bool:
        return self.inner.restore_reserve()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # what no test stands in the way of


class Lab:
    """Makes systems on one storage, and clears up after the test."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.backend = backend
        self.path = folder / "tasks.db"
        self.url = "memory://" if backend == "memory" else f"sqlite:///{self.path}?durability=process"
        self._memory = MemoryStorage()
        self._gates: list[Gate] = []
        self._systems: list[ActorSystem] = []
        self._probes: dict[int, Probe] = {}

    def gate(self) -> Gate:
        """Make a closed gate, opened at the end of the test at the latest."""
        gate = Gate()
        self._gates.append(gate)
        return gate

    def build(self, *handlers: object, **options: Any) -> ActorSystem:
        """Make a system without starting it. All systems of one test have the same data."""
        inner = self._memory if self.backend == "memory" else SqliteStorage(self.path, "process")
        probe = Probe(inner)
        options.setdefault("settings", Settings(grace=GRACE))
        system = ActorSystem(handlers=handlers, storage=probe, **options)
        self._systems.append(system)
        self._probes[id(system)] = probe
        return system

    def system(self, *handlers: object, **options: Any) -> ActorSystem:
        """Make a system and start it."""
        system = self.build(*handlers, **options)
        system.start()
        return system

    def idle_system(self, *handlers: object, **options: Any) -> ActorSystem:
        """Make a system and start it, with cells that take no task: what is dispatched stays where it is."""
        system = self.build(*handlers, **options)
        self.probe(system).on_adopt = lambda: self.close_pools(system)
        system.start()
        return system

    @staticmethod
    def close_pools(system: ActorSystem) -> None:
        """From now on nothing starts."""
        assert system._engine is not None
        for pool in system._engine.node.pools:
            pool.closed = True

    def probe(self, system: ActorSystem) -> Probe:
        """Return the storage of a system. From now on whoever dispatches is told what it answers."""
        if system._engine is not None:
            system._engine.node.journal.gathers = False
        return self._probes[id(system)]

    def crash(self, system: ActorSystem) -> None:
        """End a system as kill -9 would: nothing more is written, whatever its handlers still do."""
        engine = system._engine
        assert engine is not None
        self.probe(system).die()
        for actor in (engine.node.timer, engine.node.journal, engine.node.stream):
            assert actor.stop_thread(WAIT)
        self.close_pools(system)
        if engine.meter is not None:
            engine.meter.close()  # nobody scrapes the dead; each would keep the scrapes of later tests waiting
        system._engine = None
        system.state = "crashed"

    def clear_up(self) -> None:
        """Let all handlers go and stop what still runs."""
        for gate in self._gates:
            gate.set()
        for probe in self._probes.values():
            if probe._hold is not None:
                probe._hold.set()
        for system in self._systems:
            if system.state == "running":
                system.stop(timeout=1.0)


class Diary:
    """What handlers have done, in order. `note` may be called from any thread."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def note(self, line: Any) -> None:
        """Write a line."""
        self.lines.append(line)

    def count(self, line: Any) -> int:
        """Count a line."""
        return self.lines.count(line)

    def __eq__(self, other: object) -> bool:
        return self.lines == other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return repr(self.lines)


class Facts:
    """The events of a system, gathered."""

    def __init__(self, system: ActorSystem) -> None:
        self._arrived = threading.Condition()
        self.seen: list[ev.Event] = []
        system.events.subscribe(self._take)

    def _take(self, event: ev.Event) -> None:
        with self._arrived:
            self.seen.append(event)
            self._arrived.notify_all()

    def of(self, kind: type[ev.Event]) -> list[Any]:
        """Return those of one kind, so far."""
        return [event for event in self.seen if type(event) is kind]

    def first(self, kind: type[ev.Event], timeout: float = WAIT) -> Any:
        """Wait for the first of one kind."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.of(kind), timeout), f"no {kind.__name__} among {self.seen}"
        return self.of(kind)[0]


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for something that only asking tells."""
    pause = threading.Event()
    for _ in range(int(WAIT / POLL)):
        if condition():
            return
        pause.wait(POLL)
    pytest.fail(f"{what} did not come true in {WAIT} s")


@pytest.fixture(params=["memory", "sqlite"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/tasks.db?durability=process"


@pytest.fixture
def lab(storage_url: str, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(storage_url.partition(":")[0], tmp_path)
    yield made
    made.clear_up()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def diary() -> Diary:
    return Diary()
