"""An order as a saga: reserve, charge, ship, receipt. When a step fails, the ones before it are undone.

    python examples/order_saga.py             # the file orders.db
    python examples/order_saga.py --memory    # nothing is kept

Four orders: one that goes well, one whose card is declined, one that is cancelled while it waits for the warehouse,
and one whose refund fails until somebody looks at it.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

from everact import ActorSystem, Retry, Saga, Step, TaskContext, WorkflowState, task

ONCE = Retry(attempts=1)


@dataclass(frozen=True)
class Order:
    """What the saga is given."""

    number: int
    amount: int


def tell(line: str) -> None:
    sys.stdout.write(f"  {line}\n")  # in one piece, as steps run on threads of their own


class Bank:
    """Stands for a payment service, which may be down."""

    down = False


# The steps. Each may run again after a crash, so each names what it does by the order's number.


@task
def reserve(order: Order) -> str:
    tell(f"order {order.number}: reserved")
    return f"shelf-{order.number}"


@task(retry=ONCE)
def charge(order: Order) -> str:
    if order.amount > 1000:
        msg = "card declined"
        raise ValueError(msg)
    tell(f"order {order.number}: charged {order.amount}")
    return f"payment-{order.number}"


picking = threading.Event()


@task
def pick(ctx: TaskContext, order: Order) -> None:
    if order.number == 3:
        picking.set()
        ctx.cancellation.wait(30)
        ctx.cancellation.raise_if_cancelled()
    tell(f"order {order.number}: picked")


@task(retry=ONCE)
def ship(order: Order, shelf: str) -> str:
    if order.number == 4:
        msg = "no truck"
        raise ValueError(msg)
    tell(f"order {order.number}: shipped from {shelf}")
    return "on its way"


@task(retry=ONCE)
def receipt(order: Order) -> None:
    msg = "the mail server is down"  # not critical: the order goes on
    raise ConnectionError(msg)


# What undoes them. These may run more than once, and must bear that there is nothing to undo.


@task
def release(ctx: TaskContext, order: Order) -> None:
    tell(f"order {order.number}: released ({ctx.outcome})")


@task(retry=Retry(attempts=2, delay=0.01))
def refund(order: Order, payment: str | None) -> None:
    if Bank.down:
        msg = "the bank does not answer"
        raise ConnectionError(msg)
    tell(f"order {order.number}: refunded {payment}")


order_saga = Saga(
    "order",
    Step(reserve, undo=release),
    # Not results["charge"]: it is missing if nobody knows whether the charge went through.
    Step(charge, undo=lambda order, results: refund.task(order, results.get("charge"))),
    Step(pick),
    Step(lambda order, results: ship.task(order, results["reserve"]), name="ship", pivot=True),
    Step(receipt, critical=False),
)


def main() -> None:
    storage = "memory://" if "--memory" in sys.argv else "sqlite:///orders.db"
    handlers = [reserve, charge, pick, ship, receipt, release, refund, order_saga]
    with ActorSystem("shop", handlers=handlers, storage=storage) as system:
        print("All goes well")
        done = system.dispatch(order_saga(Order(1, 80)))
        tell(f"result: {done.result(timeout=30)['ship']}; the receipt was not critical")

        print("The card is declined")
        declined = system.wait_workflow(system.dispatch(order_saga(Order(2, 5000))).id, timeout=30)
        tell(f"{declined.state.value}: {declined.reason.rpartition('failed: ')[2]}")

        print("Cancelled half-way")
        waiting = system.dispatch(order_saga(Order(3, 30)))
        picking.wait(30)
        tell(f"cancel: {system.cancel_workflow(waiting.id, 'the customer has changed her mind').value}")
        tell(system.wait_workflow(waiting.id, timeout=30).state.value)

        print("The refund fails too")
        Bank.down = True
        stuck = system.dispatch(order_saga(Order(4, 50)))
        while system.workflow(stuck.id).state is not WorkflowState.STUCK:
            threading.Event().wait(0.01)
        for entry in system.workflow(stuck.id).undo_log:
            tell(f"undo {entry.state}")
        Bank.down = False
        system.resume(stuck.id, note="the bank is back")
        tell(system.wait_workflow(stuck.id, timeout=30).state.value)


if __name__ == "__main__":
    main()
