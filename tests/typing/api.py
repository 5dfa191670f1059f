"""Never run: the public API as a type checker of its users sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from everact import ActorSystem, CancelOutcome, TaskContext, TaskHandle, TaskHandler, TaskRecord, task


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
async def fetch(ctx: TaskContext, url: str) -> bytes:
    return url.encode()


@dataclass(frozen=True)
class Order:
    id: int


class OrderHandler(TaskHandler[Order]):
    async def handle(self, task: Order, ctx: TaskContext) -> str:
        return str(task.id)

    async def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Order(1), delay=2.5)


class SyncOrderHandler(TaskHandler[Order]):
    def handle(self, task: Order, ctx: TaskContext) -> str:
        return str(task.id)

    def on_error(self, ctx: TaskContext, error: BaseException) -> None: ...


def use(system: ActorSystem) -> None:
    assert_type(system.dispatch(add.task(1, 2)), TaskHandle[int])
    assert_type(system.dispatch(add.task(1)).result(timeout=1), int)
    assert_type(system.dispatch(fetch.task("u")).result(), bytes)
    assert_type(system.cancel(system.dispatch(Order(1))), CancelOutcome)
    assert_type(system.get("00000000-0000-0000-0000-000000000000"), TaskRecord)
    assert_type(add(1, 2), int)
