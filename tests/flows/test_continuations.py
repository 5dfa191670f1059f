"""The seed page, "Task Continuations": its five samples in Python, and what they rely on."""

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from everact import ActorSystem, Retry, TaskContext, TaskFailed, TaskHandler, TaskStatus, WorkflowState, bind, task

WAIT = 10.0  # bounds a wait that normally takes milliseconds
ONCE = Retry(attempts=1)


class Log:
    """What handlers did, in the order in which they did it."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def add(self, *entry: Any) -> None:
        self.entries.append(entry[0] if len(entry) == 1 else entry)


class LoggingHandler:
    """The twin of a constructor that takes its dependencies: handlers are registered with `bind`."""

    def __init__(self, log: Log) -> None:
        self.log = log


# Basic Continuation


@dataclass(frozen=True)
class FirstTask:
    data: str


@dataclass(frozen=True)
class SecondTask:
    pass


class FirstTaskHandler(LoggingHandler, TaskHandler[FirstTask]):
    def handle(self, task: FirstTask, ctx: TaskContext) -> None:
        self.log.add("processed", task.data)

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(SecondTask())


class SecondTaskHandler(LoggingHandler, TaskHandler[SecondTask]):
    def handle(self, task: SecondTask, ctx: TaskContext) -> None:
        self.log.add("second ran")


class AsyncFirstTaskHandler(LoggingHandler, TaskHandler[FirstTask]):
    async def handle(self, task: FirstTask, ctx: TaskContext) -> None:
        await asyncio.sleep(0)
        self.log.add("processed", task.data)

    async def on_completed(self, ctx: TaskContext) -> None:
        await asyncio.sleep(0)
        ctx.dispatch(SecondTask())


@pytest.mark.parametrize("first", [FirstTaskHandler, AsyncFirstTaskHandler])
def test_on_completed_dispatches_the_next_task_in_the_chain(storage: str, first: type[FirstTaskHandler]) -> None:
    log = Log()
    handlers = [bind(first, lambda: first(log)), bind(SecondTaskHandler, lambda: SecondTaskHandler(log))]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        system.dispatch(FirstTask("rows"))
        system.wait_idle(WAIT)
    assert log.entries == [("processed", "rows"), "second ran"]


def test_the_next_task_is_a_child_in_the_same_workflow(storage: str) -> None:
    log = Log()
    handlers = [
        bind(FirstTaskHandler, lambda: FirstTaskHandler(log)),
        bind(SecondTaskHandler, lambda: SecondTaskHandler(log)),
    ]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        root = system.dispatch(FirstTask("rows"))
        system.wait_idle(WAIT)
        first, second = system.workflow(root.id).tasks
    assert (first.id, first.parent_id, first.workflow_id) == (root.id, None, root.id)
    assert (second.parent_id, second.workflow_id) == (root.id, root.id)


def test_the_next_task_is_not_there_before_the_first_is_completed(storage: str) -> None:
    dispatched, go_on = threading.Event(), threading.Event()

    class SlowToComplete(TaskHandler[FirstTask]):
        def handle(self, task: FirstTask, ctx: TaskContext) -> None:
            pass

        def on_completed(self, ctx: TaskContext) -> None:
            ctx.dispatch(SecondTask())
            dispatched.set()
            assert go_on.wait(WAIT)

    log = Log()
    handlers = [SlowToComplete, bind(SecondTaskHandler, lambda: SecondTaskHandler(log))]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        first = system.dispatch(FirstTask("rows"))
        assert dispatched.wait(WAIT)
        assert [record.id for record in system.tasks()] == [first.id]
        assert first.status() is TaskStatus.RUNNING
        go_on.set()
        system.wait_idle(WAIT)
        assert len(system.tasks(status=TaskStatus.COMPLETED)) == 2


def test_a_first_task_that_fails_has_no_second(storage: str) -> None:
    class Failing(TaskHandler[FirstTask]):
        retry = ONCE

        def handle(self, task: FirstTask, ctx: TaskContext) -> None:
            ctx.dispatch(SecondTask())  # dropped with the attempt
            raise OSError(task.data)

        def on_completed(self, ctx: TaskContext) -> None:
            ctx.dispatch(SecondTask())

    log = Log()
    handlers = [Failing, bind(SecondTaskHandler, lambda: SecondTaskHandler(log))]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        first = system.dispatch(FirstTask("rows"))
        system.wait_idle(WAIT)
        assert [(record.id, record.status) for record in system.tasks()] == [(first.id, TaskStatus.FAILED)]
    assert log.entries == []


def test_a_hook_that_fails_and_is_tried_again_dispatches_the_next_task_once(storage: str) -> None:
    class FailsOnce(LoggingHandler, TaskHandler[FirstTask]):
        retry = Retry(attempts=2, delay=0.0)

        def handle(self, task: FirstTask, ctx: TaskContext) -> None:
            self.log.add("handle")

        def on_completed(self, ctx: TaskContext) -> None:
            self.log.add("on_completed")
            ctx.dispatch(SecondTask())
            if self.log.entries.count("on_completed") == 1:
                raise OSError

    log = Log()
    handlers = [bind(FailsOnce, lambda: FailsOnce(log)), bind(SecondTaskHandler, lambda: SecondTaskHandler(log))]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        system.dispatch(FirstTask("rows"))
        system.wait_idle(WAIT)
    assert log.entries == ["handle", "on_completed", "on_completed", "second ran"]


def test_what_a_hook_dispatched_before_it_raised_is_dropped(storage: str) -> None:
    class StartsBadly(LoggingHandler, TaskHandler[FirstTask]):
        def on_started(self, ctx: TaskContext) -> None:
            ctx.dispatch(SecondTask())
            raise OSError

        def handle(self, task: FirstTask, ctx: TaskContext) -> None:
            self.log.add("handle")

    log = Log()
    handlers = [bind(StartsBadly, lambda: StartsBadly(log)), bind(SecondTaskHandler, lambda: SecondTaskHandler(log))]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        assert system.dispatch(FirstTask("rows")).wait(WAIT).status is TaskStatus.COMPLETED
        system.wait_idle(WAIT)
    assert log.entries == ["handle"]


def test_a_function_dispatches_its_continuation_through_its_context(storage: str) -> None:
    log = Log()

    @task
    def second(amount: int) -> None:
        log.add(amount)

    @task
    def first(ctx: TaskContext, amount: int) -> None:
        ctx.dispatch(second.task(amount + 1))

    with ActorSystem(handlers=[first, second], storage=storage) as system:
        system.dispatch(first.task(1))
        system.wait_idle(WAIT)
    assert log.entries == [2]


# Passing Context


@dataclass(frozen=True)
class ProcessData:
    input_data: str
    correlation_id: str


@dataclass(frozen=True)
class Notify:
    result_id: int
    correlation_id: str


class NotifyHandler(LoggingHandler, TaskHandler[Notify]):
    def handle(self, task: Notify, ctx: TaskContext) -> None:
        self.log.add(task.correlation_id, task.result_id)


class PassesByState(TaskHandler[ProcessData]):
    concurrency = 4

    def handle(self, task: ProcessData, ctx: TaskContext) -> None:
        ctx.state["result_id"] = len(task.input_data)

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Notify(ctx.state["result_id"], ctx.task.correlation_id))


class PassesByResult(TaskHandler[ProcessData]):
    concurrency = 4

    def handle(self, task: ProcessData, ctx: TaskContext) -> int:
        return len(task.input_data)

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Notify(ctx.result, ctx.task.correlation_id))


class PassesByAttribute(TaskHandler[ProcessData]):
    concurrency = 4

    def handle(self, task: ProcessData, ctx: TaskContext) -> None:
        self.continuation = Notify(len(task.input_data), task.correlation_id)

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(self.continuation)


@pytest.mark.parametrize("handler", [PassesByState, PassesByResult, PassesByAttribute])
def test_what_handle_found_out_reaches_the_continuation(storage: str, handler: type[TaskHandler[Any]]) -> None:
    log = Log()
    with ActorSystem(handlers=[handler, bind(NotifyHandler, lambda: NotifyHandler(log))], storage=storage) as system:
        system.dispatch(ProcessData("12345", "corr-1"))
        system.wait_idle(WAIT)
    assert log.entries == [("corr-1", 5)]


@pytest.mark.parametrize("handler", [PassesByState, PassesByResult, PassesByAttribute])
def test_tasks_that_run_side_by_side_do_not_mix_up_what_they_pass(
    storage: str, handler: type[TaskHandler[Any]]
) -> None:
    log = Log()
    with ActorSystem(handlers=[handler, bind(NotifyHandler, lambda: NotifyHandler(log))], storage=storage) as system:
        system.dispatch_many(ProcessData("x" * size, f"corr-{size}") for size in range(50))
        system.wait_idle(WAIT)
    assert sorted(log.entries) == sorted((f"corr-{size}", size) for size in range(50))


def test_what_a_failed_attempt_left_behind_does_not_reach_the_next_one(storage: str) -> None:
    class LeavesThingsBehind(LoggingHandler, TaskHandler[ProcessData]):
        retry = Retry(attempts=2, delay=0.0)

        def handle(self, task: ProcessData, ctx: TaskContext) -> None:
            self.log.add(hasattr(self, "leftover"), dict(ctx.state))
            self.leftover = ctx.state["leftover"] = ctx.attempt
            if ctx.attempt == 1:
                raise OSError

    log = Log()
    with ActorSystem(handlers=[bind(LeavesThingsBehind, lambda: LeavesThingsBehind(log))], storage=storage) as system:
        system.dispatch(ProcessData("rows", "corr-1")).wait(WAIT)
    assert log.entries == [(False, {}), (False, {})]


def test_state_of_the_last_attempt_reaches_on_error(storage: str) -> None:
    class FailsAtAStep(LoggingHandler, TaskHandler[ProcessData]):
        retry = Retry(attempts=2, delay=0.0)

        def handle(self, task: ProcessData, ctx: TaskContext) -> None:
            ctx.state["step"] = f"step {ctx.attempt}"
            raise OSError

        def on_error(self, ctx: TaskContext, error: BaseException) -> None:
            self.log.add(ctx.state)

    log = Log()
    with ActorSystem(handlers=[bind(FailsAtAStep, lambda: FailsAtAStep(log))], storage=storage) as system:
        system.dispatch(ProcessData("rows", "corr-1")).wait(WAIT)
    assert log.entries == [{"step": "step 2"}]


# Conditional Continuations


@dataclass(frozen=True)
class ProcessPayment:
    order_id: int
    card: str = "good"


@dataclass(frozen=True)
class SendReceipt:
    payment: str


@dataclass(frozen=True)
class FulfillOrder:
    payment: str


@dataclass(frozen=True)
class SendPaymentFailedEmail:
    payment: str


class PaymentProcessingHandler(TaskHandler[ProcessPayment]):
    def handle(self, task: ProcessPayment, ctx: TaskContext) -> bool:
        return task.card == "good"

    def on_completed(self, ctx: TaskContext) -> None:
        payment = str(ctx.task_id)
        if ctx.result:
            ctx.dispatch(SendReceipt(payment))
            ctx.dispatch(FulfillOrder(payment))
        else:
            ctx.dispatch(SendPaymentFailedEmail(payment))


def _recorder(kind: type, log: Log) -> Any:
    """A handler that writes down the tasks of one type; it stands for the rest of an application."""

    class Recorder(TaskHandler[kind]):  # type: ignore[valid-type]
        def handle(self, task: Any, ctx: TaskContext) -> None:
            log.add(task)

    return Recorder


@pytest.mark.parametrize("card", ["good", "declined"])
def test_the_result_decides_which_branch_goes_on(storage: str, card: str) -> None:
    log = Log()
    leaves = [_recorder(kind, log) for kind in (SendReceipt, FulfillOrder, SendPaymentFailedEmail)]
    with ActorSystem(handlers=[PaymentProcessingHandler, *leaves], storage=storage) as system:
        payment = system.dispatch(ProcessPayment(7, card))
        system.wait_idle(WAIT)
        assert system.workflow(payment.id).state is WorkflowState.COMPLETED
    reference = str(payment.id)
    went_well: set[Any] = {SendReceipt(reference), FulfillOrder(reference)}
    assert set(log.entries) == (went_well if card == "good" else {SendPaymentFailedEmail(reference)})


# Error Handling with Continuations


@dataclass(frozen=True)
class ProcessOrder:
    order_id: int


@dataclass(frozen=True)
class RollbackOrder:
    task_id: str


@dataclass(frozen=True)
class SendAlert:
    task_id: str
    message: str


class OrderProcessingHandler(TaskHandler[ProcessOrder]):
    retry = Retry(attempts=3, delay=0.0)

    def handle(self, task: ProcessOrder, ctx: TaskContext) -> None:
        msg = f"order {task.order_id} is out of stock"
        raise RuntimeError(msg)

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        ctx.logger.error("order processing failed, initiating rollback", exc_info=error)
        ctx.dispatch(RollbackOrder(str(ctx.task_id)))
        ctx.dispatch(SendAlert(str(ctx.task_id), str(error)))


def test_on_error_dispatches_what_undoes_and_reports_the_failure(storage: str) -> None:
    log = Log()
    handlers = [OrderProcessingHandler, _recorder(RollbackOrder, log), _recorder(SendAlert, log)]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        order = system.dispatch(ProcessOrder(7))
        system.wait_idle(WAIT)
        with pytest.raises(TaskFailed) as failure:
            order.result(WAIT)
        workflow = system.workflow(order.id)
    task_id = str(order.id)
    assert (failure.value.error_type, failure.value.attempts) == ("RuntimeError", 3)
    # Once for the task, not once for each of its three attempts.
    assert set(log.entries) == {RollbackOrder(task_id), SendAlert(task_id, "order 7 is out of stock")}
    assert len(log.entries) == 2
    assert workflow.state is WorkflowState.FAILED
    assert [record.status for record in workflow.tasks] == [
        TaskStatus.FAILED,
        TaskStatus.COMPLETED,
        TaskStatus.COMPLETED,
    ]
    assert {record.parent_id for record in workflow.tasks[1:]} == {order.id}


def test_an_on_error_that_raises_dispatches_nothing_and_the_task_has_failed_all_the_same(storage: str) -> None:
    class FailsTwice(TaskHandler[ProcessOrder]):
        retry = ONCE

        def handle(self, task: ProcessOrder, ctx: TaskContext) -> None:
            msg = "out of stock"
            raise RuntimeError(msg)

        def on_error(self, ctx: TaskContext, error: BaseException) -> None:
            ctx.dispatch(RollbackOrder(str(ctx.task_id)))
            msg = "mail server down"
            raise OSError(msg)

    log = Log()
    with ActorSystem(handlers=[FailsTwice, _recorder(RollbackOrder, log)], storage=storage) as system:
        record = system.dispatch(ProcessOrder(7)).wait(WAIT)
        system.wait_idle(WAIT)
    assert record.status is TaskStatus.FAILED
    assert record.error is not None
    assert str(record.error) == "RuntimeError: out of stock (on_error raised OSError: mail server down)"
    assert log.entries == []


# Complex Workflows


@dataclass(frozen=True)
class ValidateOrder:
    order_id: int


@dataclass(frozen=True)
class PayOrder:
    order_id: int


@dataclass(frozen=True)
class ReserveInventory:
    order_id: int


@dataclass(frozen=True)
class ShipOrder:
    order_id: int


@dataclass(frozen=True)
class SendConfirmationEmail:
    order_id: int


class ValidateOrderHandler(LoggingHandler, TaskHandler[ValidateOrder]):
    def handle(self, task: ValidateOrder, ctx: TaskContext) -> None:
        self.log.add("validated")

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(PayOrder(ctx.task.order_id))


class PayOrderHandler(LoggingHandler, TaskHandler[PayOrder]):
    retry = ONCE

    def handle(self, task: PayOrder, ctx: TaskContext) -> None:
        if task.order_id < 0:
            msg = "card declined"
            raise ValueError(msg)
        self.log.add("paid")

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(ReserveInventory(ctx.task.order_id))


class ReserveInventoryHandler(LoggingHandler, TaskHandler[ReserveInventory]):
    def handle(self, task: ReserveInventory, ctx: TaskContext) -> None:
        self.log.add("reserved")

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(ShipOrder(ctx.task.order_id))
        ctx.dispatch(SendConfirmationEmail(ctx.task.order_id))


def _stages(log: Log) -> list[Any]:
    return [
        bind(ValidateOrderHandler, lambda: ValidateOrderHandler(log)),
        bind(PayOrderHandler, lambda: PayOrderHandler(log)),
        bind(ReserveInventoryHandler, lambda: ReserveInventoryHandler(log)),
        _recorder(ShipOrder, log),
        _recorder(SendConfirmationEmail, log),
    ]


def test_stages_run_one_after_the_other_and_the_last_one_branches(storage: str) -> None:
    log = Log()
    with ActorSystem(handlers=_stages(log), storage=storage) as system:
        order = system.dispatch(ValidateOrder(7))
        system.wait_idle(WAIT)
        workflow = system.workflow(order.id)
    assert log.entries[:3] == ["validated", "paid", "reserved"]
    assert set(log.entries[3:]) == {ShipOrder(7), SendConfirmationEmail(7)}
    assert workflow.state is WorkflowState.COMPLETED
    validate, pay, reserve, ship, confirm = workflow.tasks
    assert [pay.parent_id, reserve.parent_id] == [validate.id, pay.id]
    assert [ship.parent_id, confirm.parent_id] == [reserve.id, reserve.id]
    for earlier, later in ((validate, pay), (pay, reserve), (reserve, ship), (reserve, confirm)):
        assert earlier.finished is not None
        assert later.started is not None
        assert earlier.finished <= later.started


def test_a_stage_that_fails_ends_the_workflow_there(storage: str) -> None:
    log = Log()
    with ActorSystem(handlers=_stages(log), storage=storage) as system:
        order = system.dispatch(ValidateOrder(-7))
        system.wait_idle(WAIT)
        workflow = system.workflow(order.id)
    assert log.entries == ["validated"]
    assert workflow.state is WorkflowState.FAILED
    assert [record.status for record in workflow.tasks] == [TaskStatus.COMPLETED, TaskStatus.FAILED]


def test_many_workflows_side_by_side_each_keep_to_their_order(storage: str) -> None:
    log = Log()
    with ActorSystem(handlers=_stages(log), storage=storage) as system:
        orders = system.dispatch_many(ValidateOrder(number) for number in range(20))
        system.wait_idle(WAIT)
        for order in orders:
            names = [record.type.rpartition(".")[2] for record in system.workflow(order.id).tasks]
            assert names[:3] == ["ValidateOrder", "PayOrder", "ReserveInventory"]
            assert sorted(names[3:]) == ["SendConfirmationEmail", "ShipOrder"]
