"""The seed page, "Task Cancellation": pending, running, in bulk and in the lifecycle hooks."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from everact import (
    ActorSystem,
    CancelOutcome,
    CancelReason,
    CancelRequested,
    Retry,
    Settings,
    TaskCancelled,
    TaskContext,
    TaskHandler,
    TaskStatus,
    bind,
    events,
)

WAIT = 10.0  # bounds a wait that normally takes milliseconds


class Probe:
    """What a handler tells its test, and what the test tells it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.seen: list[Any] = []


class ProbedHandler:
    def __init__(self, probe: Probe) -> None:
        self.probe = probe


# Cancelling Pending Tasks


@dataclass(frozen=True)
class ProcessData:
    data: str


class ProcessDataHandler(ProbedHandler, TaskHandler[ProcessData]):
    def handle(self, task: ProcessData, ctx: TaskContext) -> None:
        self.probe.seen.append("handle")

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        self.probe.seen.append("on_error")


def test_a_task_that_is_cancelled_before_it_is_due_never_starts(storage: str) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(ProcessDataHandler, lambda: ProcessDataHandler(probe))], storage=storage) as system:
        task = system.dispatch(ProcessData("rows"), delay=timedelta(minutes=10))
        stored_by_the_application = {"operation": str(task.id)}
        before = task.record()
        assert before.status is TaskStatus.SCHEDULED
        assert before.due - before.created == timedelta(minutes=10)

        outcome = system.cancel(stored_by_the_application["operation"], "the user changed their mind")

        after = task.record()
        with pytest.raises(TaskCancelled, match="the user changed their mind"):
            task.result(WAIT)
        system.wait_idle(WAIT)
    assert outcome is CancelOutcome.CANCELLED
    assert (after.status, after.attempt, after.started) == (TaskStatus.CANCELLED, 0, None)
    assert probe.seen == []


def test_a_second_cancel_and_one_of_nothing_say_so(storage: str) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(ProcessDataHandler, lambda: ProcessDataHandler(probe))], storage=storage) as system:
        task = system.dispatch(ProcessData("rows"), delay=600)
        answers = [task.cancel(), task.cancel(), system.cancel(UUID(int=7))]
        finished = system.dispatch(ProcessData("rows"))
        finished.wait(WAIT)
        answers.append(finished.cancel())
    assert answers == [
        CancelOutcome.CANCELLED,
        CancelOutcome.ALREADY_FINISHED,
        CancelOutcome.NOT_FOUND,
        CancelOutcome.ALREADY_FINISHED,
    ]


def test_a_pending_task_can_be_cancelled_by_its_stored_id_after_a_restart(database: str) -> None:
    probe = Probe()
    handlers = [bind(ProcessDataHandler, lambda: ProcessDataHandler(probe))]
    with ActorSystem(handlers=handlers, storage=database) as system:
        stored_by_the_application = str(system.dispatch(ProcessData("rows"), delay=timedelta(minutes=10)).id)
    with ActorSystem(handlers=handlers, storage=database) as system:
        assert system.get(stored_by_the_application).status is TaskStatus.SCHEDULED
        assert system.cancel(stored_by_the_application) is CancelOutcome.CANCELLED
        assert system.get(stored_by_the_application).status is TaskStatus.CANCELLED
    assert probe.seen == []


# Cancelling Running Tasks


@dataclass(frozen=True)
class LongRunning:
    items: int = 1000


class LongRunningHandler(ProbedHandler, TaskHandler[LongRunning]):
    def handle(self, task: LongRunning, ctx: TaskContext) -> None:
        for item in range(task.items):
            ctx.cancellation.raise_if_cancelled()
            self.process(item)

    def process(self, item: int) -> None:
        self.probe.seen.append(item)
        if item == 3:
            self.probe.reached.set()
            assert self.probe.go_on.wait(WAIT)


class AsyncLongRunningHandler(ProbedHandler, TaskHandler[LongRunning]):
    async def handle(self, task: LongRunning, ctx: TaskContext) -> None:
        for item in range(task.items):
            await self.process(item)

    async def process(self, item: int) -> None:
        self.probe.seen.append(item)
        if item == 3:
            self.probe.reached.set()
            await asyncio.Event().wait()  # something that takes for ever


class WaitingHandler(ProbedHandler, TaskHandler[LongRunning]):
    """Sleeps between two polls of something; `wait` is a sleep that a cancel ends."""

    def handle(self, task: LongRunning, ctx: TaskContext) -> None:
        self.probe.seen.extend(range(4))
        self.probe.reached.set()
        assert ctx.cancellation.wait(3600)
        ctx.cancellation.raise_if_cancelled()


