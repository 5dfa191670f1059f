"""A short pause after some tasks in a row, so that other threads get the interpreter lock, the journal's above all.

A commit asks for that lock after each of its steps. Python gives it to who comes while nobody holds it, and makes who
has it give it up after 5 ms only. A cell that runs one short task after the other would make the journal wait that long
at each step; with a pause between them SQLite writes on one core while handlers run on the other.
"""

from __future__ import annotations

from everact.actors.runtime import Runtime

TASKS = 32
"""So many tasks in a row."""
SELDOM = 1024
SECONDS = 0.00002
DEAR_SECONDS = 0.004
"""A pause that took as long: some thread computes, and has given the lock back because it had to."""


def next_pause(tasks: int, seconds: float) -> int:
    """Decide after how many tasks to pause again: after twice as many if the last pause was dear.

    Args:
        tasks: After how many the last pause came.
        seconds: How long it took.

    Example:
        >>> next_pause(32, 0.0001), next_pause(32, 0.005), next_pause(1024, 0.005), next_pause(1024, 0.0001)
        (32, 64, 1024, 32)
    """
    return min(2 * tasks, SELDOM) if seconds >= DEAR_SECONDS else TASKS


class Breather:
    """The pauses of one cell.

    Attributes:
        due: After how many tasks in a row the next one is.
    """

    __slots__ = ("_runtime", "due")

    def __init__(self, runtime: Runtime) -> None:
        self.due = TASKS
        self._runtime = runtime

    def pause(self) -> None:
        """Let go of the interpreter lock for a moment. Blocks the calling thread."""
        began = self._runtime.monotonic()
        self._runtime.gate().wait(SECONDS)
        self.due = next_pause(self.due, self._runtime.monotonic() - began)
