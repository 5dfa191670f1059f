"""What users do, in small: plain tasks, retries, timeouts, hooks, follow-ups, keys, lanes, async handlers, sagas."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

from everact import Intensity, Retry, Saga, Step, TaskContext, TaskHandler, parallel, task


@task(name="Plain", concurrency=2)
def plain(n: int) -> int:
    return n


@task(name="Crowd", concurrency=12)
def crowd(ctx: TaskContext, n: int) -> int:
    ctx.cancellation.wait(0.5)
    return n


@task(name="Lane", retry=Retry(attempts=2, delay=1))
def lane(ctx: TaskContext, n: int) -> int:
    ctx.cancellation.wait(n % 3)
    return n


@task(name="Flaky", retry=Retry(attempts=4, delay=0.5, jitter=0.5), concurrency=2)
def flaky(ctx: TaskContext, n: int) -> int:
    if ctx.attempt <= n % 6:
        raise OSError(n)
    return n


@task(name="Slow", timeout=4, retry=Retry(attempts=2, delay=1), concurrency=2)
def slow(ctx: TaskContext, n: int) -> int:
    """A third of them stops when it is told to, one does not hear, one is done before."""
    if n % 3 == 0:
        time.sleep(7)
    elif ctx.cancellation.wait(n % 3 * 3):
        raise TimeoutError(n)
    return n


@task(name="Tree", concurrency=2)
def tree(ctx: TaskContext, n: int) -> int:
    for number in range(min(n, 2)):
        ctx.dispatch(tree.task(n - 2), delay=number or None, priority=number)
    if n > 2:
        ctx.dispatch(lane.task(n), key=f"lane-{n % 3}")
    return n


@dataclass(frozen=True)
class Job:
    n: int


class JobHandler(TaskHandler[Job]):
    """Has every hook, and each of them dispatches."""

    task_name = "Job"
    retry = Retry(attempts=3, delay=1)

    def handle(self, task: Job, ctx: TaskContext) -> int:
        ctx.cancellation.wait(0.2)
        if ctx.attempt <= task.n % 4:
            raise ValueError(task.n)
        ctx.dispatch(plain.task(task.n))
        return task.n

    def on_started(self, ctx: TaskContext) -> None:
        ctx.state["began"] = ctx.attempt

    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(plain.task(100))

    def on_retry(self, ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> None:
        ctx.dispatch(plain.task(attempt))

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(plain.task(200))


@dataclass(frozen=True)
class Fragile:
    n: int


class FragileHandler(TaskHandler[Fragile]):
    """Can often not start, so that its pool is suspended."""

    task_name = "Fragile"
    intensity = Intensity(1, within=60)
    pinned = False

    def handle(self, task: Fragile, ctx: TaskContext) -> int:
        return task.n

    def on_actor_start(self) -> None:
        if random.random() < 0.6:
            raise ConnectionError("no database")


@dataclass(frozen=True)
class Fetch:
    n: int


class FetchHandler(TaskHandler[Fetch]):
    task_name = "Fetch"
    timeout = 4.0
    retry = Retry(attempts=2, delay=1, jitter=0.5)
    concurrency = 3

    async def handle(self, task: Fetch, ctx: TaskContext) -> int:
        await asyncio.sleep(task.n % 4 * 2)
        if task.n % 5 == 1 and ctx.attempt == 1:
            raise OSError(task.n)
        ctx.dispatch(plain.task(task.n))
        return task.n

    async def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        await asyncio.sleep(0.1)
        ctx.dispatch(plain.task(300))


# Trips


@dataclass(frozen=True)
class Room:
    n: int


class RoomHandler(TaskHandler[Room]):
    task_name = "Room"
    concurrency = 2
    retry = Retry(attempts=3, delay=0.5)

    def handle(self, task: Room, ctx: TaskContext) -> int:
        ctx.cancellation.wait(0.5)
        if task.n % 5 == 4:
            ctx.abort_workflow("no rooms")
        return task.n

    def compensate(self, task: Room, ctx: TaskContext) -> None:
        ctx.cancellation.wait(0.3)


@dataclass(frozen=True)
class Car:
    n: int


class CarHandler(TaskHandler[Car]):
    task_name = "Car"
    timeout = 5.0
    retry = Retry(attempts=2, delay=0.5)

    async def handle(self, task: Car, ctx: TaskContext) -> int:
        await asyncio.sleep(1 + task.n % 2 * 5 * (ctx.attempt == 1))
        return task.n

    async def compensate(self, task: Car, ctx: TaskContext) -> None:
        await asyncio.sleep(0.2)


@task(name="Seat", concurrency=2, retry=Retry(attempts=2, delay=1))
def seat(ctx: TaskContext, n: int) -> int:
    ctx.cancellation.wait(0.7)
    return n


@task(name="FreeSeat", retry=Retry(attempts=2, delay=0.5))
def free_seat(ctx: TaskContext, n: int) -> None:
    if n % 4 == 3 and ctx.attempt == 1:
        raise OSError(n)
    ctx.cancellation.wait(0.2)


@task(name="Pay", retry=Retry(attempts=2, delay=1))
def pay(ctx: TaskContext, n: int) -> int:
    ctx.compensate_with(refund.task(n))
    ctx.cancellation.wait(0.4)
    if n % 3 == 2:
        raise ValueError(n)
    ctx.dispatch(plain.task(n))
    return n


@task(name="Refund")
def refund(ctx: TaskContext, n: int) -> None:
    ctx.cancellation.wait(0.2)
    ctx.dispatch(plain.task(n))


@task(name="Mail", retry=Retry(attempts=1))
def mail(n: int) -> None:
    if n % 2:
        raise OSError(n)


ride = Saga("Ride", Step(Car), Step(pay.task, name="Pay"), input=int)
trip = Saga(
    "Trip",
    parallel(Step(Room), Step(seat.task, undo=free_seat.task, name="Seat")),
    Step(ride),
    Step(mail.task, critical=False, name="Mail"),
    input=int,
)
order = Saga(
    "Order",
    Step(Room),
    Step(seat.task, undo=free_seat.task, name="Seat"),
    Step(pay.task, pivot=True, name="Pay"),
    Step(lane.task, name="Lane"),
    input=int,
)
HANDLERS: list[Any] = [
    plain,
    crowd,
    lane,
    flaky,
    slow,
    tree,
    JobHandler,
    FragileHandler,
    FetchHandler,
    RoomHandler,
    CarHandler,
    seat,
    free_seat,
    pay,
    refund,
    mail,
    ride,
    trip,
    order,
]
KINDS: dict[str, Any] = {
    "Plain": plain.task,
    "Crowd": crowd.task,
    "Lane": lane.task,
    "Flaky": flaky.task,
    "Slow": slow.task,
    "Tree": tree.task,
    "Job": Job,
    "Fragile": Fragile,
    "Fetch": Fetch,
    "Trip": trip,
    "Order": order,
}
