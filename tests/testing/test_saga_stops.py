"""A saga is told to stop while it waits for a stage that is just about to end."""

from __future__ import annotations

import pytest

from everact import Saga, Step, task
from everact.testing import Simulation, drained
from everact.testing.sweep import policy_of


@task(name="Reserve")
def reserve(n: int) -> None:
    """Takes no time, so that its end comes with the cancel."""


@task(name="Release")
def release(n: int) -> None:
    """Takes no time."""


order = Saga("Order", Step(reserve, undo=release), Step(reserve, name="again"), input=int)


@pytest.mark.parametrize("seed", [11, 67, 287, 301, 316])
def test_a_saga_that_is_to_stop_when_its_stage_ends_ends_once(seed: int) -> None:
    """These seeds came by a saga that was taken in to be stopped, and once more as its stage was over."""
    with Simulation([reserve, release, order], storage="memory", policy=policy_of(seed)) as sim:
        placed = sim.dispatch(order(1))
        sim.cancel(placed)
        sim.run(until=drained, timeout=100)
        sim.check_all()
