"""The seed page, "Best Practices": what it advises can be done, and holds."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from everact import ActorSystem, CancelRequested, Retry, TaskContext, TaskHandler, TaskStatus, bind

WAIT = 10.0  # bounds a wait that normally takes milliseconds


@dataclass(frozen=True)
class Stage:
    """One link of a chain; `left` more follow."""

    left: int


# Continuations: "Store Correlation IDs"


class StageHandler(TaskHandler[Stage]):
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def handle(self, task: Stage, ctx: TaskContext) -> None:
        self.seen.append((task.left, ctx.headers["correlation-id"], ctx.workflow_id))

    def on_completed(self, ctx: TaskContext) -> None:
        if ctx.task.left:
            ctx.dispatch(Stage(ctx.task.left - 1))


def test_a_correlation_id_follows_a_chain_from_one_end_to_the_other(storage: str) -> None:
    seen: list[Any] = []
    with ActorSystem(handlers=[bind(StageHandler, lambda: StageHandler(seen))], storage=storage) as system:
        first = system.dispatch(Stage(3), headers={"correlation-id": "order-7"})
        system.dispatch(Stage(1), headers={"correlation-id": "order-8"})
        system.wait_idle(WAIT)
        chain = system.tasks(workflow=first.id)
    assert [entry for entry in seen if entry[1] == "order-7"] == [(left, "order-7", first.id) for left in (3, 2, 1, 0)]
    assert [record.headers for record in chain] == [{"correlation-id": "order-7"}] * 4


def test_the_whole_workflow_is_found_by_the_id_of_its_first_task(storage: str) -> None:
    with ActorSystem(handlers=[bind(StageHandler, lambda: StageHandler([]))], storage=storage) as system:
        first = system.dispatch(Stage(3), headers={"correlation-id": "order-7"})
        system.dispatch(Stage(1), headers={"correlation-id": "order-8"})
        system.wait_idle(WAIT)
        workflow = system.workflow(first.id)
        listed = system.tasks(workflow=str(first.id), status=TaskStatus.COMPLETED)
    assert workflow.tasks[0].id == first.id
    assert len(workflow.tasks) == 4
    assert [record.id for record in listed] == [record.id for record in workflow.tasks]


def test_a_link_of_the_chain_can_add_to_what_it_inherits(storage: str) -> None:
    class Tracing(TaskHandler[Stage]):
        def handle(self, task: Stage, ctx: TaskContext) -> None:
            if task.left:
                ctx.dispatch(Stage(task.left - 1), headers={"hop": str(task.left)})

    with ActorSystem(handlers=[Tracing], storage=storage) as system:
        first = system.dispatch(Stage(2), headers={"correlation-id": "order-7"})
        system.wait_idle(WAIT)
        headers = [record.headers for record in system.workflow(first.id).tasks]
    assert headers == [
        {"correlation-id": "order-7"},
        {"correlation-id": "order-7", "hop": "2"},
        {"correlation-id": "order-7", "hop": "1"},
    ]


# Continuations: "Consider Idempotency"


@pytest.mark.crash
def test_a_handler_that_is_run_again_after_a_crash_applies_its_effect_once(
    database: str, tmp_path: Path, launch: Callable[..., Any]
) -> None:
    ledger = str(tmp_path / "ledger.db")
    first = launch("charging.py", database, ledger, "hold")
    first.wait_for("charged")
    first.kill()

    code, printed = launch("charging.py", database, ledger, "recover").finish()

    assert code == 0
    assert printed == ["charged", "completed 1 paid"]
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (2,)
        assert connection.execute("SELECT amount FROM charges").fetchall() == [(1200,)]


@pytest.mark.crash
def test_retries_are_counted_across_a_crash(database: str, launch: Callable[..., Any]) -> None:
    first = launch("retrying.py", database, "hold")
    first.wait_for("attempt 3")
    first.kill()

    code, printed = launch("retrying.py", database, "recover").finish()

    assert code == 0
    # The third attempt did not end, so it is made again; the two before it are not.
    assert printed == ["attempt 3", "attempt 4", "attempt 5", "on_error 5 no answer", "failed 5"]


def test_retries_are_counted_across_a_deploy_which_itself_costs_none(database: str) -> None:
    attempts: list[int] = []
    reached = threading.Event()

    class Interrupted(TaskHandler[Stage]):
        retry = Retry(attempts=3, delay=0.001)

        def handle(self, task: Stage, ctx: TaskContext) -> None:
            attempts.append(ctx.attempt)
            if attempts == [1, 2]:
                reached.set()
                assert ctx.cancellation.wait(WAIT)
            ctx.cancellation.raise_if_cancelled()
            raise OSError

        def on_error(self, ctx: TaskContext, error: BaseException) -> None:
            attempts.append(-ctx.attempt)

    system = ActorSystem(handlers=[Interrupted], storage=database)
    system.start()
    task = system.dispatch(Stage(0))
    assert reached.wait(WAIT)
    system.stop(timeout=0.0)
    with ActorSystem(handlers=[Interrupted], storage=database) as second:
        assert second.wait(task.id, WAIT).status is TaskStatus.FAILED
    assert attempts == [1, 2, 2, 3, -3]


# Cancellation: "Clean Up Resources"


class Connections:
    def __init__(self) -> None:
        self.opened = threading.Event()
        self.closed: list[str] = []

    @contextmanager
    def connect(self) -> Iterator[None]:
        self.opened.set()
        try:
            yield
        except BaseException as error:
            self.closed.append(f"rolled back on {type(error).__name__}")
            raise
        self.closed.append("committed")


class ConnectedHandler:
    def __init__(self, connections: Connections) -> None:
        self.connections = connections


class SyncConnected(ConnectedHandler, TaskHandler[Stage]):
    def handle(self, task: Stage, ctx: TaskContext) -> None:
        with self.connections.connect():
            assert ctx.cancellation.wait(WAIT)
            ctx.cancellation.raise_if_cancelled()


class AsyncConnected(ConnectedHandler, TaskHandler[Stage]):
    async def handle(self, task: Stage, ctx: TaskContext) -> None:
        with self.connections.connect():
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("handler", "closed"),
    [(SyncConnected, "rolled back on CancelRequested"), (AsyncConnected, "rolled back on CancelledError")],
)
def test_a_cancel_closes_what_the_handler_had_opened(storage: str, handler: Any, closed: str) -> None:
    connections = Connections()
    with ActorSystem(handlers=[bind(handler, lambda: handler(connections))], storage=storage) as system:
        task = system.dispatch(Stage(0))
        assert connections.opened.wait(WAIT)
        task.cancel()
        assert task.wait(WAIT).status is TaskStatus.CANCELLED
    assert connections.closed == [closed]


def test_clean_up_then_rethrow_is_a_cancel_and_no_failure_to_retry(storage: str) -> None:
    calls: list[int] = []
    started = threading.Event()

    class CleansUp(TaskHandler[Stage]):
        retry = Retry(attempts=5, delay=0.0, on=(BaseException,))

        def handle(self, task: Stage, ctx: TaskContext) -> None:
            calls.append(ctx.attempt)
            started.set()
            try:
                assert ctx.cancellation.wait(WAIT)
                ctx.cancellation.raise_if_cancelled()
            except CancelRequested:
                calls.append(-ctx.attempt)
                raise

    with ActorSystem(handlers=[CleansUp], storage=storage) as system:
        task = system.dispatch(Stage(0))
        assert started.wait(WAIT)
        task.cancel()
        assert task.wait(WAIT).status is TaskStatus.CANCELLED
    assert calls == [1, -1]


# Cancellation: "Log Cancellations"


def test_a_logged_cancellation_says_which_task_it_was(storage: str, caplog: pytest.LogCaptureFixture) -> None:
    started = threading.Event()

    class Logs(TaskHandler[Stage]):
        task_name = "stage"

        def handle(self, task: Stage, ctx: TaskContext) -> None:
            started.set()
            try:
                assert ctx.cancellation.wait(WAIT)
                ctx.cancellation.raise_if_cancelled()
            except CancelRequested:
                ctx.logger.warning("task was cancelled")
                raise

        def on_error(self, ctx: TaskContext, error: BaseException) -> None:
            ctx.logger.info("clean-up after: %s", error)

    with caplog.at_level(logging.INFO, "everact.task"), ActorSystem(handlers=[Logs], storage=storage) as system:
        task = system.dispatch(Stage(0))
        assert started.wait(WAIT)
        task.cancel("by user")
        task.wait(WAIT)
    logged = [record for record in caplog.records if record.name == "everact.task"]
    assert [(record.levelname, record.getMessage()) for record in logged] == [
        ("WARNING", "task was cancelled"),
        ("INFO", f"clean-up after: task {task.id} was cancelled: by user"),
    ]
    for record in logged:
        facts = vars(record)
        assert (facts["task_id"], facts["task_type"], facts["attempt"]) == (str(task.id), "stage", 1)
        assert facts["workflow_id"] == str(task.id)


def test_when_and_why_a_task_was_cancelled_can_be_looked_up_later(storage: str) -> None:
    started = threading.Event()

    class Stoppable(TaskHandler[Stage]):
        def handle(self, task: Stage, ctx: TaskContext) -> None:
            started.set()
            assert ctx.cancellation.wait(WAIT)
            ctx.cancellation.raise_if_cancelled()

    with ActorSystem(handlers=[Stoppable], storage=storage) as system:
        task = system.dispatch(Stage(0))
        assert started.wait(WAIT)
        task.cancel("by user")
        record = task.wait(WAIT)
        history = system.history(task.id)
    assert record.error is not None
    assert "by user" in record.error.text
    assert [entry.event for entry in history] == ["created", "started", "cancel_requested", "cancelled"]
    assert history[2].detail == "by user"
