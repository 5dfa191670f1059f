"""One call of user code: `handle` or `compensate`, with the middleware around it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from everact.actors.ticket import Delivery
from everact.tasks.context import TaskContext
from everact.tasks.errors import HandlerError

if TYPE_CHECKING:
    from everact.actors.handler_actor import HandlerActor


class Stopped(Exception):
    """Carries a StopIteration out of a coroutine, which would make a RuntimeError of it."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__()
        self.error = error


async def call_handle(cell: HandlerActor, delivery: Delivery) -> Any:
    """Call `handle`, or `compensate`, with the middleware around it, on the thread or loop that this runs on.

    Raises:
        Stopped: A sync handler raised StopIteration.
        BaseException: Whatever else it raised, though a middleware may have swallowed it.
    """
    ctx, is_async = delivery.ctx, cell.spec.is_async
    instance = cell.instance
    handle = instance.handle  # type: ignore[union-attr]
    if delivery.undoing:
        handle = instance.compensate  # type: ignore[union-attr]
        is_async = inspect.iscoroutinefunction(handle)
    if not cell.node.middleware:
        return await handle(ctx.task, ctx) if is_async else _sync(handle, ctx)
    raised: BaseException | None = None
    async with AsyncExitStack() as stack:
        for layer in cell.node.middleware:
            around = layer.around_attempt(ctx)
            if hasattr(around, "__enter__"):
                stack.enter_context(around)
            elif cell.spec.is_async:
                await stack.enter_async_context(around)
            else:
                msg = (
                    f"middleware {type(layer).__name__} is async, but {cell.spec.name} has a sync handle, which "
                    "runs without an event loop; make it a sync context manager, or handle async"
                )
                raise HandlerError(msg)
        try:
            return await handle(ctx.task, ctx) if is_async else _sync(handle, ctx)
        except BaseException as error:
            raised = error
            raise
    # Only reached if a middleware swallowed the exception: it may look at it, the outcome stands.
    raise raised


def _sync(handle: Callable[[Any, TaskContext], Any], ctx: TaskContext) -> Any:
    try:
        return handle(ctx.task, ctx)
    except StopIteration as error:
        raise Stopped(error) from None
