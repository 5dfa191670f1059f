"""Delays between restarts: capped exponential growth with jitter. A pure function."""

from __future__ import annotations

import math
from dataclasses import dataclass

from everact.tasks.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next restart.

    Args:
        least: Seconds before the first one.
        most: No delay is longer. Jitter is applied before this cap (unlike Akka's), so it never passes it.
        factor: Growth from one to the next.
        jitter: Up to this share is added at random.

    Raises:
        ConfigurationError: A number is out of range.

    Example:
        >>> [Backoff(1, most=5, jitter=0).delay(n, random=0.0) for n in (0, 1, 2, 3)]
        [1.0, 2.0, 4.0, 5.0]
    """

    least: float = 0.2
    most: float = 60.0
    factor: float = 2.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        numbers = (self.least, self.most, self.factor, self.jitter)
        finite = all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
        if not (finite and 0 <= self.least <= self.most and self.factor >= 1 and self.jitter >= 0):
            msg = f"{self!r} has no meaning; 0 <= least <= most and factor >= 1 and jitter >= 0 must hold"
            raise ConfigurationError(msg)

    def delay(self, restarts: int, random: float) -> float:
        """Seconds to wait.

        Args:
            restarts: How many restarts came before this one without a success between.
            random: A number in [0, 1).
        """
        try:
            grown = self.least * self.factor**restarts * (1 + self.jitter * random)
        except OverflowError:
            return float(self.most if self.least else 0)
        return float(min(self.most, grown))
