"""The part of a cell that keeps user code in time: a deadline on it, and what happens when that has passed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from functools import partial
from typing import Any

from everact.actors.executor import Executor, LoopExecutor
from everact.actors.messages import CellStuck
from everact.actors.node import Node
from everact.actors.system_actor import SystemActor
from everact.actors.ticket import Delivery
from everact.actors.watch import HANDLE, Watch
from everact.tasks.cancellation import CancelReason
from everact.tasks.registration import HandlerSpec


class Guarded(SystemActor):
    """A cell as seen by its deadlines.

    User code that is late is told to stop, by its token or, on the event loop, by a cancel. If it still runs after
    the grace time, supervision hears of it.
    """

    node: Node
    spec: HandlerSpec
    supervisor: Any
    generation: int
    current: Delivery | None
    watch: Watch | None = None
    _executor: Executor
    _runner: asyncio.Task[Any] | None = None
    _armed_until: float | None = None

    def arm(self, phase: str, seconds: float, delivery: Delivery | None) -> Watch:
        """Put a deadline on the user code that is about to run."""
        watch = Watch(phase, seconds, self.runtime.monotonic(), delivery)
        self.watch = watch
        # One timer per cell, not per call: it is moved only when it would fire too late. The watch is in its
        # place before the timer is looked at, and the timer clears `_armed_until` before it looks at the watch.
        if self._armed_until is None or self._armed_until > watch.deadline:
            self._arm_timer(watch.deadline)
        return watch

    @abstractmethod
    def _stuck(self, watch: Watch) -> CellStuck:
        """What supervision is told of user code that goes on after its grace time."""

    def disarm(self, watch: Watch) -> None:
        """Take the deadline away."""
        if self.watch is watch:
            self.watch = None

    def _arm_timer(self, deadline: float) -> None:
        self._armed_until = deadline
        self.node.timer.call_at(deadline, self._check_watch)

    def _check_watch(self) -> None:
        """On the timer's thread."""
        self._armed_until = None
        watch = self.watch
        if watch is None:
            return
        now = self.runtime.monotonic()
        if now >= watch.deadline:
            if watch.expired:
                self.supervisor.tell(self._stuck(watch))
                return
            watch.expired = True
            watch.deadline = now + self.node.grace
            if watch.phase == HANDLE and watch.delivery is not None:
                watch.delivery.signal(CancelReason.TIMEOUT)
            else:
                self._interrupt_loop(watch.delivery, watch)
        self._arm_timer(watch.deadline)

    def interrupt(self, delivery: Delivery) -> None:
        """Cancel the coroutine of a delivery whose token has fired. Called from any thread."""
        self._interrupt_loop(delivery, None)

    def _interrupt_loop(self, delivery: Delivery | None, watch: Watch | None) -> None:
        executor = self._executor
        if isinstance(executor, LoopExecutor):
            executor.call(partial(self._cancel_runner, delivery, watch))

    def _cancel_runner(self, delivery: Delivery | None, watch: Watch | None) -> None:
        """On the loop's thread: cancel the runner if it is still in the code that this was meant for."""
        in_handle = delivery is not None and self.current is delivery and delivery.interruptible
        in_hook = watch is not None and self.watch is watch
        if self._runner is not None and (in_handle or in_hook):
            self._runner.cancel()

    def uncancel(self) -> None:
        """After a coroutine was cancelled and that was dealt with: the runner goes on as if it never was."""
        if self.spec.is_async and self._runner is not None:
            while self._runner.cancelling():
                self._runner.uncancel()
