"""How long finished tasks are kept: they are deleted a few at a time, between commits."""

from __future__ import annotations

import logging
from collections.abc import Callable

from everact.storage.protocol import Storage
from everact.tasks.errors import StorageError
from everact.tasks.schedule import MICROSECONDS

logger = logging.getLogger("everact.retention")
STEP = 500
"""Rows looked at in one step at the most: half a millisecond if there is nothing to delete, two or more if there is."""
LEAST_STEP = 20
STEP_SECONDS = 0.004
"""How long a step may keep the journal; with large payloads fewer rows fit into that."""
PAUSE_SECONDS = 0.02
"""Between two steps while there is much to delete."""


def next_limit(limit: int, seconds: float) -> int:
    """Decide how many rows the next step looks at: half as many after one that took too long, else some more.

    Example:
        >>> next_limit(500, seconds=0.02), next_limit(250, seconds=0.001), next_limit(500, seconds=0.001)
        (250, 270, 500)
    """
    if seconds > STEP_SECONDS:
        return max(limit // 2, LEAST_STEP)
    return min(limit + LEAST_STEP, STEP) if seconds < STEP_SECONDS / 2 else limit


class Retention:
    """Walks over the stored tasks, and round again; rests until the oldest finished one is due.

    There is no index on finished tasks, as it would cost each completion; a walk costs nobody anything.

    Attributes:
        call_again: Has `step` called, in the journal's turn, after some seconds.
        moves: How often a step has begun or ended; odd while one is under way.
    """

    def __init__(self, storage: Storage, seconds: float | None, monotonic: Callable[[], float]) -> None:
        """Say how long finished tasks are kept; None for ever. Steps are timed by `monotonic`."""
        self.call_again: Callable[[float], None] = lambda seconds: None  # noqa: ARG005
        self.moves = 0
        self._storage = storage
        self._keep = None if seconds is None else int(seconds * MICROSECONDS)
        self._monotonic = monotonic
        self._limit = STEP
        self._after = 0
        self._oldest: int | None = None
        self._rest_until = 0

    def rests(self, now: int) -> bool:
        """Whether a step would do nothing. May be called from any thread."""
        return self._keep is None or now < self._rest_until

    def step(self, now: int) -> None:
        """Look at some rows and delete those that have been finished for long enough.

        Args:
            now: Microseconds.
        """
        if self._keep is None or self.rests(now):
            return
        self.moves += 1
        began = self._monotonic()
        try:
            sweep = self._storage.sweep(now - self._keep, self._after, self._limit)
        except StorageError as error:  # the next tick tries again
            logger.debug("finished tasks could not be deleted", exc_info=error)
            return
        finally:
            self.moves += 1
        self._limit = next_limit(self._limit, self._monotonic() - began)
        self._oldest = min((time for time in (self._oldest, sweep.oldest) if time is not None), default=None)
        if sweep.last is None:
            self._end_lap(now)
        else:
            self._after = sweep.last
            if sweep.deleted:
                self._go_on_soon(now)

    def _go_on_soon(self, now: int) -> None:
        # Resting for a part of the pause: else every tick within it would begin one more series of steps. The whole
        # would be too much, as a clock that is set back a little meanwhile must not end the only series.
        self._rest_until = now + int(PAUSE_SECONDS / 2 * MICROSECONDS)
        self.call_again(PAUSE_SECONDS)

    def _end_lap(self, now: int) -> None:
        """What finishes from now on is younger than what has been seen, so rest until that is old enough."""
        oldest = now if self._oldest is None else self._oldest
        self._after, self._oldest, self._rest_until = 0, None, oldest + (self._keep or 0) + 1
