"""A small web shop on everact: continuations, cancellation and rescheduling, one after the other.

Run it with `python examples/orders.py`. Its tasks go to a temporary SQLite file; with `--memory` they stay in
memory. The tasks and their handlers come first, section by section; `tell_the_story` then puts them to work.
"""

import sys
import tempfile
import threading
from dataclasses import dataclass
from datetime import timedelta

from everact import ActorSystem, CancelRequested, Retry, TaskCancelled, TaskContext, TaskHandler, task

PATIENCE = 30.0  # seconds; nothing here takes as long as one


def tell(line: str) -> None:
    sys.stdout.write(f"  {line}\n")  # in one piece, as handlers run side by side


@task
def send_email(order_id: int, text: str) -> None:
    tell(f"order {order_id}: mailed: {text}")


# Task Continuations: Basic Continuation


@dataclass(frozen=True)
class ImportProducts:
    file: str


class ImportProductsHandler(TaskHandler[ImportProducts]):
    def handle(self, task: ImportProducts, ctx: TaskContext) -> None:
        ctx.logger.info("reading %s", task.file)  # its log records carry the task's id
        tell(f"products read from {task.file}")

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(publish_catalogue.task())  # stored together with the completion, or not at all


@task
def publish_catalogue() -> None:
    tell("catalogue published")


# Task Continuations: Passing Context


@dataclass(frozen=True)
class WriteInvoice:
    customer: str
    amount: int


class WriteInvoiceHandler(TaskHandler[WriteInvoice]):
    def handle(self, task: WriteInvoice, ctx: TaskContext) -> str:
        ctx.state["copies"] = 2 if task.amount > 1000 else 1  # for the hooks of this delivery
        return f"invoice-{task.customer}-{task.amount}"  # stored as the task's result

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(mail_invoice.task(ctx.result, ctx.state["copies"]))


@task
def mail_invoice(ctx: TaskContext, invoice: str, copies: int) -> None:
    tell(f"{invoice} mailed, {copies} copies, for {ctx.headers['correlation-id']}")  # headers are inherited


# Task Continuations: Conditional Continuations


@dataclass(frozen=True)
class ProcessPayment:
    order_id: int
    card: str


class ProcessPaymentHandler(TaskHandler[ProcessPayment]):
    def handle(self, task: ProcessPayment, ctx: TaskContext) -> bool:
        ctx.logger.info("charging a card for order %d", task.order_id)
        return task.card != "expired"

    def on_completed(self, ctx: TaskContext) -> None:
        if ctx.result:
            ctx.dispatch(send_email.task(ctx.task.order_id, "receipt"))
            ctx.dispatch(reserve_inventory.task(ctx.task.order_id))
        else:
            ctx.dispatch(send_email.task(ctx.task.order_id, "your payment failed"))


# Task Continuations: Error Handling with Continuations


@dataclass(frozen=True)
class ProcessOrder:
    order_id: int


class ProcessOrderHandler(TaskHandler[ProcessOrder]):
    retry = Retry(attempts=3, delay=0.01, factor=2)

    def handle(self, task: ProcessOrder, ctx: TaskContext) -> None:
        tell(f"order {task.order_id}: attempt {ctx.attempt}")
        raise ConnectionError("the warehouse does not answer")

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(rollback_order.task(ctx.task.order_id))
        ctx.dispatch(send_alert.task(str(error)))


@task
def rollback_order(order_id: int) -> None:
    tell(f"order {order_id}: rolled back")


@task
def send_alert(message: str) -> None:
    tell(f"alert: {message}")


# Task Continuations: Complex Workflows (the second stage is ProcessPayment, above)


@task
def validate_order(ctx: TaskContext, order_id: int) -> None:
    tell(f"order {order_id}: valid")
    ctx.dispatch(ProcessPayment(order_id, card="good"))  # in a function as in on_completed: with the completion


@task
def reserve_inventory(ctx: TaskContext, order_id: int) -> None:
    tell(f"order {order_id}: reserved")
    ctx.dispatch(ship_order.task(order_id))
    ctx.dispatch(send_email.task(order_id, "confirmation"))


@task
def ship_order(order_id: int) -> None:
    tell(f"order {order_id}: shipped")


