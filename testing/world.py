"""The world of a simulation: its scheduler, its nodes over one storage, and the faults that come with time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence, Sized
from functools import partial
from pathlib import Path
from typing import Any

from everact import Settings
from everact.storage.codec import codec_for
from everact.tasks.errors import ConfigurationError
from everact.tasks.ids import uuid7_bytes
from everact.tasks.registration import HandlerSpec
from everact.testing.book import Book
from everact.testing.choices import Policy
from everact.testing.fault_points import FaultPoints
from everact.testing.faults import Faults
from everact.testing.fiber import NodeDied
from everact.testing.fresh_file import database, fresh_folder
from everact.testing.history import History
from everact.testing.node import Node
from everact.testing.scheduler import Scheduler
from everact.testing.seeded import EPOCH, ids_of
from everact.testing.watched import WatchedInline, WatchedMemory, WatchedSqlite

INLINE = "memory://"
RESTART_SECONDS = 2.0
"""After a kill, where other nodes live: these look for dead ones twice a second, and adopt."""


class World:
    """Nodes, their storage and what decides about them.

    Attributes:
        nodes: By name, "node-1" and so on.
        book: Keeps the history.
        events: Whether nodes have a subscriber.
    """

    def __init__(
        self,
        policy: Policy,
        faults: Faults,
        storage: str,
        settings: Settings,
        handlers: Sequence[HandlerSpec],
        middleware: Sequence[Any],
        max_faults: int = 0,
        events: bool = True,
    ) -> None:
        self.scheduler = scheduler = Scheduler(policy)
        self.history = History(lambda: (scheduler.steps, scheduler.time))
        self.book = Book(self.history)
        self.faults = faults
        self.events = events
        self.points = FaultPoints(faults, scheduler, self.book, max_faults)
        self.nodes: dict[str, Node] = {}
        self._chance = ids_of(policy.seed)
        codecs = [codec_for(spec, settings.secret_keys, settings.payload_limit) for spec in handlers]
        self._parts = settings, list(zip(handlers, codecs, strict=True)), middleware
        self._storage = storage
        self._folder: Path | None = None
        self._memory: WatchedMemory | None = None

    # -- from beginning to end -----------------------------------------------------------------------------

    def begin(self, nodes: int) -> None:
        """Start the nodes, and have the faults come that have a time."""
        if self._storage == "sqlite":
            self._folder = fresh_folder()
        for number in range(nodes):
            name = f"node-{number + 1}"
            self.nodes[name] = node = Node(
                name, self.scheduler, self._chance, self.book, self.points, self._make_storage, *self._parts
            )
            node.events = self.events
        self._await_faults()
        for node in self.nodes.values():
            self.start(node)

    def _make_storage(self, tell: Any) -> WatchedSqlite | WatchedMemory:
        if self._folder is not None:
            return WatchedSqlite(database(self._folder), tell)
        self._memory = self._memory or (WatchedInline() if self._storage == INLINE else WatchedMemory())
        self._memory.tell = tell
        return self._memory

    def _await_faults(self) -> None:
        ring, plan = self.scheduler.at, self.faults
        for name, moment in plan.crash:
            ring(moment.seconds, partial(self.nodes[name].kill, f"at {moment.seconds:g} s"))
        for name, moment, length in plan.pause:
            ring(moment.seconds, partial(self.nodes[name].pause, length))
        for name, moment, shift in plan.jump:
            ring(moment.seconds, partial(self.nodes[name].set_clock, shift))

    def at_step(self, step: int, ready: Callable[[], object], act: Callable[[], object], label: str) -> None:
        """Have somebody outside do something at a step of the scheduler, or as soon after that as it is ready."""
        scheduler = self.scheduler

        def run() -> None:
            scheduler.wait(lambda: scheduler.steps >= step and ready(), None, "means to", label)
            act()

        scheduler.spawn(run, label, None, scheduler.driver.group)

    def end(self) -> list[str]:
        """Leave no thread and no file behind; returns the names of threads that do not leave."""
        self.history.seal()
        for node in self.nodes.values():
            node.kill("as the simulation is over")
        left = self.scheduler.end()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return [thread.name for thread in left]

    # -- nodes ---------------------------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        """A node by its name.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name not in self.nodes:
            msg = f"there is no {name!r} here; the nodes are {', '.join(self.nodes)}"
            raise ConfigurationError(msg)
        return self.nodes[name]

    def start(self, node: Node) -> None:
        """Start a node; if it dies in that, once more: a fault plan has an end."""
        while not node.alive:
            try:
                node.start()
            except NodeDied:
                continue

    def living(self, name: str | None = None) -> Node:
        """A node that lives: that one, started if it is dead; or any, the first one started if all are dead.

        Only the driver starts nodes; others wait for one.
        """
        if self.scheduler.current is not self.scheduler.driver:
            nodes = list(self.nodes.values()) if name is None else [self.node(name)]
            self.scheduler.wait(lambda: any(node.ready for node in nodes), None, "waits for a node", None)
            return next(node for node in nodes if node.ready)
        found = next((node for node in self.nodes.values() if node.alive), None)
        wanted = self.node(name) if name is not None else found or next(iter(self.nodes.values()))
        self.start(wanted)
        return wanted

    def revive(self) -> float | None:
        """Start dead nodes again: the only one at once, others when those that live have had time to adopt.

        Returns:
            When the next one is to be started; None if none is dead.
        """
        dead = [node for node in self.nodes.values() if not node.alive]
        for node in dead:
            if len(dead) == len(self.nodes) or node.died_at + RESTART_SECONDS <= self.scheduler.time:
                self.start(node)
        return min((node.died_at + RESTART_SECONDS for node in self.nodes.values() if not node.alive), default=None)

    def room(self, handlers: Sized) -> int:
        """How many tasks a node may have in memory: for each handler a mailbox, what is urgent, claims; an agenda."""
        return 4 * self._parts[0].high_water * (len(handlers) + 1)

    # -- time and ids --------------------------------------------------------------------------------------

    def now(self) -> int:
        """Wall-clock time in microseconds, of the node whose clock is most ahead."""
        ahead = max((node.clock_offset for node in self.nodes.values()), default=0)
        return EPOCH + int(self.scheduler.time * 1_000_000) + max(ahead, 0)

    def new_id(self) -> bytes:
        """An id as a client would make one."""
        return uuid7_bytes((EPOCH + int(self.scheduler.time * 1_000_000)) // 1000, self._chance.getrandbits(80))
