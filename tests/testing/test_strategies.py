"""What is drawn for a simulation makes sense in it, and its simplest form is calm."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from everact.testing import Faults, Simulation, drained
from everact.testing.choices import Policy
from everact.testing.guided import Guided
from everact.testing.strategies import fault_plans, schedules
from tests.testing.programs.orders import HANDLERS, charge, order

FEW = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
PLANS = fault_plans(HANDLERS, nodes=2, cancels=True)


def test_the_simplest_order_is_the_calm_one_and_the_simplest_plan_is_without_faults() -> None:
    assert repr(find(schedules(), lambda policy: True)) == repr(Guided(()))
    assert find(PLANS, lambda plan: True) == Faults()


def test_a_plan_shrinks_to_the_fault_that_matters() -> None:
    found = find(PLANS, lambda plan: bool(plan.crash_at), settings=settings(derandomize=True, database=None))
    assert found == Faults(crash_at=[1])


@pytest.mark.parametrize("name", list(Faults.__dataclass_fields__))
def test_every_kind_of_fault_is_drawn(name: str) -> None:
    quick = settings(phases=[Phase.generate], max_examples=2000, derandomize=True, database=None)
    find(PLANS, lambda plan: bool(getattr(plan, name)), settings=quick)


@FEW
@given(policy=schedules(), plan=fault_plans(HANDLERS, nodes=2, cancels=True, seconds=5))
def test_promises_are_kept_whatever_is_drawn(policy: Policy, plan: Faults) -> None:
    with Simulation(HANDLERS, nodes=2, policy=policy, faults=plan) as sim:
        sim.advance(30)  # no disk is full then
        sim.dispatch(order(1))
        sim.dispatch(charge.task(2))
        sim.run(until=drained)
        sim.check_all()
