"""Until when a simulation is to run: `idle`, `drained`, `passed(30)`, or any function of the simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everact.testing.simulation import Simulation

Until = Callable[[Any], object]


def idle(sim: Simulation) -> bool:
    """Nothing is queued, running or waiting for a retry; what is scheduled for later is not waited for."""
    return sim._world.book.idle(sim._world.now())


def drained(sim: Simulation) -> bool:
    """Nothing is left to do at all, but for what is stuck."""
    book = sim._world.book
    return not (book.busy or book.later)
