"""The liveness tick: who has died, what runs long, what ended long ago. It is the only periodic work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from everact.actors.event_stream import EventStream
from everact.actors.journal import Journal
from everact.actors.messages import InTurn, MarkRunning
from everact.actors.pool import Pool
from everact.actors.retention import Retention
from everact.actors.router import Router
from everact.actors.ticket import Ticket
from everact.actors.timer import Timer
from everact.storage.protocol import Adoption, Storage
from everact.tasks import status as st
from everact.tasks.errors import StorageError, StorageFull
from everact.tasks.events import TypeUnhandled
from everact.tasks.schedule import MICROSECONDS

logger = logging.getLogger("everact")
TICK_SECONDS = 0.5
LONG_SECONDS = 1.0
"""What has run as long as this is written down as RUNNING, so that a crash counts against it."""


class Liveness:
    """Adopts the work of dead nodes, at the start and twice a second; `memory://` has no other nodes, and no tick.

    Attributes:
        unhandled: How many stored tasks wait for a handler that this node does not have, by type.
    """

    def __init__(
        self,
        storage: Storage,
        stream: EventStream,
        journal: Journal,
        router: Router,
        timer: Timer,
        pools: Sequence[Pool],
        retention: Retention,
    ) -> None:
        self._storage = storage
        self._stream = stream
        self._journal = journal
        self._router = router
        self._timer = timer
        self._pools = pools
        self._retention = retention
        retention.call_again = self._sweep_again
        self._types = tuple(name for pool in pools for name in pool.names)
        self.unhandled: dict[str, int] = {}
        self._failing = False
        self._moves = (0, 0)
        self._looks = 0
        self._fruitless = -1  # the last look that has found nothing

    def adopt_at_start(self, now: int) -> Adoption:
        """Make the first pass, before the journal runs; on a full disk with the reserve, as `Storage.open`.

        Raises:
            StorageError: It failed.
        """
        try:
            return self._storage.adopt(self._types, now)
        except StorageFull:
            if not self._journal.reserve.use():
                raise
            return self._storage.adopt(self._types, now)

    def begin(self, adoption: Adoption) -> None:
        """Have what the first pass took over run, and go on ticking."""
        self._journal.submit(InTurn(lambda now: self._taken_over(adoption, now)))
        self._journal.submit(InTurn(self._journal.settlement.look_for_asked))
        if self._storage.durable:
            self._timer.call_after(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        """On the timer's thread. The journal's is not woken if there is nothing to look for."""
        if any(pool.closed for pool in self._pools):
            return
        try:
            if self._may_find_something(self._journal.runtime.now()):
                self._looks += 1
                self._journal.submit(InTurn(partial(self.look_around, self._looks)))
        finally:  # a tick that fails must not be the last one
            self._timer.call_after(TICK_SECONDS, self._tick)

    def _may_find_something(self, now: int) -> bool:
        if self._is_waited_for or self._journal.keeps_back() or self._router.is_behind(now):
            return True
        return not self._nothing_is_new() or not self._retention.rests(now) or bool(self._running_long(now))

    @property
    def _is_waited_for(self) -> bool:
        journal = self._journal
        return bool(journal.watchers.waiting or journal.idle_waiters or journal.settlement.workflow_watchers.waiting)

    def _nothing_is_new(self) -> bool:
        """Whether a look would find what the last one has found, which was nothing."""
        last, self._moves = self._moves, self._own_moves
        try:
            quiet = self._storage.quiet()
        except StorageError:
            return False
        # From before the last question to after this one: storage may tell of its own commits or not.
        unmoved = last == self._own_moves and not any(moves % 2 for moves in last)
        return quiet and unmoved and self._looks == self._fruitless

    @property
    def _own_moves(self) -> tuple[int, int]:
        return self._journal.patience.moves, self._retention.moves

    def look_around(self, number: int, now: int) -> None:
        """One look, in the journal's turn."""
        if any(pool.closed for pool in self._pools):
            return
        try:
            if not self._look_in_storage(now):
                self._fruitless = number
            self._failing = False
        except StorageError as error:
            level = logging.DEBUG if self._failing else logging.WARNING
            logger.log(level, "looking for dead nodes failed; it is tried again", exc_info=error)
            self._failing = True
        self._retention.step(now)
        running = self._running_long(now)
        if running:
            self._journal.submit(MarkRunning(running))

    def _look_in_storage(self, now: int) -> bool:
        """Whether there was anything, which may be there the next time, too."""
        settlement = self._journal.settlement
        adoption = self._storage.adopt(self._types, now)
        self._taken_over(adoption, now)
        if self._failing:  # it may have been written all the same, and is not found anew then
            self._router.look_in_storage(now, self._types)
        settlement.look_for_ends()
        asked = settlement.look_for_asked(now)
        unowned = settlement.take_in_unowned(now)
        return bool(adoption.waiting or adoption.interrupted or asked or unowned)

    def _sweep_again(self, seconds: float) -> None:
        self._timer.call_after(seconds, lambda: self._journal.submit(InTurn(self._retention.step)))

    def _taken_over(self, adoption: Adoption, now: int) -> None:
        if adoption.unhandled != self.unhandled:
            self.unhandled = adoption.unhandled
            for kind, count in adoption.unhandled.items():
                logger.warning("%d stored task(s) of type %s wait: no handler for it is registered here", count, kind)
                self._stream.publish(TypeUnhandled(now, kind, count))
        if adoption.waiting:
            logger.info("took over %d task(s) of earlier incarnations", sum(adoption.waiting.values()))
            self._router.look_in_storage(now, adoption.waiting)

    def _running_long(self, now: int) -> list[Ticket]:
        deliveries = [current for pool in self._pools for cell in pool.cells if (current := cell.current) is not None]
        since = now - LONG_SECONDS * MICROSECONDS
        return [
            delivery.ticket
            for delivery in deliveries
            if delivery.started <= since and delivery.ticket.record.status != st.RUNNING and not delivery.closed
        ]