# Task Cancellation: Cancelling Pending Tasks, Bulk Cancellation (of any task: see the story below)
# Task Cancellation: Cancelling Running Tasks, Cancellation in Lifecycle Hooks


@dataclass(frozen=True)
class CountStock:
    shelves: int


class CountStockHandler(TaskHandler[CountStock]):
    counting = threading.Event()

    def handle(self, task: CountStock, ctx: TaskContext) -> None:
        try:
            for _ in range(task.shelves):
                ctx.cancellation.raise_if_cancelled()  # look regularly
                self.counting.set()
                ctx.cancellation.wait(0.01)  # a shelf takes its time; a cancel ends this sleep early
        except CancelRequested:
            tell("stock count: ladder put away")
            raise  # so that the task ends CANCELLED

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        if isinstance(error, TaskCancelled):
            ctx.dispatch(open_aisles.task(error.reason))


@task
def open_aisles(reason: str) -> None:
    tell(f"aisles open again: {reason}")


# Task Rescheduling

delivered = threading.Event()


@task
def track_parcel(ctx: TaskContext, order_id: int, looks: int = 0) -> None:
    tell(f"parcel {order_id}: look {looks + 1}")
    on_its_way = looks < 3
    if on_its_way and looks < 5:
        ctx.dispatch(track_parcel.task(order_id, looks + 1), delay=timedelta(milliseconds=10 * 2**looks))
    else:
        delivered.set()


HANDLERS = [
    *(ImportProductsHandler, publish_catalogue, WriteInvoiceHandler, mail_invoice, ProcessPaymentHandler, send_email),
    *(ProcessOrderHandler, rollback_order, send_alert, validate_order, reserve_inventory, ship_order),
    *(CountStockHandler, open_aisles, track_parcel),
]


def tell_the_story(shop: ActorSystem) -> None:
    print("Basic continuation")
    shop.dispatch(ImportProducts("spring.csv"))
    shop.wait_idle(PATIENCE)

    print("Passing context")
    shop.dispatch(WriteInvoice("ada", 1200), headers={"correlation-id": "visit-42"})
    shop.wait_idle(PATIENCE)

    print("Conditional continuation")
    shop.dispatch(ProcessPayment(1, card="expired"))
    shop.wait_idle(PATIENCE)

    print("Error handling with continuations")
    failing = shop.dispatch(ProcessOrder(2))
    shop.wait_idle(PATIENCE)
    tell(f"order 2: {failing.status()} after {failing.record().attempt} attempts")

    print("Complex workflow")
    order = shop.dispatch(validate_order.task(3))
    shop.wait_idle(PATIENCE)
    tell(f"order 3: workflow {shop.workflow(order.id).state.value}, {len(shop.workflow(order.id).tasks)} tasks")

    print("Cancelling a pending task")
    reminder = shop.dispatch(send_email.task(4, "your basket is waiting"), delay=timedelta(minutes=10))
    kept_elsewhere = str(reminder.id)  # what an application stores beside its own data
    tell(f"reminder: {shop.cancel(kept_elsewhere, reason='order placed').value}")

    print("Cancelling a running task, with clean-up in its hooks")
    count = shop.dispatch(CountStock(shelves=100_000))
    CountStockHandler.counting.wait(PATIENCE)
    tell(f"stock count: {shop.cancel(count, reason='customers waiting').value}")
    shop.wait_idle(PATIENCE)
    tell(f"stock count: {count.status()}")

    print("Bulk cancellation")
    batch = [shop.dispatch(send_email.task(order_id, "newsletter"), delay=600).id for order_id in range(5, 10)]
    cancelled = shop.cancel_many(batch)  # one commit; a loop over shop.cancel(id) does the same
    tell(f"newsletters: {sum(outcome.value == 'cancelled' for outcome in cancelled.values())} cancelled")

    print("Rescheduling")
    shop.dispatch(track_parcel.task(10))
    delivered.wait(PATIENCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        storage = "memory://" if "--memory" in sys.argv else f"sqlite:///{folder}/shop.db"
        with ActorSystem("shop", handlers=HANDLERS, storage=storage) as system:
            tell_the_story(system)
