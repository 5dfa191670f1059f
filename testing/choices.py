"""Every decision of a simulation is one choice among named options, and a policy makes it.

The calm choice is always the first one: the thread that runs goes on, no fault happens. So whoever shrinks a history
towards zeros gets one with fewer surprises.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from everact.tasks.errors import ConfigurationError, EverActError
from everact.testing.schedule import Schedule

RUN = "who runs"
"""What is chosen at most steps; its options are the names of threads."""
FAULTY = 0.05
"""How often a policy without an opinion lets a fault happen where one may."""


class Policy(Protocol):
    """Makes the choices of one simulation.

    Attributes:
        seed: Where ids and jitter come from, which are no choices.
        on_driver: Whether `choose` must be called on the thread that made the simulation.
    """

    seed: int
    on_driver: bool

    def choose(self, options: Sequence[str], what: str) -> int:
        """Choose one of several options, the calm one being the first; returns its place."""
        ...


class StaleSchedule(EverActError):
    """A schedule was replayed that does not fit: the code, or the fault plan, has changed since it was recorded."""


class RandomWalk:
    """Chooses at random, each thread being as likely as the others; faults are rare.

    Example:
        >>> walk = RandomWalk(7)
        >>> [walk.choose(["a", "b", "c"], RUN) for _ in range(8)]
        [1, 0, 1, 2, 0, 0, 2, 0]
    """

    on_driver = False

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._chance = random.Random(seed)

    def choose(self, options: Sequence[str], what: str) -> int:
        """See `Policy.choose`."""
        return _choose(self._chance, options, what)


class Pct:
    """Probabilistic concurrency testing: finds a bug of a given depth with a known chance (Burckhardt et al., 2010).

    Threads have random priorities, and the highest one that can run does. At `depth - 1` random steps the one that
    has just been chosen falls below all others. A bug that needs `depth` steps in a certain order is met with a chance
    of at least 1 in (threads × steps^(depth - 1)).

    Args:
        seed: Decides the priorities and the steps.
        depth: How many ordering constraints the bug is thought to have; 1 to 4 are usual.
        steps: About how many choices a run has.
    """

    on_driver = False

    def __init__(self, seed: int, depth: int = 3, steps: int = 500) -> None:
        if depth < 1 or steps < 1:
            msg = f"Pct(depth={depth}, steps={steps}) has no meaning; both must be at least 1"
            raise ConfigurationError(msg)
        self.seed = seed
        self._chance = random.Random(seed)
        self._priorities: dict[str, float] = {}
        places = sorted(self._chance.randrange(steps) for _ in range(depth - 1))
        self._falls = {place: -1.0 - number for number, place in enumerate(places)}
        self._made = 0

    def choose(self, options: Sequence[str], what: str) -> int:
        """See `Policy.choose`."""
        if what != RUN:
            return _choose(self._chance, options, what)
        for option in options:
            if option not in self._priorities:
                self._priorities[option] = self._chance.random()
        chosen = max(range(len(options)), key=lambda place: self._priorities[options[place]])
        if (fall := self._falls.get(self._made)) is not None:
            self._priorities[options[chosen]] = fall
        self._made += 1
        return chosen


class Replay:
    """Makes the choices that a schedule has recorded, and calm ones after its end.

    Args:
        schedule: What a failing run has printed.

    Raises:
        ConfigurationError: It is no schedule.

    Example:
        >>> replay = Replay(str(Schedule("0" * 8, 7, (1, 0, 2))))
        >>> [replay.choose(["a", "b", "c"], RUN) for _ in range(5)]
        [1, 0, 2, 0, 0]
    """

    on_driver = False

    def __init__(self, schedule: str) -> None:
        self.schedule = Schedule.parse(schedule)
        self.seed = self.schedule.seed
        self._left = iter(self.schedule.choices)
        self._made = 0

    def choose(self, options: Sequence[str], what: str) -> int:
        """See `Policy.choose`.

        Raises:
            StaleSchedule: There are fewer options than when it was recorded.
        """
        self._made += 1
        choice = next(self._left, 0)
        if choice >= len(options):
            msg = (
                f"choice {self._made} of the schedule takes option {choice} of {what!r}, but there are only "
                f"{len(options)} now ({', '.join(options)}); the code or the fault plan has changed since it was "
                "recorded. Find the failure anew, with the seed that found it"
            )
            raise StaleSchedule(msg)
        return choice


class Drawn:
    """Has each choice drawn by a function of the number of options; later Hypothesis, which shrinks them.

    Args:
        draw: Given how many options there are, returns the place of one; 0 is the calm one. It is called on the
            thread that made the simulation only: what it raises must reach the test.
        seed: Where ids and jitter come from.

    Example:
        >>> Drawn(lambda count: count - 1).choose(["a", "b", "c"], RUN)
        2
    """

    on_driver = True

    def __init__(self, draw: Callable[[int], int], seed: int = 0) -> None:
        self.seed = seed
        self._draw = draw

    def choose(self, options: Sequence[str], what: str) -> int:
        """See `Policy.choose`."""
        choice = self._draw(len(options))
        if not 0 <= choice < len(options):
            msg = f"draw({len(options)}) for {what!r} returned {choice}; it must be from 0 to {len(options) - 1}"
            raise ConfigurationError(msg)
        return choice


def _choose(chance: random.Random, options: Sequence[str], what: str) -> int:
    if what != RUN and chance.random() >= FAULTY:
        return 0
    return chance.randrange(len(options))
