"""Async actors that cancel: themselves, what they wait for, and more often than they meant to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from everact import Actor, ActorRef, ActorSystem, Backoff, ChildSpec

WAIT = 10.0


class Canceller(Actor):
    """Runs the coroutine functions that it is told."""

    async def on_receive(self, message: Any) -> Any:
        return await message()


@pytest.fixture
def actor() -> Iterator[ActorRef[Canceller]]:
    with ActorSystem("cancels") as system:
        yield system.spawn(Canceller, spec=ChildSpec(backoff=Backoff(0, most=0, jitter=0)))


async def hold() -> str:
    await asyncio.sleep(0.05)
    return "held"


async def pause() -> str:
    await asyncio.sleep(0)
    return "paused"


async def cancel_and_return() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    task.cancel()
    return "returned"


async def cancel_and_await() -> str:
    await cancel_and_return()
    return await pause()


async def cancel_and_swallow() -> str:
    try:
        return await cancel_and_await()
    except asyncio.CancelledError:
        return "swallowed"


async def time_out() -> str:
    try:
        async with asyncio.timeout(0):
            await hold()
    except TimeoutError:
        return "timed out"
    return "in time"


@pytest.mark.parametrize(
    ("first", "answer"), [(cancel_and_return, "returned"), (cancel_and_swallow, "swallowed"), (time_out, "timed out")]
)
def test_a_cancel_that_a_message_leaves_behind_does_not_hit_the_next(
    actor: ActorRef[Canceller], first: Any, answer: str
) -> None:
    messages = [hold, first, pause, time_out, pause]
    replies = [actor.ask(message, block=False) for message in messages]
    assert [reply.get(timeout=WAIT) for reply in replies] == ["held", answer, "paused", "timed out", "paused"]
    assert actor._cell.generation == 1


def test_a_message_that_cancels_itself_fails_alone(actor: ActorRef[Canceller]) -> None:
    replies = [actor.ask(message, block=False) for message in (hold, cancel_and_await, pause)]
    assert replies[0].get(timeout=WAIT) == "held"
    with pytest.raises(asyncio.CancelledError):
        replies[1].get(timeout=WAIT)
    assert replies[2].get(timeout=WAIT) == "paused"
    assert actor._cell.generation == 2
