"""Makes a failing run small: fewer faults, and an order of steps with fewer surprises, that still fails the same way.

A candidate is the plan without some faults, or the choices without some surprises; it is kept if its run fails as the
first one did. Faults that belong to the test stay: without what it is about it may fail at the same line for another
reason. The plan goes first, since a fault less makes a run shorter. Then surprises are taken away in halves,
quarters and so on (delta debugging, Zeller 1999), each time in two ways: made calm, and left out with the calm choices
before them, which moves what comes later to the front. In the end a fault may move to another commit, if with that the
calm order fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from everact.testing.faults import Faults
from everact.testing.guided import Guided
from everact.testing.moments import after, commit
from everact.testing.run import Run, trimmed

MOST_RUNS = 400
MOST_SECONDS = 30.0
"""Real ones: a run that does not come to rest may take some."""
_FAR = 6
NONE = Faults()
Play = Callable[[Guided, Faults], Run]
Gaps = list[tuple[int, int]]
"""For each surprise: how many calm choices come before it, and what it is."""


class Shrink:
    """Looks for the smallest run that fails as a given one.

    Args:
        play: Runs a candidate.
        first: The run that has failed.
        most_runs: How many to try.
        kept: The faults that stay.

    Attributes:
        best: The smallest one so far.
        runs: How many were tried.
    """

    def __init__(self, play: Play, first: Run, most_runs: int = MOST_RUNS, kept: Faults = NONE) -> None:
        self.best, self.runs = first, 0
        self._play = play
        self._first = first
        self._most = most_runs
        self._kept = kept
        self._end = time.monotonic() + MOST_SECONDS
        self._seed = first.seed
        self._tried: set[tuple[str, tuple[int, ...]]] = set()

    def search(self) -> Run:
        """Try until nothing gets smaller, or there were runs enough."""
        self._better(self.best.sim.faults, ())
        while not self._over:
            before = self.best
            self._drop_faults()
            self._drop_surprises()
            self._lower_surprises()
            self._move_faults()
            if self.best is before:
                break
        return self.best

    @property
    def _over(self) -> bool:
        return self.runs >= self._most or time.monotonic() > self._end

    def _better(self, faults: Faults, choices: Sequence[int]) -> bool:
        """Try a candidate, and keep it if it fails in the same way and is no larger."""
        candidate = trimmed(choices)
        mark = (repr(faults), candidate)
        if mark in self._tried or self._over:
            return False
        self._tried.add(mark)
        self.runs += 1
        run = self._play(Guided(candidate, self._seed), faults)
        if not run.fails_as(self._first) or _weight(run) >= _weight(self.best):
            return False
        self.best = run
        return True

    def _drop_faults(self) -> None:
        if len(numbers := self._droppable()) > 1:
            self._better(self._kept, self.best.choices)
            numbers = self._droppable()
        for number in reversed(numbers):
            self._better(self.best.sim.faults.without(number), self.best.choices)

    def _droppable(self) -> list[int]:
        kept = self._kept.each()
        return [number for number, fault in enumerate(self.best.sim.faults.each()) if fault not in kept]

    def _drop_surprises(self) -> None:
        size = len(_gaps(self.best.choices))
        while size:
            place = 0
            while place < len(gaps := _gaps(self.best.choices)):
                if not any(self._better(self.best.sim.faults, choices) for choices in _without(gaps, place, size)):
                    place += size
            size //= 2

    def _lower_surprises(self) -> None:
        for place in range(len(_gaps(self.best.choices))):
            gaps = _gaps(self.best.choices)
            if place < len(gaps) and gaps[place][1] > 1:
                self._better(self.best.sim.faults, _choices([*gaps[:place], (gaps[place][0], 1), *gaps[place + 1 :]]))

    def _move_faults(self) -> None:
        """In calm order commits have other numbers, and what goes wrong must go wrong there to fail."""
        for number in self._droppable():
            name, value = self.best.sim.faults.each()[number]
            for other in _others(name, value):
                if not self.best.surprises or self._better(self.best.sim.faults.with_other(number, other), ()):
                    break


def _others(name: str, value: Any) -> Iterator[Any]:
    """The same fault at other commits, or steps, nearest first."""
    if isinstance(value, int):
        yield from _near(value, 1)
    elif isinstance(value, after | commit):
        yield from (type(value)(number) for number in _near(value.number, 1))
    elif name in ("cancel", "cancel_workflow"):
        yield from ((value[0], step) for step in _near(value[1], 5))


def _near(number: int, stride: int) -> Iterator[int]:
    """Numbers around one.

    Example:
        >>> list(_near(2, 1))
        [1, 3, 4, 5, 6, 7, 8]
    """
    for away in range(stride, (_FAR + 1) * stride, stride):
        yield from (other for other in (number - away, number + away) if other > 0)


def _weight(run: Run) -> tuple[int, ...]:
    return run.sim.faults.count, run.surprises, sum(run.choices), len(run.choices), run.sim.steps


def _gaps(choices: Sequence[int]) -> Gaps:
    """Choices as pairs of how many calm ones come before, and which one that is not.

    Example:
        >>> _gaps([0, 0, 2, 1])
        [(2, 2), (0, 1)]
    """
    found: Gaps = []
    calm = 0
    for choice in choices:
        if choice:
            found.append((calm, choice))
        calm = 0 if choice else calm + 1
    return found


def _choices(gaps: Gaps) -> list[int]:
    """The choices again."""
    return [choice for calm, surprise in gaps for choice in (*[0] * calm, surprise)]


def _without(gaps: Gaps, place: int, size: int) -> Iterator[list[int]]:
    """Choices without some surprises: the places of the others stay, or move to the front."""
    before, gone, rest = gaps[:place], gaps[place : place + size], gaps[place + size :]
    if rest:
        moved = sum(calm + 1 for calm, _ in gone)
        yield _choices([*before, (rest[0][0] + moved, rest[0][1]), *rest[1:]])
    yield _choices([*before, *rest])
