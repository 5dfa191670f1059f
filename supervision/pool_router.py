"""A router over a pool of equal actors: one address, and a rule for who gets a message."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any

from everact.actors.actor import Actor
from everact.actors.cell import Cell
from everact.actors.envelope import ORDERS, Envelope
from everact.actors.future import Future
from everact.actors.lifecycle import CellState
from everact.actors.mailbox import BoundedMailbox, Mailbox
from everact.actors.wait_for import Wait
from everact.supervision.child_spec import ChildSpec
from everact.supervision.intensity import Intensity
from everact.supervision.round import Child
from everact.supervision.supervisor import Supervisor
from everact.tasks.errors import ActorDead, ConfigurationError, EverActError


class Routing(enum.Enum):
    """Who of a pool gets a message."""

    BALANCED = "balanced"
    """Whoever is idle first: all share one mailbox, so no message waits behind a slow one."""
    BY_KEY = "by_key"
    """Always the same one for the same key, so messages with one key keep their order, over restarts too.

    When one has ended for good, its keys go to the others, a part to each; all other keys stay where they are.
    """
    BROADCAST = "broadcast"
    """All of them. The reply to an ask is the list of their replies, or the first error among them."""


class PoolRouter(Supervisor):
    """A supervisor whose children are equal, and whose address stands for all of them.

    What is told or asked at its address goes straight to a child, in the sender's thread. A child that has ended for
    good gets nothing any more. Stopping the router is stopping a supervisor: each child ends after its message at
    hand, and what waits becomes dead letters.

    Args:
        factory: Makes a child on every call.
        size: How many children.
        routing: Who gets a message.
        key: For BY_KEY: gives the key of a message. It runs in the sender's thread, and what it raises is raised
            there.
        spec: How the children are treated.
        intensity: How many restarts in how long are tolerated, of all children together.

    Raises:
        ConfigurationError: `size` is not positive, or `key` is missing, or given where it means nothing.

    Example:
        >>> from everact import ActorSystem
        >>> class Squarer(Actor):
        ...     def on_receive(self, number):
        ...         return number * number
        >>> with ActorSystem() as system:
        ...     pool = system.spawn(lambda: PoolRouter(Squarer, size=4))
        ...     [pool.ask(number) for number in (1, 2, 3)]
        [1, 4, 9]
    """

    def __init__(
        self,
        factory: Callable[[], Actor],
        size: int,
        *,
        routing: Routing = Routing.BALANCED,
        key: Callable[[Any], Hashable] | None = None,
        spec: ChildSpec | None = None,
        intensity: Intensity | None = None,
    ) -> None:
        if type(size) is not int or size < 1:
            msg = f"size={size!r} must be a whole number from 1 on"
            raise ConfigurationError(msg)
        if (key is None) == (routing is Routing.BY_KEY):
            msg = f"routing={routing}, key={key!r}: BY_KEY needs a key function, and no other rule takes one"
            raise ConfigurationError(msg)
        base = replace(spec or ChildSpec(), factory=factory)
        super().__init__([replace(base, name=str(number)) for number in range(size)], intensity=intensity)
        if not isinstance(self._cell.mailbox, Switchboard):  # else it is the one of the instance before this
            self._cell.mailbox = Switchboard(self._cell)
        switchboard = self._cell.mailbox
        if key is not None:
            switchboard.route = partial(switchboard.by_key, key)
        elif routing is Routing.BROADCAST:
            switchboard.route = switchboard.broadcast

    def _actor_set_up(self, done: Callable[..., object]) -> None:
        switchboard = self._cell.mailbox
        assert isinstance(switchboard, Switchboard)  # noqa: S101 - __init__ has seen to it

        def connected(error: BaseException | None = None) -> None:
            switchboard.connect([child.cell for child in self._children.values()])
            done(error)

        super()._actor_set_up(connected)

    def _remove(self, child: Child) -> None:
        switchboard = self._cell.mailbox
        if isinstance(switchboard, Switchboard) and not self._closing:
            switchboard.disconnect(child.cell)  # first: whoever sees it among the children no more is sent to others
        super()._remove(child)


class Switchboard(Mailbox):
    """The mailbox of a router: messages for the router itself stay, others go to its children."""

    __slots__ = ("_cell", "_cells", "_homes", "_is_deserted", "feed", "route")

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self._cell = cell
        self._cells: list[Cell] = []
        self._homes: list[Cell | None] = []
        self._is_deserted = False
        self.route: Callable[[Envelope], None] = self.balance
        kind = cell.actor_class
        runtime, bound = cell.environment.runtime, kind.mailbox_bound
        self.feed = Mailbox(self) if bound is None else BoundedMailbox(self, runtime, bound, kind.overflow)

    def connect(self, cells: list[Cell]) -> None:
        """Route to these from now on."""
        self._cells, self._homes = cells, list(cells)
        self._is_deserted = False
        for cell in cells:
            cell.feed = self.feed
            cell.wake()

    def disconnect(self, gone: Cell) -> None:
        """Route to this one no more, which has ended for good. When all have, what waits for them is refused."""
        self._cells = [cell for cell in self._cells if cell is not gone]
        self._homes = [None if cell is gone else cell for cell in self._homes]
        self._is_deserted = not self._cells
        if self._is_deserted:
            self._turn_away()

    def put(self, envelope: Envelope) -> None:
        """See `Mailbox.put`."""
        if type(envelope.message) in ORDERS:
            super().put(envelope)
        elif self._is_deserted:
            self.refuse(envelope, self._deserted())
        else:
            self.route(envelope)

    def close(self) -> None:
        """See `Mailbox.close`."""
        super().close()
        self.feed.close()

    def __len__(self) -> int:
        return len(self._lane) + len(self.feed)

    # -- the rules -----------------------------------------------------------------------------------------

    def balance(self, envelope: Envelope) -> None:
        """See `Routing.BALANCED`."""
        self.feed.put(envelope)
        if self._is_deserted:  # the last one has gone meanwhile
            self._turn_away()

    def by_key(self, key: Callable[[Any], Hashable], envelope: Envelope) -> None:
        """See `Routing.BY_KEY`."""
        cells = self._cells
        if not cells:
            self.refuse(envelope, self._deserted())
            return
        number = hash(key(envelope.message))
        homes = self._homes
        cell = homes[number % len(homes)]
        if cell is None:
            # Of those that are left, each key has its own order of preference, so it moves only when its child goes.
            cell = max(cells, key=lambda each: hash((number, each)))
        if envelope.reply_to is not None:
            envelope.reply_to.target = cell
        cell.mailbox.put(envelope)

    def broadcast(self, envelope: Envelope) -> None:
        """See `Routing.BROADCAST`."""
        cells = self._cells
        if not cells:
            self.refuse(envelope, self._deserted())
            return
        if envelope.reply_to is None:
            for cell in cells:
                cell.mailbox.put(Envelope(envelope.message))
            return
        replies = [Future[Any](self._cell.environment.runtime, cell) for cell in cells]
        envelope.reply_to.target = Gathering(self._cell, replies)
        envelope.reply_to.on_open(partial(_withdraw_too, replies, envelope.reply_to))
        for reply in replies:
            reply.on_open(partial(_gather, replies, envelope.reply_to))
        for cell, reply in zip(cells, replies, strict=True):
            cell.mailbox.put(Envelope(envelope.message, reply))

    def _turn_away(self) -> None:
        while (envelope := self.feed.take()) is not None:
            self.refuse(envelope, self._deserted())

    def _deserted(self) -> ActorDead:
        return ActorDead(f"all actors of the pool {self.path} have ended; stop it and spawn another one")

    # -- as the owner of the feed --------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The router's."""
        return self._cell.path

    @property
    def is_current(self) -> bool:
        """Whether a child runs in this thread: it cannot wait for room that it has to make itself."""
        return any(cell.is_current for cell in self._cells)

    def wake(self) -> bool:
        """Wake one idle child. If none is, whoever is done first looks into the feed."""
        return any(cell.state is CellState.RUNNING and cell.wake() for cell in self._cells)

    def refuse(self, envelope: Envelope, error: EverActError) -> None:
        """Answer as the router."""
        self._cell.refuse(envelope, error)


class Gathering:
    """Who the reply to a broadcast comes from, in the graph of who waits for whom: all of a pool, and none alone."""

    current = None

    def __init__(self, router: Cell, replies: list[Future[Any]]) -> None:
        self.path = router.path
        self.waits_for = [Wait(None, reply) for reply in replies]

    @staticmethod
    def step_aside() -> Callable[[], object]:
        """See `Asker.step_aside`; it has no thread."""
        return lambda: None


def _withdraw_too(replies: list[Future[Any]], whole: Future[Any]) -> None:
    for reply in replies:
        reply.withdrawn = reply.withdrawn or whole.withdrawn


def _gather(replies: list[Future[Any]], whole: Future[Any]) -> None:
    if not all(reply.opened for reply in replies):
        return
    try:
        whole.settle([reply.get() for reply in replies])
    except BaseException as error:
        whole.fail(error)
