"""One seed must be one history: run it twice and compare."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import zip_longest

from everact.tasks.errors import EverActError

CONTEXT = 3
_END = "(it had ended)"


class Diverged(EverActError):
    """Two runs of one seed differ: something in them comes neither from the seed nor from the virtual clock.

    Attributes:
        step: The number of the first step that differs, from 0.
        first: That step in the first run.
        second: That step in the second run.
    """

    def __init__(self, step: int, first: str, second: str, before: Iterable[str] = ()) -> None:
        self.step, self.first, self.second = step, first, second
        common = "".join(f"\n    both    {line}" for line in before)
        super().__init__(
            f"two runs of one seed differ from step {step} on:{common}\n    first   {first}\n    second  {second}\n"
            "Something that ran there takes part in what the simulation does not control. Look for what "
            "`everact.testing.strays` does not see, for state that the first run has left to the second (a module's, "
            "a class's, a file), and for the order of a set."
        )


def digest(steps: Iterable[object]) -> str:
    """A hash of what happened; equal for equal steps, in any process.

    Args:
        steps: What happened, in order. Each counts by its `str`, which must not show addresses.

    Example:
        >>> digest(["a", "b"]) == digest(("a", "b")) != digest(["ab"])
        True
    """
    whole = hashlib.sha256()
    for step in steps:
        text = str(step).encode()
        whole.update(b"%d:" % len(text) + text)
    return whole.hexdigest()


def run_twice(run: Callable[[], Iterable[object]]) -> str:
    """Run something that is decided by a seed twice.

    Args:
        run: Makes a world of its own from the seed, runs it, and returns what happened: a trace, a history, a list.

    Returns:
        The digest of both.

    Raises:
        Diverged: They differ; it shows the first step that does.

    Example:
        >>> from random import Random
        >>> run_twice(lambda: [Random(7).random()]) == run_twice(lambda: [Random(7).random()])
        True
    """
    first, second = ([str(step) for step in run()] for _ in range(2))
    if first == second:
        return digest(first)
    pairs = enumerate(zip_longest(first, second, fillvalue=_END))
    step, (one, other) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
    raise Diverged(step, one, other, first[max(step - CONTEXT, 0) : step])