@pytest.mark.parametrize("handler", [LongRunningHandler, AsyncLongRunningHandler, WaitingHandler])
def test_a_running_task_is_signalled_and_stops_where_it_looks(storage: str, handler: Any) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(handler, lambda: handler(probe))], storage=storage) as system:
        task = system.dispatch(LongRunning())
        assert probe.reached.wait(WAIT)
        assert system.cancel(task.id, "taking too long") is CancelOutcome.SIGNALLED
        probe.go_on.set()
        record = task.wait(WAIT)
        with pytest.raises(TaskCancelled):
            task.result(WAIT)
    assert (record.status, record.attempt) == (TaskStatus.CANCELLED, 1)
    assert probe.seen == [0, 1, 2, 3]


def test_a_signalled_task_is_not_cancelled_while_it_still_runs(storage: str) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(LongRunningHandler, lambda: LongRunningHandler(probe))], storage=storage) as system:
        task = system.dispatch(LongRunning())
        assert probe.reached.wait(WAIT)
        task.cancel("taking too long")
        assert task.status() is TaskStatus.RUNNING
        assert task.record().cancel_requested == "taking too long"
        probe.go_on.set()
        assert task.wait(WAIT).status is TaskStatus.CANCELLED


def test_a_task_that_finishes_before_it_looks_is_completed_and_its_record_says_so(storage: str) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(LongRunningHandler, lambda: LongRunningHandler(probe))], storage=storage) as system:
        task = system.dispatch(LongRunning(items=4))  # the last item is the one it is cancelled in
        assert probe.reached.wait(WAIT)
        assert task.cancel() is CancelOutcome.SIGNALLED
        probe.go_on.set()
        assert task.wait(WAIT).status is TaskStatus.COMPLETED


def test_a_task_that_waits_for_its_next_attempt_is_cancelled_without_another_one(storage: str) -> None:
    class Flaky(ProbedHandler, TaskHandler[LongRunning]):
        retry = Retry(attempts=2, delay=300)

        def handle(self, task: LongRunning, ctx: TaskContext) -> None:
            self.probe.seen.append("handle")
            raise OSError

        def on_error(self, ctx: TaskContext, error: BaseException) -> None:
            self.probe.seen.append(("on_error", type(error)))

    probe = Probe()
    retried = threading.Event()
    with ActorSystem(handlers=[bind(Flaky, lambda: Flaky(probe))], storage=storage) as system:
        system.events.subscribe(lambda event: retried.set() if isinstance(event, events.TaskRetried) else None)
        task = system.dispatch(LongRunning())
        assert retried.wait(WAIT)
        assert task.cancel() is CancelOutcome.SIGNALLED
        assert task.wait(WAIT).status is TaskStatus.CANCELLED
    assert probe.seen == ["handle", ("on_error", TaskCancelled)]


def test_a_cancel_that_a_deploy_comes_between_is_carried_out_at_the_next_start(database: str) -> None:
    class NeverLooks(ProbedHandler, TaskHandler[LongRunning]):
        def handle(self, task: LongRunning, ctx: TaskContext) -> None:
            self.probe.seen.append("handle")
            self.probe.reached.set()
            assert self.probe.go_on.wait(WAIT)

        def on_error(self, ctx: TaskContext, error: BaseException) -> None:
            self.probe.seen.append(str(error))

    probe = Probe()
    handlers = [bind(NeverLooks, lambda: NeverLooks(probe))]
    system = ActorSystem(handlers=handlers, storage=database, settings=Settings(grace=0.01))
    system.start()
    task = system.dispatch(LongRunning())
    assert probe.reached.wait(WAIT)
    assert task.cancel("too late") is CancelOutcome.SIGNALLED
    system.stop(timeout=0.0)
    probe.go_on.set()
    with ActorSystem(handlers=handlers, storage=database) as second:
        assert second.wait(task.id, WAIT).status is TaskStatus.CANCELLED
    assert probe.seen == ["handle", f"task {task.id} was cancelled: too late"]


@pytest.mark.crash
def test_a_cancel_that_a_crash_comes_between_is_carried_out_at_the_next_start(
    database: str, launch: Callable[..., Any]
) -> None:
    first = launch("cancelling.py", database, "hold")
    first.wait_for("signalled")
    first.kill()

    code, printed = launch("cancelling.py", database, "recover").finish()

    assert code == 0
    assert printed == ["on_error TaskCancelled too late", "cancelled"]


# Bulk Cancellation


@dataclass(frozen=True)
class ProcessItem:
    item: int


