"""A handler's pool: its cells, and the mailbox that they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from everact.actors.pool_mailbox import PoolMailbox
from everact.actors.spill import Spill
from everact.actors.ticket import Ticket
from everact.metrics.tally import Series
from everact.storage.codec import TaskCodec
from everact.tasks.registration import HandlerSpec

if TYPE_CHECKING:
    from everact.actors.handler_actor import HandlerActor


class Pool:
    """The cells of one handler. An idle cell takes the next task; no task waits behind a busy one.

    Attributes:
        spec: The handler.
        codec: How its tasks travel.
        cells: The cells.
        suspended: Whether supervision has stopped it for failing too often.
        closed: Whether nothing starts any more, since the system stops.
        spill: What of its tasks stays in storage.
        series: Where what happens to its tasks is counted; None if metrics are off.
    """

    def __init__(self, spec: HandlerSpec, codec: TaskCodec, high: float = math.inf) -> None:
        self.spec = spec
        self.codec = codec
        self.mailbox = PoolMailbox()
        self.cells: list[HandlerActor] = []
        self.suspended = False
        self.closed = False
        self.spill = Spill(high)
        self.series: Series | None = None
        self._idle: list[HandlerActor] = []
        self._held = False

    @classmethod
    def nowhere(cls) -> Pool:
        """A closed pool without a handler, for tasks that are stored here but run elsewhere."""
        pool = cls(None, None)  # type: ignore[arg-type]
        pool.closed = True
        return pool

    def add(self, cell: HandlerActor) -> None:
        """Add a cell; it is idle."""
        self.cells.append(cell)
        self._idle.append(cell)

    def offer(self, tickets: list[Ticket]) -> None:
        """Put tickets into the mailbox and wake as many idle cells as there are tickets."""
        self.mailbox.extend(tickets)
        if not self._held:
            self.wake(len(tickets))

    def offer_first(self, tickets: list[Ticket]) -> None:
        """As `offer`, before the others of their priority."""
        self.mailbox.extend_first(tickets)
        self.wake(len(tickets))

    @property
    def names(self) -> tuple[str, ...]:
        """Under which names its tasks are stored."""
        return (self.spec.name, *self.spec.aliases)

    @property
    def stalled(self) -> bool:
        """Whether nothing starts now."""
        return self.suspended or self.closed

    def take(self) -> Ticket | None:
        """The next ticket for a cell; None if there is none, or none may start."""
        # Not by `stalled`: this and the next two are asked once or more per task.
        if self.suspended or self.closed:
            return None
        return self.mailbox.take()

    @property
    def has_work(self) -> bool:
        """Whether a cell would be given a ticket now."""
        return bool(self.mailbox) and not (self.suspended or self.closed)

    @property
    def busy(self) -> bool:
        """Whether no cell is idle."""
        return not self._idle

    def wake(self, count: int) -> bool:
        """Wake up to `count` idle cells; says whether it has woken any."""
        left = count
        while left > 0 and self._idle and not (self.suspended or self.closed):
            try:
                cell = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if cell.wake():
                left -= 1
        return left < count

    def take_in(self, flush: Callable[[], None]) -> None:
        """Have the journal say what is new, in the thread of a cell that takes the first and wakes others for the rest.

        What anybody offers meanwhile is in the mailbox before it is looked at here.
        """
        self._held = True
        try:
            flush()
        finally:
            self._held = False
            self.wake(len(self.mailbox) - 1)

    def rest(self, cell: HandlerActor) -> None:
        """Note that a cell is idle. It must look for work once more afterwards, as some may have come before."""
        self._idle.append(cell)

    def rouse(self, cell: HandlerActor) -> None:
        """Note that an idle cell has found something to do by itself."""
        try:
            self._idle.remove(cell)
        except ValueError:
            return  # somebody is waking it at this moment; it is awake already

    def resume(self) -> None:
        """Let a suspended pool work again."""
        self.suspended = False
        self.wake(len(self.mailbox))
