"""How long finished tasks are kept: they are deleted a few at a time, between commits."""

from __future__ import annotations

import logging
from collections.abc import Callable

from everact.storage.protocol import Storage
from everact.tasks.errors import StorageError
from everact.tasks.schedule import MICROSECONDS

logger = logging.getLogger("everact.retention")
STEP = 500
"""Rows looked at in one step: a millisecond if there is nothing to delete, some if there is."""
PAUSE_SECONDS = 0.02
"""Between two steps while there is much to delete."""


class Retention:
    """Walks over the stored tasks, and round again; rests until the oldest finished one is due.

    There is no index on finished tasks, as it would cost each completion; a walk costs nobody anything.

    Attributes:
        call_again: Has `step` called, in the journal's turn, after some seconds.
    """

    def __init__(self, storage: Storage, seconds: float | None) -> None:
        """Say how long finished tasks are kept; None for ever."""
        self.call_again: Callable[[float], None] = lambda seconds: None  # noqa: ARG005
        self._storage = storage
        self._keep = None if seconds is None else int(seconds * MICROSECONDS)
        self._after = 0
        self._oldest: int | None = None
        self._rest_until = 0

    def step(self, now: int) -> None:
        """Look at some rows and delete those that have been finished for long enough.

        Args:
            now: Microseconds.
        """
        if self._keep is None or now < self._rest_until:
            return
        try:
            sweep = self._storage.sweep(now - self._keep, self._after, STEP)
        except StorageError as error:  # the next tick tries again
            logger.debug("finished tasks could not be deleted", exc_info=error)
            return
        self._oldest = min((time for time in (self._oldest, sweep.oldest) if time is not None), default=None)
        if sweep.last is None:
            self._end_lap(now)
        else:
            self._after = sweep.last
            if sweep.deleted:
                self.call_again(PAUSE_SECONDS)

    def _end_lap(self, now: int) -> None:
        """What finishes from now on is younger than what has been seen, so rest until that is old enough."""
        oldest = now if self._oldest is None else self._oldest
        self._after, self._oldest, self._rest_until = 0, None, oldest + (self._keep or 0) + 1