class ProcessItemHandler(ProbedHandler, TaskHandler[ProcessItem]):
    """One cell: the first item holds it, the others wait behind."""

    def handle(self, task: ProcessItem, ctx: TaskContext) -> None:
        self.probe.seen.append(task.item)
        self.probe.reached.set()
        assert ctx.cancellation.wait(WAIT)
        ctx.cancellation.raise_if_cancelled()


def _cancel_in_a_loop(system: ActorSystem, ids: list[UUID]) -> dict[UUID, CancelOutcome]:
    return {task_id: system.cancel(task_id) for task_id in ids}


def _cancel_in_one_commit(system: ActorSystem, ids: list[UUID]) -> dict[UUID, CancelOutcome]:
    return system.cancel_many(ids)


@pytest.mark.parametrize("cancel_all", [_cancel_in_a_loop, _cancel_in_one_commit])
def test_a_batch_ends_cancelled_in_whatever_order_it_is_cancelled(
    storage: str, cancel_all: Callable[[ActorSystem, list[UUID]], dict[UUID, CancelOutcome]]
) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(ProcessItemHandler, lambda: ProcessItemHandler(probe))], storage=storage) as system:
        ids = [system.dispatch(ProcessItem(item)).id for item in range(20)]
        outcomes = cancel_all(system, ids)
        system.wait_idle(WAIT)
        statuses = {record.status for record in system.tasks()}
    assert set(outcomes) == set(ids)
    # A cell that is set free by one cancel may have started the next task before its turn came.
    assert set(outcomes.values()) <= {CancelOutcome.CANCELLED, CancelOutcome.SIGNALLED}
    assert statuses == {TaskStatus.CANCELLED}


@pytest.mark.parametrize("cancel_all", [_cancel_in_a_loop, _cancel_in_one_commit])
def test_what_waits_behind_a_running_task_is_cancelled_without_starting(
    storage: str, cancel_all: Callable[[ActorSystem, list[UUID]], dict[UUID, CancelOutcome]]
) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(ProcessItemHandler, lambda: ProcessItemHandler(probe))], storage=storage) as system:
        first = system.dispatch(ProcessItem(0)).id
        assert probe.reached.wait(WAIT)
        waiting = [system.dispatch(ProcessItem(item)).id for item in range(1, 20)]
        outcomes = cancel_all(system, [*waiting, first])
        system.wait_idle(WAIT)
        assert system.counts()[TaskStatus.CANCELLED] == 20
    assert outcomes == dict.fromkeys(waiting, CancelOutcome.CANCELLED) | {first: CancelOutcome.SIGNALLED}
    assert probe.seen == [0]


def test_a_bulk_cancel_answers_for_each_id(storage: str) -> None:
    probe = Probe()
    with ActorSystem(handlers=[bind(ProcessDataHandler, lambda: ProcessDataHandler(probe))], storage=storage) as system:
        finished = system.dispatch(ProcessData("rows"))
        finished.wait(WAIT)
        waiting = system.dispatch(ProcessData("rows"), delay=600)
        outcomes = system.cancel_many([finished, waiting, str(waiting.id), UUID(int=7)])
    assert outcomes == {
        finished.id: CancelOutcome.ALREADY_FINISHED,
        waiting.id: CancelOutcome.CANCELLED,
        UUID(int=7): CancelOutcome.NOT_FOUND,
    }


# Cancellation in Lifecycle Hooks


@dataclass(frozen=True)
class Cancellable:
    pass


@dataclass(frozen=True)
class CleanUp:
    task_id: str


class CancellableHandler(ProbedHandler, TaskHandler[Cancellable]):
    def handle(self, task: Cancellable, ctx: TaskContext) -> None:
        try:
            self.long_running_operation(ctx)
        except CancelRequested:
            self.probe.seen.append("cleaned up")
            raise

    def long_running_operation(self, ctx: TaskContext) -> None:
        self.probe.reached.set()
        assert ctx.cancellation.wait(WAIT)
        ctx.cancellation.raise_if_cancelled()

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        if isinstance(error, TaskCancelled):
            self.probe.seen.append(("on_error", error.task_id, error.reason))
            ctx.dispatch(CleanUp(str(ctx.task_id)))


class AsyncCancellableHandler(ProbedHandler, TaskHandler[Cancellable]):
    async def handle(self, task: Cancellable, ctx: TaskContext) -> None:
        try:
            await self.long_running_operation()
        except asyncio.CancelledError:
            self.probe.seen.append("cleaned up")
            raise

    async def long_running_operation(self) -> None:
        self.probe.reached.set()
        await asyncio.Event().wait()

    async def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        if isinstance(error, TaskCancelled):
            self.probe.seen.append(("on_error", error.task_id, error.reason))
            ctx.dispatch(CleanUp(str(ctx.task_id)))


