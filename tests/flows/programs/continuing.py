"""Orders that are shipped after their payment, in a process that dies on the way: `continuing.py DATABASE MODE [N]`.

MODE is when it is killed: `die-in-on-completed` and `die-in-on-error` after the follow-up was dispatched and before
it is stored, `die-among-many` while order N of many completes, `recover` never: this is the second start.
"""

import os
import signal
import sys
from dataclasses import dataclass

from everact import ActorSystem, Retry, TaskContext, TaskHandler, bind

MANY = 400


@dataclass(frozen=True)
class PayOrder:
    order_id: int
    declined: bool = False


@dataclass(frozen=True)
class ShipOrder:
    order_id: int


@dataclass(frozen=True)
class SendAlert:
    order_id: int


class PayOrderHandler(TaskHandler[PayOrder]):
    retry = Retry(attempts=1)
    concurrency = 4

    def __init__(self, deadly_order: int) -> None:
        self.deadly_order = deadly_order

    def handle(self, task: PayOrder, ctx: TaskContext) -> None:
        if task.declined:
            msg = "card declined"
            raise ValueError(msg)

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(ShipOrder(ctx.task.order_id))
        self.perhaps_die(ctx.task.order_id)

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(SendAlert(ctx.task.order_id))
        self.perhaps_die(ctx.task.order_id)

    def perhaps_die(self, order_id: int) -> None:
        if order_id == self.deadly_order:
            os.kill(os.getpid(), signal.SIGKILL)


class ShipOrderHandler(TaskHandler[ShipOrder]):
    def handle(self, task: ShipOrder, ctx: TaskContext) -> None:
        pass


class SendAlertHandler(TaskHandler[SendAlert]):
    def handle(self, task: SendAlert, ctx: TaskContext) -> None:
        pass


def main(database: str, mode: str, deadly_order: str = "-1") -> None:
    deadly = 7 if mode in {"die-in-on-completed", "die-in-on-error"} else int(deadly_order)
    handlers = [bind(PayOrderHandler, lambda: PayOrderHandler(deadly)), ShipOrderHandler, SendAlertHandler]
    with ActorSystem("shop", handlers=handlers, storage=database) as system:
        if mode == "die-among-many":
            system.dispatch_many(PayOrder(order_id) for order_id in range(MANY))
        elif mode != "recover":
            system.dispatch(PayOrder(7, declined=mode == "die-in-on-error"))
        system.wait_idle(20)


if __name__ == "__main__":
    main(*sys.argv[1:])
