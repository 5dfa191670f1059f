"""Waiting for a database that another process has locked: short tries, with jittered waits between them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from everact.actors.runtime import Runtime
from everact.storage.protocol import Batch, Committed, Storage
from everact.tasks.errors import StorageBusy

logger = logging.getLogger("everact.journal")
FIRST_WAIT = 0.002
LONGEST_WAIT = 0.05
"""Kept short: who has waited long must not ask less often than who has just come."""
SHARE = 0.75
"""Of the time that callers wait: they are to hear that nothing was stored, before they give up and do not know."""
STOP_SECONDS = 2.0
REPORT_SECONDS = 1.0


def next_wait(tries: int, elapsed: float, limit: float, random: float) -> float | None:
    """Decide how long to wait before the next try.

    Args:
        tries: How many have failed.
        elapsed: Seconds since the first one began.
        limit: Seconds after which to give up.
        random: A number in [0, 1). Without chance, processes that met once would meet at every try.

    Returns:
        Seconds; None to give up.

    Example:
        >>> [next_wait(tries, elapsed=0.0, limit=9.0, random=0.0) for tries in (1, 2, 3, 99)]
        [0.001, 0.002, 0.004, 0.025]
    """
    left = limit - elapsed
    if left <= 0:
        return None
    longest = min(FIRST_WAIT * 2.0 ** min(tries - 1, 30), LONGEST_WAIT)
    return min(longest * (1 + random) / 2, left)


class Patience:
    """Commits, again and again while storage is busy.

    The journal waits meanwhile, and its mailbox fills: what gathers is written by the next commit. Callers who give
    up before the lock is free are told that the outcome is unknown, as their tasks are still in the batch.

    Attributes:
        seconds: How long callers wait for a commit.
        moves: How often a commit has begun or ended; odd while one is under way.
    """

    def __init__(self, runtime: Runtime, storage: Storage, stopping: Callable[[], bool]) -> None:
        """Wire it up.

        Args:
            runtime: For clock, chance and waits.
            storage: Where to commit.
            stopping: Whether the journal has been told to stop; from then on it waits for `STOP_SECONDS` in all.
        """
        self.seconds = 30.0
        self.moves = 0
        self._runtime = runtime
        self._storage = storage
        self._stopping = stopping
        self._stop_by: float | None = None

    def commit(self, batch: Batch) -> Committed:
        """Write a batch.

        Raises:
            StorageBusy: The lock was not free in time; nothing was written.
            Exception: As `Storage.commit`.
        """
        self.moves += 1
        began = self._runtime.monotonic()
        try:
            return self._storage.commit(batch)
        except StorageBusy as error:
            if self._storage.inline:  # there the caller's own thread would wait
                raise
            return self._insist(batch, error, began)
        finally:
            self.moves += 1

    def _insist(self, batch: Batch, error: StorageBusy, began: float) -> Committed:
        tries, reported = 1, False
        while True:
            now = self._runtime.monotonic()
            wait = next_wait(tries, now - began, self._deadline(began, now) - began, self._runtime.random())
            if wait is None:
                raise error
            if now - began >= REPORT_SECONDS and not reported:
                reported = True
                logger.warning("commits wait: another process has kept the database locked for %.1f s", now - began)
            self._runtime.gate().wait(wait)
            try:
                return self._storage.commit(batch)
            except StorageBusy as again:
                error = again
                tries += 1

    def _deadline(self, began: float, now: float) -> float:
        deadline = began + self.seconds * SHARE
        if self._stopping():
            if self._stop_by is None:
                self._stop_by = now + STOP_SECONDS
            deadline = min(deadline, self._stop_by)
        return deadline
