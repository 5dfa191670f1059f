"""An order as a saga, tested in simulations: what holds whoever crashes, however late, and whatever is cancelled.

    pytest examples/test_order_saga.py
    pytest examples/test_order_saga.py --everact-seeds=1000    # more runs of each test

Copy it, put your application in the place of the shop, and say in `money_and_goods_agree` what must hold for yours.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import rule

from everact import Retry, Saga, Settings, Step, TaskContext, WorkflowState, task
from everact.testing import EverActMachine, Faults, RealityCheck, Script, Simulation, at, drained, every, simulate

# The application: in yours, this is imported.


@dataclass(frozen=True)
class Order:
    number: int
    amount: int


class Shop:
    """Stands for a bank, a warehouse and a carrier. What it does takes time, so that others can come between."""

    def __init__(self) -> None:
        self.paid: dict[int, int] = {}
        self.reserved: set[int] = set()
        self.shipped: set[int] = set()
        self.keys: set[object] = set()

    def charge(self, order: Order, key: object) -> None:
        time.sleep(0.1)
        if key not in self.keys:  # as banks do: what is asked for twice under one key is done once
            self.keys.add(key)
            self.paid[order.number] = self.paid.get(order.number, 0) + order.amount

    def refund(self, order: Order) -> None:
        time.sleep(0.1)
        self.paid.pop(order.number, None)  # nothing, if nobody knows whether it was charged, and it was not


shop = Shop()


@task(name="Reserve")
def reserve(order: Order) -> None:
    shop.reserved.add(order.number)


@task(name="Release")
def release(order: Order) -> None:
    shop.reserved.discard(order.number)


@task(name="Charge", retry=Retry(attempts=3, delay=1))
def charge(ctx: TaskContext, order: Order) -> None:
    shop.charge(order, key=ctx.task_id)  # the same in each attempt


@task(name="Refund")
def refund(order: Order) -> None:
    shop.refund(order)


@task(name="Ship", retry=Retry(attempts=3, delay=1))
def ship(order: Order) -> None:
    shop.shipped.add(order.number)


@task(name="Recall")
def recall(order: Order) -> None:
    shop.shipped.discard(order.number)


place_order = Saga(
    "PlaceOrder",
    Step(reserve, undo=release),
    Step(charge, undo=refund),
    Step(ship, undo=recall),  # played if nobody knows whether it was shipped: the process died, then came a cancel
    input=Order,
)
HANDLERS: list[Any] = [reserve, release, charge, refund, ship, recall, place_order]


# What is the same in all tests


def app() -> list[Any]:
    """The handlers, for a run that must not see what the one before has left."""
    shop.__init__()  # type: ignore[misc]
    return HANDLERS


def money_and_goods_agree(sim: Simulation, task: Any, order: Order) -> None:
    """Whoever has paid gets the goods, whoever gets the goods has paid, and nothing is left on the shelf."""
    shipped = order.number in shop.shipped
    paid = shop.paid.get(order.number, 0)
    assert paid == (order.amount if shipped else 0), f"{task.name}: {paid} was paid, shipped: {shipped}"
    assert shipped or order.number not in shop.reserved, f"{task.name}: it is still reserved"
    completed = sim.workflow(task).state is WorkflowState.COMPLETED
    assert completed == shipped, f"{task.name}: shipped: {shipped}, completed: {completed}"


ORDER = Order(1, 80)


# The tests


@simulate(app, max_faults=3, seeds=30, amount=st.integers(1, 999))
def test_money_and_goods_agree(sim: Simulation, amount: int) -> None:
    """Whatever three faults do."""
    order = Order(1, amount)
    placed = sim.dispatch(place_order(order))
    sim.run(until=drained)
    money_and_goods_agree(sim, placed, order)


@simulate(app, max_faults=2, seeds=30, faults=Faults(fail=[("Ship", every(1), ConnectionError)]))
def test_what_cannot_be_shipped_is_paid_back(sim: Simulation) -> None:
    """A single failure is retried: for an undo, all attempts must fail."""
    placed = sim.dispatch(place_order(ORDER))
    sim.run(until=drained)
    sim.expect(placed).compensated()  # which steps depends: what a crash may have interrupted is undone as well
    money_and_goods_agree(sim, placed, ORDER)


HALF_CHARGED = Faults(crash=[("node-1", at(0.05))])


@simulate(app, faults=HALF_CHARGED, seeds=30, nodes=(1, 2), after=st.sampled_from([0.0, 0.05, 0.1, 0.15, 0.5]))
def test_an_order_can_be_cancelled_at_any_time(sim: Simulation, after: float) -> None:
    """Also when nobody knows whether it was charged, as the process has just died; on one node, or with another one."""
    placed = sim.dispatch(place_order(ORDER))
    sim.advance(after)
    sim.cancel_workflow(placed, "the customer has changed her mind")
    sim.run(until=drained)
    money_and_goods_agree(sim, placed, ORDER)


def test_the_undo_waits_for_a_bank_that_is_down(simulation: Any) -> None:
    """One story, told step by step; the fixture comes with everact."""
    plan = Faults(fail=[("Ship", every(1), ConnectionError), ("Refund", every(1), ConnectionError)])
    sim = simulation(app(), faults=plan)
    placed = sim.dispatch(place_order(ORDER))
    sim.run(until=drained)
    sim.expect(placed).stuck()
    assert shop.paid == {1: 80}
    assert shop.reserved == {1}, "older steps wait for the refund"
    sim.resume(placed, skip=True, note="refunded by hand")
    sim.run(until=drained)
    sim.expect(placed).compensated(["Reserve"])


class OrdersByRules(EverActMachine):
    """Orders, cancels, kills and restarts, in any order that Hypothesis thinks of."""

    app = HANDLERS
    max_faults = 1
    settings = Settings(max_crashes=1000)  # else what runs while it is killed three times is set aside

    def set_up(self) -> None:
        shop.__init__()  # type: ignore[misc]
        self.amounts: list[int] = []

    @rule(target=EverActMachine.tasks, amount=st.integers(1, 99))
    def order(self, amount: int) -> Any:
        self.amounts.append(amount)
        return self.dispatch(place_order(Order(len(self.amounts), amount)))

    def at_the_end(self) -> None:
        bill = {number: self.amounts[number - 1] for number in shop.shipped}
        assert shop.paid == bill, f"paid: {shop.paid}, shipped: {bill}"
        assert shop.reserved == shop.shipped, f"reserved: {shop.reserved}, shipped: {shop.shipped}"


TestOrdersByRules = OrdersByRules.TestCase
TestOrdersByRules.settings = hypothesis.settings(max_examples=20, stateful_step_count=20, deadline=None)


def an_order_and_two_kills() -> Script:
    script = Script(HANDLERS, faults=Faults(crash_at=[3, 7]))
    script.dispatch(place_order(ORDER))
    return script


def test_real_processes_come_to_the_same() -> None:
    """On threads and a file, killed by SIGKILL."""
    assert RealityCheck(an_order_and_two_kills).check(times=1).deaths == 2
