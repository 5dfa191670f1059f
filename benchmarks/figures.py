"""What repetitions of a case add up to: medians with their range, and ratios between cases. No measuring here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

Figures = dict[str, float]
BUSY_NEIGHBOUR = 0.5
"""From so many cores on that other processes used meanwhile, a repetition is not calm."""


@dataclass(frozen=True, slots=True)
class Run:
    """One repetition of a case.

    Attributes:
        figures: What it measured, by name.
        seconds: How long its process took.
        foreign: How many cores other processes used meanwhile; None where that cannot be told.
    """

    figures: Figures
    seconds: float
    foreign: float | None = None

    @property
    def calm(self) -> bool:
        """Whether nobody else used much of the machine."""
        return self.foreign is None or self.foreign < BUSY_NEIGHBOUR

    def as_json(self) -> dict[str, Any]:
        """For a file; `calm` is written for who reads it there."""
        return {**asdict(self), "calm": self.calm}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Run:
        """Read what `as_json` wrote."""
        return cls(dict(written["figures"]), written["seconds"], written["foreign"])


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a figure, its least and its greatest value."""

    median: float
    least: float
    greatest: float


def counted(runs: Sequence[Run]) -> list[Run]:
    """Choose the runs that figures are taken from: the calm ones, or all if there is none.

    Example:
        >>> busy, calm = Run({}, 1.0, foreign=0.9), Run({}, 1.0, foreign=0.1)
        >>> counted([busy, calm]) == [calm], counted([busy]) == [busy]
        (True, True)
    """
    return [run for run in runs if run.calm] or list(runs)


def spread(runs: Sequence[Run], name: str) -> Spread | None:
    """One figure over the runs of a case; None if none has it."""
    values = [run.figures[name] for run in counted(runs) if name in run.figures]
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def names(cases: Sequence[Sequence[Run]]) -> list[str]:
    """The names of all figures of some cases, in the order in which they come up."""
    return list(dict.fromkeys(name for runs in cases for run in runs for name in run.figures))


def ratio(of: Spread | None, to: Spread | None) -> float | None:
    """One median over another; None if one is missing, or the other one is zero."""
    return None if of is None or to is None or not to.median else of.median / to.median
