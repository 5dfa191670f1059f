"""Where cells run: an elastic pool of threads (see `elastic_executor`), a thread of their own, or the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol

from everact.actors.runtime import Runtime

logger = logging.getLogger("everact.executor")
IDLE_SECONDS = 10.0
LOOP_ROLE = "event loop"
Turn = Callable[[], Coroutine[Any, Any, None]]
"""One stretch of a cell's work. For sync handlers the coroutine never suspends."""


class Executor(Protocol):
    """Runs turns."""

    def submit(self, turn: Turn) -> None:
        """Run a turn soon; returns at once. May be called from any thread."""
        ...

    def close(self) -> None:
        """Let idle threads go; those that are busy go when they have finished."""
        ...


def drive(turn: Turn) -> None:
    """Run a turn that never suspends to its end, in this thread.

    One text of the delivery serves sync and async handlers: on a thread its coroutine has nothing to wait
    for, since every wait in it blocks.
    """
    coroutine = turn()
    try:
        coroutine.send(None)
    except StopIteration:
        return
    except BaseException:
        # A turn guards itself; what arrives here is a bug of everact, and must not take the thread with it.
        logger.exception("a turn failed outside its own guard; please report this")
        return
    coroutine.close()
    logger.error("a sync handler's turn suspended; did `handle` return an awaitable of another library?")


class PinnedExecutor:
    """One thread for one cell, started when it is first needed."""

    def __init__(self, runtime: Runtime, name: str, *, daemon: bool = True) -> None:
        self._runtime = runtime
        self._name = name
        self._daemon = daemon
        self._work = runtime.queue()
        self._unserved = [None]  # one token while there is no thread; taking it is the right to start one
        self._closed = False

    def submit(self, turn: Turn) -> None:
        """See `Executor.submit`."""
        self._have_it_served()  # first, since a turn that nobody can run must not be left in the queue
        self._work.put(turn)
        if self._closed:
            self._have_it_served()  # the thread may have left before this came

    def close(self) -> None:
        """See `Executor.close`."""
        self._closed = True
        self._work.put(None)

    def renewed(self) -> PinnedExecutor:
        """Another thread, for when this one does not come back."""
        return PinnedExecutor(self._runtime, self._name, daemon=self._daemon)

    def _have_it_served(self) -> None:
        if not self._is_unserved():
            return
        try:
            self._runtime.spawn(self._serve, self._name, daemon=self._daemon)
        except BaseException:
            self._unserved.append(None)
            raise

    def _serve(self) -> None:
        serving = True
        while serving:
            while self._work.qsize() or not self._closed:
                turn = self._work.get()
                if turn is not None:
                    drive(turn)
            self._unserved.append(None)
            # A turn may have come between the last look and the token.
            serving = self._work.qsize() > 0 and self._is_unserved()

    def _is_unserved(self) -> bool:
        try:
            self._unserved.pop()
        except IndexError:
            return False
        return True


class LoopExecutor:
    """everact's own event loop, on a thread of its own, for async handlers.

    Whatever a handler's sub-task raises, `SystemExit` included, the thread goes back into the loop; the task
    that awaits the sub-task gets the exception.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.loop = runtime.event_loop()
        self._closed = False
        self._turns: set[asyncio.Task[None]] = set()
        self._thread = runtime.spawn(self._serve, name, LOOP_ROLE)

    def submit(self, turn: Turn) -> None:
        """See `Executor.submit`."""
        # In a context of its own: that of whoever wakes a cell says what that one does, not what the cell does.
        self.call(lambda: self._start(turn), Context())

    def call(self, fn: Callable[[], object], context: Context | None = None) -> None:
        """Call `fn` on the loop's thread, soon; by default in a copy of the caller's context."""
        try:
            self.loop.call_soon_threadsafe(fn, context=context)
        except RuntimeError:
            logger.debug("the event loop is closed; what was sent to it stays undone")

    def close(self) -> None:
        """Stop the loop after what is ready has run, and cancel what an abandoned handler left behind."""
        self._closed = True
        self.call(self.loop.stop)

    def join(self, timeout: float) -> None:
        """Wait for the loop's thread to end."""
        self._thread.join(timeout)

    def _start(self, turn: Turn) -> None:
        task = self.loop.create_task(turn())
        # The loop keeps weak references only: without ours a waiting cell could be collected.
        self._turns.add(task)
        task.add_done_callback(self._turns.discard)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        # A simulation closes a loop that it has left behind.
        while not (self._closed or self.loop.is_closed()):
            try:
                self.loop.run_forever()
            except BaseException as error:
                logger.warning("%s left a task of the event loop; the loop goes on", type(error).__name__)
        self._finish()

    def _finish(self) -> None:
        if self.loop.is_closed():
            return
        try:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            if left:
                self.loop.run_until_complete(asyncio.wait(left, timeout=1.0))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        except BaseException:
            if not self.loop.is_closed():
                logger.exception("the event loop did not shut down cleanly")
        finally:
            self.loop.close()
