"""The tasks of the load, their handlers, and which records each must leave behind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from everact import Retry, TaskCancelled, TaskContext, TaskHandler, TaskStatus, bind
from faults import Fault
from ledger import Ledger, Started

ATTEMPTS = 3
T = TypeVar("T")


@dataclass(frozen=True)
class Plain:
    """Completes."""

    name: str


@dataclass(frozen=True)
class Woven:
    """Completes, on the event loop."""

    name: str


@dataclass(frozen=True)
class Flaky:
    """Fails so often before it completes; from `ATTEMPTS` on, for good."""

    name: str
    failures: int


@dataclass(frozen=True)
class Step:
    """A continuation of one of these; its name begins with the parent's."""

    name: str


Chore = Plain | Woven | Flaky


class Recorded(TaskHandler[T]):
    """Writes into the ledger that it was called, and continues in `handle` and in every hook that may."""

    concurrency = 2
    retry = Retry(attempts=ATTEMPTS, delay=0.005)

    def __init__(self, ledger: Ledger, life: int, fault: Fault | None) -> None:
        self.ledger = ledger
        self.life = life
        self.fault = fault

    def record(self, ctx: TaskContext) -> None:
        self.ledger.write(Started(self.life, str(ctx.task_id), ctx.attempt, time.time()))

    def follow(self, ctx: TaskContext, role: str) -> None:
        step = Step(f"{ctx.task.name}/{role}")
        if self.fault is Fault.OUTSIDE_THE_TRANSACTION and role == "inside" and ctx.system is not None:
            ctx.system.dispatch(step)
        else:
            ctx.dispatch(step)

    def on_retry(self, ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> None:
        self.follow(ctx, f"retry-{attempt}")

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        if not isinstance(error, TaskCancelled):
            self.follow(ctx, "alert")


class PlainHandler(Recorded[Plain]):
    def handle(self, task: Plain, ctx: TaskContext) -> None:
        self.record(ctx)
        self.follow(ctx, "inside")
        ctx.cancellation.raise_if_cancelled()

    def on_completed(self, ctx: TaskContext) -> None:
        self.follow(ctx, "after")


class FlakyHandler(Recorded[Flaky]):
    def handle(self, task: Flaky, ctx: TaskContext) -> None:
        self.record(ctx)
        self.follow(ctx, "inside")
        if ctx.attempt <= task.failures:
            msg = f"attempt {ctx.attempt} fails as told"
            raise ConnectionError(msg)

    def on_completed(self, ctx: TaskContext) -> None:
        self.follow(ctx, "after")


class WovenHandler(TaskHandler[Woven]):
    concurrency = 4

    def __init__(self, ledger: Ledger, life: int) -> None:
        self.ledger = ledger
        self.life = life

    async def handle(self, task: Woven, ctx: TaskContext) -> None:
        self.ledger.write(Started(self.life, str(ctx.task_id), ctx.attempt, time.time()))
        ctx.dispatch(Step(f"{task.name}/inside"))

    async def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Step(f"{ctx.task.name}/after"))


class StepHandler(TaskHandler[Step]):
    def __init__(self, ledger: Ledger, life: int) -> None:
        self.ledger = ledger
        self.life = life

    def handle(self, task: Step, ctx: TaskContext) -> None:
        self.ledger.write(Started(self.life, str(ctx.task_id), ctx.attempt, time.time()))


def handlers(ledger: Ledger, life: int, fault: Fault | None) -> list[object]:
    """All handlers, as one process registers them."""
    return [
        bind(PlainHandler, lambda: PlainHandler(ledger, life, fault)),
        bind(FlakyHandler, lambda: FlakyHandler(ledger, life, fault)),
        bind(WovenHandler, lambda: WovenHandler(ledger, life)),
        bind(StepHandler, lambda: StepHandler(ledger, life)),
    ]


def right_end(kind: str, payload: Mapping[str, Any]) -> TaskStatus:
    """How a task ends that nobody cancels."""
    return TaskStatus.FAILED if kind == "Flaky" and payload["failures"] >= ATTEMPTS else TaskStatus.COMPLETED


def right_steps(kind: str, status: TaskStatus, payload: Mapping[str, Any]) -> set[str]:
    """The names of the continuations that a task must have, once it has ended so."""
    if kind == "Step" or status not in (TaskStatus.COMPLETED, TaskStatus.FAILED):
        return set()
    roles = {"inside", "after"} if status is TaskStatus.COMPLETED else {"alert"}
    failures = min(int(payload.get("failures", 0)), ATTEMPTS - 1)
    roles |= {f"retry-{attempt}" for attempt in range(1, failures + 1)}
    return {f"{payload['name']}/{role}" for role in roles}
