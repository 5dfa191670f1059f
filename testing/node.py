"""One node of a simulation: a real ActorSystem with a runtime of its own, which can die and be started again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from everact import ActorSystem, Settings
from everact.storage.codec import TaskCodec
from everact.storage.protocol import Batch, Committed
from everact.tasks.registration import HandlerSpec
from everact.testing.book import Book
from everact.testing.fault_points import FaultPoints
from everact.testing.fiber import Group, NodeDied, always
from everact.testing.history import What
from everact.testing.scheduler import Scheduler
from everact.testing.seeded import SeededRuntime
from everact.testing.watched import HandlerWatch

R = TypeVar("R")


class NodeRuntime(SeededRuntime):
    """The runtime of one life of a node."""

    def __init__(self, node: Node, scheduler: Scheduler, group: Group, chance: random.Random) -> None:
        self._node = node
        self._join(scheduler, group, chance)

    def now(self) -> int:
        """See `Runtime.now`."""
        return super().now() + self._node.clock_offset

    def storage_call(self, call: Callable[..., R], *args: Any) -> R:
        """See `Runtime.storage_call`."""
        self.scheduler.wait(always, None, "calls storage:", call.__name__)
        answer: R = self._node.storage_call(call, args)
        return answer


class Node:
    """A node, over all its lives.

    Attributes:
        name: "node-1", and so on.
        lives: How often it was started.
        alive: Whether it runs, or is about to.
        ready: Whether it can be called.
        died_at: When it died last.
        clock_offset: Microseconds by which its wall clock is ahead.
        reserve: Whether it may write outcomes though the disk is full.
        system: The system of its last life.
        events: Whether there is a subscriber to its events.
    """

    system: ActorSystem
    events = True

    def __init__(
        self,
        name: str,
        scheduler: Scheduler,
        chance: random.Random,
        book: Book,
        points: FaultPoints,
        make_storage: Callable[[Callable[[Batch, Committed], None]], Any],
        settings: Settings,
        handlers: Sequence[tuple[HandlerSpec, TaskCodec]],
        middleware: Sequence[Any] = (),
    ) -> None:
        self.name, self.lives, self.alive, self.died_at = name, 0, False, 0.0
        self.ready = False
        self.clock_offset, self.reserve = 0, False
        self.group = Group(name)
        self._scheduler, self._chance, self._book, self._points = scheduler, chance, book, points
        self._make_storage, self._settings = make_storage, settings
        self._handlers, self._middleware = handlers, middleware
        self.storage: Any = None

    @property
    def label(self) -> str:
        """Which life of which node it is, "node-1.2"."""
        return f"{self.name}.{self.lives}"

    # -- lives ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, for the first time or again.

        Raises:
            NodeDied: It has died in that.
        """
        self.lives += 1
        paused = self.group.until
        self.group, self.reserve = Group(self.name), False
        self.group.until = paused
        label = self.label
        runtime = NodeRuntime(self, self._scheduler, self.group, self._chance)
        self.storage = self._make_storage(partial(self._committed, label))
        self.system = self._make_system(runtime)
        if self.events:
            self.system.events.subscribe(lambda event: self._book.told(label, event))
        self.alive = True
        self._book.history.add(label, What.NODE_STARTED)
        with self.called():
            self.system.start()
        self.ready = True

    def _committed(self, label: str, batch: Batch, committed: Committed) -> None:
        self._book.committed(label, batch, committed, self.storage.get)
        if (engine := self.system._engine) is not None:
            self._book.holds(label, len(engine.node.journal.tickets.resident))

    def _make_system(self, runtime: NodeRuntime) -> ActorSystem:
        kind = type("SimulatedSystem", (ActorSystem,), {"_make_runtime": staticmethod(lambda: runtime)})
        system: ActorSystem = kind(
            self.name, storage=self.storage, settings=self._settings, middleware=self._middleware
        )
        watch = HandlerWatch(self, self._book, self._points, lambda seconds: runtime.gate().wait(seconds))
        system._handlers = [(watch.watch(spec), codec) for spec, codec in self._handlers]
        return system

    def stop(self, timeout: float) -> None:
        """Stop it as a deploy would."""
        with self.called():
            self.system.stop(timeout)
        self.alive, self.ready, self.died_at = False, False, self._scheduler.time
        self._book.history.add(self.label, What.NODE_STOPPED)

    def kill(self, why: str) -> None:
        """It is dead from now on: nothing of it runs any more, nothing is written."""
        if not self.alive:
            return
        self.alive, self.ready, self.died_at = False, False, self._scheduler.time
        self._book.history.add(self.label, What.CRASHED, detail=why)
        self.storage.abandon()
        self._scheduler.kill(self.group)
        if (engine := self.system._engine) is not None:
            engine.stop = _nothing  # type: ignore[method-assign]  # a start that it dies in would stop it
        self.system._engine, self.system.state = None, "killed"

    def die(self, why: str) -> None:
        """As `kill`, in a thread of the node, or in one that makes a call to it; does not come back.

        Raises:
            NodeDied: The caller is outside.
        """
        self.kill(why)
        current = self._scheduler.current
        if current.ended:
            self._scheduler.leave()
        raise NodeDied(f"{self.name} has died {why}")

    def pause(self, seconds: float) -> None:
        """Nothing of it runs for some time."""
        self._book.history.add(self.label, What.FAULT, detail=f"paused for {seconds:g} s")
        self.group.until = self._scheduler.time + seconds

    def set_clock(self, seconds: float) -> None:
        """Set its wall clock forward, or back."""
        self._book.history.add(self.label, What.FAULT, detail=f"its clock is set by {seconds:+g} s")
        self.clock_offset += round(seconds * 1_000_000)

    # -- calls ---------------------------------------------------------------------------------------------

    @contextmanager
    def called(self) -> Iterator[ActorSystem]:
        """Make a call to it from outside; it may die meanwhile.

        Raises:
            NodeDied: It did.
        """
        fiber = self._scheduler.current
        fiber.calls = self.group
        try:
            yield self.system
        finally:
            fiber.calls, fiber.thrown = None, None

    def storage_call(self, call: Callable[..., R], args: tuple[Any, ...]) -> Any:
        """Make a storage call, or what the fault plan makes of it."""
        if call.__name__ == "commit":
            return self._points.commit(self, call, args[0])
        if call.__name__ == "restore_reserve":
            self.reserve = self.reserve and not self._points.has_room()
            return self._points.has_room() and call(*args)
        if call.__name__ == "release_reserve":
            self.reserve = True
            call(*args)
            return True
        return call(*args)


def _nothing(timeout: float) -> None:
    """What is left to stop of a node that is dead."""
