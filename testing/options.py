"""What whoever runs the tests asks for, on the command line of pytest: how many seeds, which, a schedule to replay."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PLUGIN = "pytest_everact"


def _nowhere() -> Path | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked for; where that is nothing, each test decides.

    Attributes:
        seeds: How many seeds a test is run with.
        seed: The first one of them.
        schedule: What is replayed instead.
        folder: Makes the folder for the diagrams of failures, and says where it is; None for no diagrams.
    """

    seeds: int | None = None
    seed: int | None = None
    schedule: str | None = None
    folder: Callable[[], Path | None] = _nowhere

    def seeds_of(self, usual: int) -> range:
        """The seeds to run with; just the one that is asked for, if there is one and no number.

        Example:
            >>> Options(seed=7).seeds_of(100), Options(seed=7, seeds=2).seeds_of(100), Options().seeds_of(100)
            (range(7, 8), range(7, 9), range(0, 100))
        """
        first = self.seed or 0
        many = self.seeds if self.seeds is not None else usual if self.seed is None else 1
        return range(first, first + many)


def current() -> Options:
    """What is asked for now: the plugin knows, if pytest has loaded it."""
    plugin = sys.modules.get(PLUGIN)
    return Options() if plugin is None or not plugin.asked else Options(**plugin.asked[-1])


def test_name(otherwise: str) -> str:
    """The test that runs now, as pytest calls it.

    Args:
        otherwise: What it is called where something else than pytest runs it.
    """
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0] or otherwise
