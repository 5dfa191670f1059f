"""The life of a task as one table: which status may follow which."""

from __future__ import annotations

import enum

from everact.tasks.errors import IllegalMove


class TaskStatus(enum.IntEnum):
    """Where a task is in its life. The numbers are what storages keep; terminal ones are >= 3.

    Example:
        >>> str(TaskStatus.COMPLETED), TaskStatus.COMPLETED.terminal
        ('completed', True)
    """

    SCHEDULED = 0
    """Due later: dispatched with a delay, or waiting between two attempts."""
    QUEUED = 1
    """Due, waiting for a free cell."""
    RUNNING = 2
    """A cell has it."""
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5
    QUARANTINED = 6
    """It cannot be read, or it kept killing the process; its bytes are kept."""

    @property
    def terminal(self) -> bool:
        """Whether the task never leaves this status."""
        return self >= TaskStatus.COMPLETED

    def __str__(self) -> str:
        return self.name.lower()


SCHEDULED, QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, QUARANTINED = (int(s) for s in TaskStatus)
"""The same as plain numbers: storages and hot loops compare these, without the cost of an enum."""

LEGAL_MOVES: dict[int, frozenset[int]] = {
    SCHEDULED: frozenset({QUEUED, CANCELLED, QUARANTINED}),
    QUEUED: frozenset({RUNNING, CANCELLED, QUARANTINED}),
    RUNNING: frozenset({SCHEDULED, QUEUED, COMPLETED, FAILED, CANCELLED, QUARANTINED}),
    COMPLETED: frozenset(),
    FAILED: frozenset(),
    CANCELLED: frozenset(),
    QUARANTINED: frozenset(),
}
"""RUNNING goes back to SCHEDULED for a retry, and to QUEUED when a shutdown or a crash interrupts it."""


def check_move(current: int, following: int) -> None:
    """Refuse a move that is not in `LEGAL_MOVES`.

    Raises:
        IllegalMove: The table has no such move.
    """
    if following not in LEGAL_MOVES[current]:
        msg = f"a task cannot go from {TaskStatus(current)} to {TaskStatus(following)}; please report this"
        raise IllegalMove(msg)
