"""A running system as the metrics see it: what has happened is in its tally, what is the case is looked up here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from everact.actors.lifecycle import CellState
from everact.actors.pool import Pool
from everact.actors.ticket import Ticket
from everact.metrics.snapshot import SOURCES, Snapshot, TaskState
from everact.metrics.tally import OTHER, Tally
from everact.storage.protocol import Waiting
from everact.supervision.guardian import descendants
from everact.tasks import status as st
from everact.tasks.errors import EverActError
from everact.tasks.workflow import WorkflowState

if TYPE_CHECKING:
    from everact.engine import Engine

logger = logging.getLogger("everact.metrics")
FRESH_SECONDS = 1.0
WAIT_SECONDS = 0.2
SHARE = 50
"""Reading what waits takes time in proportion to the backlog; it is done at most in one part of so many of the time."""
MICROSECONDS = 1_000_000
MOST_STUCK = 1000


class Meter:
    """The metrics of one incarnation; see `everact.metrics.snapshot.Source`.

    How many tasks wait in storage is read on a thread of its own when a scrape finds the last reading stale. The scrape
    waits for it as long as a small file takes, and goes on with the last reading if that is not enough.
    """

    def __init__(self, name: str, version: str, engine: Engine) -> None:
        self.name = name
        self.version = version
        self._engine = engine
        self._runtime = engine.node.runtime
        self.tally = Tally(self._runtime.lock())
        self._waiting: list[Waiting] = []
        self._stuck = 0
        self._stale_at = 0.0
        self._may_read = [None]
        self._remove: Callable[[], None] | None = None
        engine.node.journal.facts.meter(self.tally, engine.node.pools)
        engine.node.decided = self.decided

    def expose(self) -> None:
        """Have the system scraped from now on."""
        self._remove = SOURCES.add(self)

    def close(self) -> None:
        """No more."""
        if self._remove is not None:
            self._remove()

    def decided(self, actor: str, decision: str) -> None:
        """Count what supervision has decided. Called from any thread."""
        directive = "restart" if decision.startswith("restart") else decision.replace(" ", "_")
        self.tally.decided(actor, directive)

    def healthy(self) -> bool:
        """See `Source.healthy`."""
        return bool(self._engine.node.dispatcher.system.health().healthy)

    def snapshot(self) -> Snapshot:
        """See `Source.snapshot`."""
        self._freshen()
        engine, node = self._engine, self._engine.node
        node.journal.flush()
        cells = [cell for pool in node.pools for cell in pool.cells]
        spawned = [] if engine.guardian is None else list(descendants(engine.guardian.cell))
        return Snapshot(
            tasks=self._task_states(),
            alive={
                "internal": 3,
                "handler": len(cells),
                "user": sum(cell.state not in (CellState.DOWN, CellState.STOPPED) for cell in spawned),
            },
            unhandled=engine.unhandled,
            suspended=sum(pool.suspended for pool in node.pools),
            stuck=self._stuck,
            abandoned=sum(cell.abandoned for cell in cells) + sum(cell.left_behind for cell in spawned),
            full=node.journal.reserve.used,
            dead_letters=engine.dead_letters.count,
            dropped_events=node.stream.dropped,
        )

    def _task_states(self) -> list[TaskState]:
        """By series, of which several types may share one."""
        states: dict[tuple[str, str], TaskState] = {}
        named = self._engine.node.dispatcher.named
        for pool in self._engine.node.pools:
            self._add_pool(states, pool)
        now = self._runtime.now()
        for waiting in self._waiting:
            handled = named.get(waiting.type)
            if handled is not None:
                state = _state(states, handled)
                state.ready += waiting.ready
                state.scheduled += waiting.scheduled
                if waiting.oldest is not None:
                    state.oldest = max(state.oldest, (now - waiting.oldest) / MICROSECONDS)
        return list(states.values())

    def _add_pool(self, states: dict[tuple[str, str], TaskState], pool: Pool) -> None:
        state = _state(states, pool)
        state.started += sum(cell._attempt.started for cell in pool.cells)
        state.running += sum(cell.open_delivery is not None for cell in pool.cells)
        state.depth += len(pool.mailbox)

    # -- what waits in storage -----------------------------------------------------------------------------

    def _freshen(self) -> None:
        if self._runtime.monotonic() < self._stale_at:
            return
        try:
            self._may_read.pop()
        except IndexError:
            return  # somebody reads it now
        done = self._runtime.gate()

        def read() -> None:
            try:
                self._read()
            finally:
                self._may_read.append(None)
                done.open()

        self._runtime.spawn(read, f"{self.name}/metrics")
        done.wait(WAIT_SECONDS)

    def _read(self) -> None:
        began = self._runtime.monotonic()
        try:
            storage = self._engine.storage
            self._waiting = storage.waiting(self._runtime.now(), self._running())
            self._stuck = len(storage.workflows((WorkflowState.STUCK,), b"", MOST_STUCK))
        except EverActError as error:
            logger.debug("what waits cannot be counted now; the last numbers stand", exc_info=error)
        now = self._runtime.monotonic()
        self._stale_at = now + max(FRESH_SECONDS, SHARE * (now - began))

    def _running(self) -> set[int]:
        """Rows that a cell has, though storage has them as waiting until they have run a while."""
        deliveries = [cell.current for pool in self._engine.node.pools for cell in pool.cells]
        tickets: list[Ticket] = [delivery.ticket for delivery in deliveries if delivery is not None]
        return {ticket.record.seq for ticket in tickets if ticket.record.status != st.RUNNING}


def _state(states: dict[tuple[str, str], TaskState], pool: Pool) -> TaskState:
    series = pool.series
    labels = (OTHER, OTHER) if series is None else (series.task, series.queue)
    if labels not in states:
        states[labels] = TaskState(*labels)
    return states[labels]
