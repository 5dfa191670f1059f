"""Middleware: context managers around each attempt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from everact import Retry, TaskContext, TaskFailed, TaskStatus, TaskTimeout
from tests.engine.conftest import BRIEF, WAIT, Bang, Diary, Job, Lab, make_handler

ONCE = Retry(attempts=1)


class Layer:
    """A middleware from a context manager function."""

    def __init__(self, around: Callable[[TaskContext], Any]) -> None:
        self.around_attempt = around


def sync_layer(diary: Diary, name: str) -> Layer:
    @contextlib.contextmanager
    def around(ctx: TaskContext) -> Iterator[None]:
        diary.note(f"{name} in {ctx.attempt}")
        try:
            yield
        except BaseException as error:
            diary.note(f"{name} saw {type(error).__name__}")
            raise
        finally:
            diary.note(f"{name} out")

    return Layer(around)


def async_layer(diary: Diary, name: str) -> Layer:
    @contextlib.asynccontextmanager
    async def around(ctx: TaskContext) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        diary.note(f"{name} in {ctx.attempt}")
        try:
            yield
        finally:
            await asyncio.sleep(0)
            diary.note(f"{name} out")

    return Layer(around)


def test_layers_wrap_each_attempt_outermost_first(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> str:
        diary.note("handle")
        if ctx.attempt == 1:
            raise Bang
        return "ok"

    layers = [sync_layer(diary, "a"), sync_layer(diary, "b")]
    handler = make_handler(
        kind, Job, handle, retry=Retry(attempts=2, delay=0), on_completed=lambda ctx: diary.note("on_completed")
    )
    system = lab.system(handler, middleware=layers)
    assert system.dispatch(Job()).result(WAIT) == "ok"
    first = ["a in 1", "b in 1", "handle", "b saw Bang", "b out", "a saw Bang", "a out"]
    second = ["a in 2", "b in 2", "handle", "b out", "a out", "on_completed"]
    assert diary == first + second


def test_an_async_layer_wraps_async_handlers(lab: Lab, diary: Diary) -> None:
    handler = make_handler("async", Job, lambda task, ctx: diary.note("handle"))
    system = lab.system(handler, middleware=[async_layer(diary, "a"), sync_layer(diary, "b")])
    system.dispatch(Job()).result(WAIT)
    assert diary == ["a in 1", "b in 1", "handle", "b out", "a out"]


def test_an_async_layer_around_a_sync_handler_fails_the_attempt_and_not_the_cell(lab: Lab, diary: Diary) -> None:
    """A thread has no event loop that it could wait in."""
    handler = make_handler("sync", Job, lambda task, ctx: None, retry=ONCE)
    system = lab.system(handler, middleware=[async_layer(diary, "a")])
    for _ in range(3):
        record = system.dispatch(Job()).wait(WAIT)
        assert record.status is TaskStatus.FAILED
        assert record.error is not None
        assert "async" in str(record.error), "the error does not help"


def test_a_layer_that_raises_on_exit_fails_the_attempt(lab: Lab, kind: str, diary: Diary) -> None:
    @contextlib.contextmanager
    def around(ctx: TaskContext) -> Iterator[None]:
        yield
        if ctx.attempt == 1:
            raise Bang("commit failed")

    handler = make_handler(
        kind,
        Job,
        lambda task, ctx: "ok",
        retry=Retry(attempts=2, delay=0),
        on_retry=lambda ctx, attempt, error, delay: diary.note(str(error)),
    )
    system = lab.system(handler, middleware=[Layer(around)])
    task = system.dispatch(Job())
    assert task.result(WAIT) == "ok"
    assert task.record().attempt == 2
    assert diary == ["commit failed"]


@pytest.mark.parametrize("where", ["call", "enter"])
def test_a_layer_that_cannot_be_entered_fails_the_attempt(lab: Lab, kind: str, diary: Diary, where: str) -> None:
    @contextlib.contextmanager
    def entering(ctx: TaskContext) -> Iterator[None]:
        raise SystemExit("no session")
        yield

    def calling(ctx: TaskContext) -> Any:
        raise SystemExit("no session")

    handler = make_handler(kind, Job, lambda task, ctx: diary.note("handle"), retry=ONCE)
    layers = [sync_layer(diary, "a"), Layer(entering if where == "enter" else calling)]
    system = lab.system(handler, middleware=layers)
    with pytest.raises(TaskFailed, match="no session"):
        system.dispatch(Job()).result(WAIT)
    assert diary == ["a in 1", "a saw SystemExit", "a out"]


def test_a_layer_that_swallows_does_not_change_the_outcome(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise Bang("real")

    system = lab.system(
        make_handler(kind, Job, handle, retry=ONCE), middleware=[Layer(lambda ctx: contextlib.suppress(BaseException))]
    )
    with pytest.raises(TaskFailed, match="real"):
        system.dispatch(Job()).result(WAIT)


def test_a_layer_that_swallows_does_not_hide_a_cancel(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        inside.set()
        yield never

    inside, never = lab.gate(), lab.gate()
    system = lab.system(
        make_handler(kind, Job, handle), middleware=[Layer(lambda ctx: contextlib.suppress(BaseException))]
    )
    task = system.dispatch(Job())
    inside.pass_through()
    task.cancel()
    assert task.wait(WAIT).status is TaskStatus.CANCELLED


def test_what_a_layer_puts_on_the_state_reaches_the_handler(lab: Lab, kind: str) -> None:
    @contextlib.contextmanager
    def around(ctx: TaskContext) -> Iterator[None]:
        ctx.state["session"] = 7
        yield

    handler = make_handler(kind, Job, lambda task, ctx: ctx.state["session"])
    assert lab.system(handler, middleware=[Layer(around)]).dispatch(Job()).result(WAIT) == 7


def test_the_timeout_covers_the_layers(lab: Lab) -> None:
    @contextlib.asynccontextmanager
    async def around(ctx: TaskContext) -> AsyncIterator[None]:
        if ctx.attempt == 1:
            await asyncio.sleep(WAIT)
        yield

    policy = Retry(attempts=2, delay=0, on=(TaskTimeout,))
    handler = make_handler("async", Job, lambda task, ctx: ctx.attempt, timeout=BRIEF, retry=policy)
    assert lab.system(handler, middleware=[Layer(around)]).dispatch(Job()).result(WAIT) == 2
