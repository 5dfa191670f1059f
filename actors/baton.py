"""Waking many callers after one commit, without a stampede for the interpreter lock.

The journal wakes the first waiter, and each woken caller wakes the next on its way out. With 64 callers that is
1.35 times the throughput of waking all of them in a loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from everact.tasks.cancellation import Gate

SLICE_SECONDS = 1.0


class Waiter(msgspec.Struct, eq=False):
    """One caller that waits for an answer.

    The answer is in place before anybody is woken, so a baton that is lost on its way (a KeyboardInterrupt
    between waking and passing on) costs the others at most one slice of their wait, never their answer.
    """

    _make_gate: Callable[[], Gate]
    done: bool = False
    answer: Any = None
    error: BaseException | None = None
    _gate: Gate | None = None
    _woken: bool = False
    _gone: bool = False
    _following: Waiter | None = None

    def settle(self, answer: Any = None, error: BaseException | None = None) -> None:
        """Put the answer in its place; `release` wakes the caller afterwards."""
        self.answer = answer
        self.error = error
        self.done = True

    def wait(self, timeout: float) -> bool:
        """Block until there is an answer; False when `timeout` seconds have passed before.

        Must be called even if there is an answer already: the caller may hold the baton.
        """
        try:
            if not self.done:
                # Made only now, by the caller, while the journal is at work. `done` is looked at once more
                # after it is in its place: it is set before a gate is looked for.
                self._gate = self._make_gate()
            while not self.done and timeout > 0 and self._gate is not None:
                self._gate.wait(min(timeout, SLICE_SECONDS))
                timeout -= SLICE_SECONDS
        finally:
            # In this order: whoever releases us now either sees that we are gone and goes on to the next
            # itself, or has set _woken before we look. Both may happen; waking twice does no harm.
            self._gone = True
            if self._woken and self._following is not None:
                self._following._release()
        return self.done

    def _release(self) -> None:
        waiter: Waiter | None = self
        while waiter is not None:
            waiter._woken = True
            if waiter._gate is not None:
                waiter._gate.open()
            if not waiter._gone:
                return
            waiter = waiter._following


class LoopWaiter:
    """An answer awaited in an event loop, the user's or everact's."""

    __slots__ = ("_future", "answer", "done", "error", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None
        self.done = False
        self.answer: Any = None
        self.error: BaseException | None = None

    def settle(self, answer: Any = None, error: BaseException | None = None) -> None:
        """Put the answer in its place; `release` wakes the coroutine afterwards."""
        self.answer = answer
        self.error = error
        self.done = True

    async def wait(self, timeout: float) -> bool:
        """Await the answer; False when `timeout` seconds have passed before."""
        self._future = future = self.loop.create_future()
        # Looked at after the future is in its place: `done` is set before anybody looks for a future.
        if not self.done:
            alarm = self.loop.call_later(timeout, self.wake)
            try:
                await future
            finally:
                alarm.cancel()
        return self.done

    @property
    def asleep(self) -> bool:
        """Whether somebody awaits it, or is about to."""
        return self._future is not None

    def wake(self) -> None:
        """Wake the coroutine. Called on its loop."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


AnyWaiter = Waiter | LoopWaiter


def release(waiters: Sequence[AnyWaiter]) -> None:
    """Wake all of these, whose answers are in place: threads by baton, loops by one call each."""
    if len(waiters) == 1 and type(waiters[0]) is Waiter:
        waiters[0]._release()
        return
    first: Waiter | None = None
    last: Waiter | None = None
    loops: dict[asyncio.AbstractEventLoop, list[LoopWaiter]] = {}
    for waiter in waiters:
        if isinstance(waiter, LoopWaiter):
            if waiter.asleep:
                loops.setdefault(waiter.loop, []).append(waiter)
        elif last is None:
            first = last = waiter
        else:
            last._following = waiter
            last = waiter
    if first is not None:
        first._release()
    for loop, sleepers in loops.items():
        _wake_on(loop, sleepers)


def _wake_on(loop: asyncio.AbstractEventLoop, sleepers: list[LoopWaiter]) -> None:
    def wake() -> None:
        for sleeper in sleepers:
            sleeper.wake()

    try:
        loop.call_soon_threadsafe(wake)
    except RuntimeError:
        # The caller's loop was closed while it waited; nobody is left there to be told.
        return