class CleanUpHandler(ProbedHandler, TaskHandler[CleanUp]):
    def handle(self, task: CleanUp, ctx: TaskContext) -> None:
        self.probe.seen.append(task)


@pytest.mark.parametrize("handler", [CancellableHandler, AsyncCancellableHandler])
def test_a_handler_cleans_up_and_re_raises_and_on_error_dispatches_the_rest(storage: str, handler: Any) -> None:
    probe = Probe()
    handlers = [bind(handler, lambda: handler(probe)), bind(CleanUpHandler, lambda: CleanUpHandler(probe))]
    with ActorSystem(handlers=handlers, storage=storage) as system:
        task = system.dispatch(Cancellable())
        assert probe.reached.wait(WAIT)
        assert task.cancel("by user") is CancelOutcome.SIGNALLED
        assert task.wait(WAIT).status is TaskStatus.CANCELLED
        system.wait_idle(WAIT)
        clean_up = system.workflow(task.id).tasks[1]
    assert probe.seen == ["cleaned up", ("on_error", task.id, "by user"), CleanUp(str(task.id))]
    assert (clean_up.parent_id, clean_up.status) == (task.id, TaskStatus.COMPLETED)


def test_an_error_in_the_clean_up_of_a_cancelled_task_is_kept_and_the_task_is_cancelled(storage: str) -> None:
    class CleansUpBadly(ProbedHandler, TaskHandler[Cancellable]):
        def handle(self, task: Cancellable, ctx: TaskContext) -> None:
            self.probe.reached.set()
            assert ctx.cancellation.wait(WAIT)
            msg = "the connection is gone"
            raise OSError(msg)

        def on_error(self, ctx: TaskContext, error: BaseException) -> None:
            self.probe.seen.append((type(error), type(error.__cause__)))

    probe = Probe()
    with ActorSystem(handlers=[bind(CleansUpBadly, lambda: CleansUpBadly(probe))], storage=storage) as system:
        task = system.dispatch(Cancellable())
        assert probe.reached.wait(WAIT)
        task.cancel()
        record = task.wait(WAIT)
    assert record.status is TaskStatus.CANCELLED
    assert record.error is not None
    assert "the connection is gone" in record.error.traceback
    assert probe.seen == [(TaskCancelled, OSError)]


def test_except_exception_does_not_swallow_a_cancel(storage: str) -> None:
    class CatchesTooMuch(ProbedHandler, TaskHandler[Cancellable]):
        def handle(self, task: Cancellable, ctx: TaskContext) -> str:
            self.probe.reached.set()
            assert ctx.cancellation.wait(WAIT)
            try:
                ctx.cancellation.raise_if_cancelled()
            except Exception:
                return "went on"
            return "was not cancelled"

    probe = Probe()
    with ActorSystem(handlers=[bind(CatchesTooMuch, lambda: CatchesTooMuch(probe))], storage=storage) as system:
        task = system.dispatch(Cancellable())
        assert probe.reached.wait(WAIT)
        task.cancel()
        assert task.wait(WAIT).status is TaskStatus.CANCELLED


def test_a_handler_that_swallows_the_cancel_and_returns_is_completed(storage: str) -> None:
    class CarriesOn(ProbedHandler, TaskHandler[Cancellable]):
        def handle(self, task: Cancellable, ctx: TaskContext) -> str:
            self.probe.reached.set()
            assert ctx.cancellation.wait(WAIT)
            assert ctx.cancellation.reason is CancelReason.USER
            return "half of it"

    probe = Probe()
    with ActorSystem(handlers=[bind(CarriesOn, lambda: CarriesOn(probe))], storage=storage) as system:
        task = system.dispatch(Cancellable())
        assert probe.reached.wait(WAIT)
        task.cancel()
        assert task.result(WAIT) == "half of it"
        assert task.status() is TaskStatus.COMPLETED


def test_a_callback_closes_what_the_handler_blocks_on(storage: str) -> None:
    class ReadsASocket(ProbedHandler, TaskHandler[Cancellable]):
        def handle(self, task: Cancellable, ctx: TaskContext) -> None:
            ctx.cancellation.on_cancel(self.probe.go_on.set)  # stands for socket.close
            self.probe.reached.set()
            assert self.probe.go_on.wait(WAIT)
            ctx.cancellation.raise_if_cancelled()

    probe = Probe()
    with ActorSystem(handlers=[bind(ReadsASocket, lambda: ReadsASocket(probe))], storage=storage) as system:
        task = system.dispatch(Cancellable())
        assert probe.reached.wait(WAIT)
        task.cancel()
        assert task.wait(WAIT).status is TaskStatus.CANCELLED
