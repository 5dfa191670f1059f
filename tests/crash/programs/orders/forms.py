"""The same order, written by hand and as sagas."""

from __future__ import annotations

from typing import Any

from everact import Saga, Step, TaskContext, bind
from orders.script import CHARGE, RECEIPT, RESERVE, SHIP
from orders.shop import (
    Charge,
    Desk,
    Recall,
    RecallHandler,
    Receipt,
    Refund,
    RefundHandler,
    Release,
    ReleaseHandler,
    Reserve,
    SendAlertHandler,
    Ship,
    Shop,
    StepDesk,
)

NUMBER = 7


class ReserveByHand(StepDesk[Reserve]):
    step = RESERVE

    def handle(self, task: Reserve, ctx: TaskContext) -> None:
        ctx.compensate_with(Release(task.order))
        super().handle(task, ctx)

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Charge(ctx.task.order))


class ChargeByHand(StepDesk[Charge]):
    step = CHARGE

    def handle(self, task: Charge, ctx: TaskContext) -> None:
        super().handle(task, ctx)
        ctx.dispatch(Ship(task.order))

    def compensate(self, task: Charge, ctx: TaskContext) -> None:
        self.shop.undo(CHARGE, ctx)


class ShipByHand(StepDesk[Ship]):
    step = SHIP

    def handle(self, task: Ship, ctx: TaskContext) -> None:
        ctx.compensate_with(Recall(task.order))
        super().handle(task, ctx)

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Receipt(ctx.task.order))


class ReceiptByHand(StepDesk[Receipt]):
    step = RECEIPT
    critical = False


class ReserveHandler(StepDesk[Reserve]):
    step = RESERVE


class ChargeHandler(StepDesk[Charge]):
    step = CHARGE


class ShipHandler(StepDesk[Ship]):
    step = SHIP


class ReceiptHandler(StepDesk[Receipt]):
    step = RECEIPT


RESERVED = Step(Reserve, undo=Release)
CHARGED = Step(Charge, undo=Refund)
SAGAS = {
    "saga": Saga("saga", RESERVED, CHARGED, Step(Ship, pivot=True), Step(Receipt, critical=False)),
    "reversible": Saga("reversible", RESERVED, CHARGED, Step(Ship, undo=Recall), Step(Receipt)),
    "strict": Saga("strict", RESERVED, CHARGED, Step(Ship, pivot=True), Step(Receipt)),
}
_BY_HAND = (ReserveByHand, ChargeByHand, ShipByHand, ReceiptByHand)
_BY_SAGA = (ReserveHandler, ChargeHandler, ShipHandler, ReceiptHandler)
_FOR_BOTH = (ReleaseHandler, RefundHandler, RecallHandler, SendAlertHandler)


def handlers_of(form: str, shop: Shop) -> list[object]:
    """What to register for a form."""
    desks: tuple[type[Desk[Any]], ...] = (_BY_SAGA if form in SAGAS else _BY_HAND) + _FOR_BOTH
    return [*(_bound(desk, shop) for desk in desks), *([SAGAS[form]] if form in SAGAS else [])]


def _bound(desk: type[Desk[Any]], shop: Shop) -> object:
    return bind(desk, lambda: desk(shop))


def order(form: str) -> object:
    """The task that starts an order."""
    return SAGAS[form](NUMBER) if form in SAGAS else Reserve(NUMBER)
