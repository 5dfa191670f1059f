"""One attempt with its hooks, as steps: each does one thing and returns the next step, or None at the end.

    run ──▶ complete ─────────────────▶ (COMPLETED)
     │         └─ on_completed fails for good ─▶ give_up
     ├─ raised ─▶ the supervisor decides ─▶ retry ─▶ (SCHEDULED)
     │                                  └─▶ give_up ─▶ (FAILED)
     ├─ its token had fired ─▶ cancelled ─▶ (CANCELLED)
     └─ shutdown ─▶ (QUEUED again, not counted)

A step whose thread was abandoned stops there: whoever closed the delivery goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from everact.actors.ending import ending, is_uncertain
from everact.actors.invocation import Stopped, call_handle
from everact.actors.messages import AttemptFailed
from everact.actors.ticket import Delivery, Ticket
from everact.actors.watch import HANDLE
from everact.tasks import status as st
from everact.tasks.cancellation import CancelReason
from everact.tasks.context import context_of
from everact.tasks.errors import (
    CancelRequested,
    HookTimeout,
    ResultError,
    TaskCancelled,
    TaskTimeout,
    UnexpectedCancel,
)
from everact.tasks.events import HookFailed
from everact.tasks.failure import Verdict, error_name, error_text, judge
from everact.tasks.schedule import FOREVER, MICROSECONDS

if TYPE_CHECKING:
    from everact.actors.handler_actor import HandlerActor

logger = logging.getLogger("everact.handler")
Step = Callable[[Delivery], Awaitable[Any]]
HOOK_DELAY_LIMIT = 5.0


class Attempt:
    """The steps of one cell.

    Attributes:
        started: How many attempts have begun.
        is_plain: Whether `call` does for `run`.
    """

    def __init__(self, cell: HandlerActor) -> None:
        self.started = 0
        self._cell = cell
        self._node = cell.node
        self._spec = cell.spec
        self._now = cell.runtime.now
        journal = cell.node.journal
        # A thread of the elastic pool lets go what it keeps back; others would not.
        keeps_back = not (cell.spec.is_async or cell.spec.pinned) or journal.inline
        self._hand_over = journal.finish if keeps_back else journal.submit
        self._codec = cell.pool.codec
        self._is_async = cell.spec.is_async
        # Asked once, so that a handler without hooks, timeout or middleware pays for none of them.
        around = "on_started" in cell.spec.hooks or cell.spec.timeout or cell.node.middleware
        self.is_plain = not (around or self._is_async)
        self._has_on_completed = "on_completed" in cell.spec.hooks

    def begin(self, ticket: Ticket, task: Any) -> Delivery:
        """Make the delivery of a ticket that has just left its queue."""
        return Delivery(ticket, context_of(self._node.dispatcher, ticket.record, task), self._cell, self._now())

    # -- the steps -----------------------------------------------------------------------------------------

    async def run(self, delivery: Delivery) -> Step | None:
        """Call `handle`, with `on_started` before and the middleware around it."""
        delivery.counted = True
        self.started += 1
        try:
            result = await self._handle(delivery)
            delivery.result = None if result is None else self._codec.encode_result(result, delivery.ticket.record.id)
        except BaseException as error:
            if isinstance(error, Stopped):
                error = error.error
            return None if delivery.abandoned else self._after_failure(delivery, error)
        return self._after_handle(delivery, result)

    def call(self, delivery: Delivery) -> Step | None:
        """As `run`, if there is nothing before or around `handle`: most attempts need no coroutine."""
        ctx = delivery.ctx
        delivery.counted = True
        self.started += 1
        try:
            result = self._cell.instance.handle(ctx.task, ctx)  # type: ignore[union-attr]
            if result is not None:
                delivery.result = self._codec.encode_result(result, delivery.ticket.record.id)
        except BaseException as error:
            return None if delivery.abandoned else self._after_failure(delivery, error)
        return self._after_handle(delivery, result)

    def _after_handle(self, delivery: Delivery, result: Any) -> Step | None:
        if delivery.abandoned:
            return None
        ctx = delivery.ctx
        if self._is_async and ctx._stop_reason is not None:
            self._cell.uncancel()  # handle has swallowed it; the cell's next task must not inherit it
        ctx.result = result
        if ctx._intent is not None and ctx._intent.parked:
            return self._park(delivery)
        if self._has_on_completed:
            return self.complete
        self._finish(delivery, st.COMPLETED)
        return None

    def _park(self, delivery: Delivery) -> Step | None:
        """A saga has started a stage: it waits until that is over, unless it was told to stop meanwhile."""
        reason = delivery.ctx._stop_reason
        if reason is not None:
            return self._after_failure(delivery, CancelRequested(reason.value))
        delivery.parked = True
        self._finish(delivery, st.SCHEDULED, due=FOREVER)
        return None

    async def undo(self, delivery: Delivery) -> Step | None:
        """Call `compensate` on behalf of an undo entry; no hook runs."""
        ctx = delivery.ctx
        delivery.counted = True
        self.started += 1
        flow = delivery.ticket.record.flow
        try:
            ctx.result = self._codec.decode_result(flow.result, flow.undoes)  # type: ignore[union-attr, arg-type]
            await self._handle(delivery)
        except BaseException as error:
            error = error.error if isinstance(error, Stopped) else error
            return None if delivery.abandoned else self._after_failure(delivery, error)
        if not delivery.abandoned:
            self._cell.uncancel()
            self._finish(delivery, st.COMPLETED)
        return None

    async def complete(self, delivery: Delivery) -> Step | None:
        """Run `on_completed`; what it and `handle` dispatched commits with the completion."""
        buffer = delivery.ctx._buffer
        delivery.mark = len(buffer) if buffer else 0
        error = await self._hook(delivery, "on_completed")
        if delivery.abandoned:
            return None
        if error is not None:
            return await self._completion_failed(delivery, error)
        self._finish(delivery, st.COMPLETED)
        return None

    async def retry(self, delivery: Delivery) -> Step | None:
        """Run `on_retry`; schedule the next attempt, with a fresh instance."""
        ctx, delay = delivery.ctx, delivery.delay
        self._drop(delivery)
        error = await self._hook(delivery, "on_retry", ctx.attempt, delivery.error, delay)
        if delivery.abandoned:
            return None
        if error is not None:
            ctx._buffer = None
        self._finish(delivery, st.SCHEDULED, due=self._due(delay))
        await self._cell.discard_instance(self._cell.generation)
        return None

    async def give_up(self, delivery: Delivery) -> Step | None:
        """Run `on_error` on a fresh instance; the task is FAILED whatever comes of that."""
        return await self._end(delivery, st.FAILED, delivery.error)

    async def cancelled(self, delivery: Delivery) -> Step | None:
        """Run `on_error` with a TaskCancelled on a fresh instance; the task is CANCELLED."""
        record = delivery.ticket.record
        cause = delivery.error
        delivery.error = TaskCancelled(UUID(bytes=record.id), record.cancel_requested or "")
        delivery.error.__cause__ = cause
        return await self._end(delivery, st.CANCELLED, delivery.error)

    async def resumed(self, delivery: Delivery, phase: str, error: BaseException) -> Step | None:
        """Go on after the thread in `phase` was abandoned, as if that had raised `error`."""
        if phase == HANDLE:
            return self._after_failure(delivery, error)
        if delivery.ending is not None and phase == "on_actor_stop":
            return await self._end(delivery, delivery.ending, delivery.error)
        if phase in ("on_completed", "on_actor_start") and delivery.ending is None:
            return await self._completion_failed(delivery, error)
        self._hook_failed(delivery, phase, error)
        if phase == "on_started":
            failure = await self._cell.try_start(self._cell.generation)
            return self.run if failure is None else self._after_failure(delivery, failure)
        if phase == "on_retry":
            self._finish(delivery, st.SCHEDULED, due=self._due(delivery.delay))
            return None
        delivery.hook, delivery.hook_error = "on_error", error
        self._finish(delivery, st.FAILED if delivery.ending is None else delivery.ending)
        return None

    # -- ends without a step -------------------------------------------------------------------------------

    def quarantine(self, ticket: Ticket, error: BaseException) -> None:
        """A record that cannot be read: QUARANTINED, its bytes are kept, no hook runs."""
        delivery = self.begin(ticket, None)
        delivery.error = error
        self._finish(delivery, st.QUARANTINED)

    def fail_now(self, delivery: Delivery, error: BaseException) -> None:
        """Everact's own code failed in this delivery: end it without user code."""
        delivery.error = error
        self._drop(delivery)
        self._finish(delivery, st.FAILED)

    # -- handle --------------------------------------------------------------------------------------------

    async def _handle(self, delivery: Delivery) -> Any:
        # Not again if it was left behind in there.
        if delivery.hook != "on_started" and await self._hook(delivery, "on_started") is not None:
            delivery.ctx._buffer = None  # what a hook that raised had dispatched goes with it
        watch = self._cell.arm(HANDLE, self._spec.timeout, delivery) if self._spec.timeout else None
        delivery.interruptible = self._is_async
        delivery.phase = HANDLE
        try:
            if self._is_async and delivery.ctx._stop_reason is not None:
                raise asyncio.CancelledError  # it fired before there was a coroutine to cancel
            return await call_handle(self._cell, delivery)
        finally:
            delivery.interruptible = False
            if watch is not None:
                self._cell.disarm(watch)

    def _after_failure(self, delivery: Delivery, error: BaseException) -> Step | None:
        self._cell.uncancel()
        ctx = delivery.ctx
        verdict = judge(error, ctx._stop_reason)
        delivery.error = error
        if isinstance(error, ResultError) and verdict is not Verdict.FAILED:
            verdict = Verdict.FAILED  # handle had returned; only its result was no good
        if verdict is Verdict.CANCELLED:
            return self.cancelled
        if verdict is Verdict.INTERRUPTED:
            self.requeue(delivery)
            return None
        if verdict is Verdict.TIMED_OUT and not isinstance(error, TaskTimeout):
            delivery.error = TaskTimeout(ctx.task_id, ctx.attempt, self._spec.timeout or 0.0)
            delivery.error.__cause__ = error
        elif verdict is Verdict.UNEXPECTED_CANCEL:
            delivery.error = UnexpectedCancel(ctx.task_id, error)
            delivery.error.__cause__ = error
        self._ask_supervisor(delivery, delivery.error)
        return None

    def _ask_supervisor(self, delivery: Delivery, error: BaseException) -> None:
        opinion = None
        if self._spec.retry.when is not None:
            try:
                opinion = self._spec.retry.when(error)
            except BaseException as second:
                logger.warning("Retry.when of %s raised", self._spec.name, exc_info=second)
        cell = self._cell
        cell.awaiting = True
        cell.supervisor.tell(AttemptFailed(cell, cell.generation, delivery, error, opinion))

    # -- hooks ---------------------------------------------------------------------------------------------

    async def _hook(self, delivery: Delivery, name: str, *args: Any) -> BaseException | None:
        """Run a hook if the handler has it, and this is not its `compensate`; returns what it raised."""
        if name not in self._spec.hooks or delivery.undoing:
            return None
        cell = self._cell
        delivery.hook = delivery.phase = name
        watch = cell.arm(name, self._spec.hook_timeout, delivery)
        try:
            await cell.answered(getattr(cell.instance, name)(delivery.ctx, *args))
        except BaseException as error:
            if delivery.abandoned:
                return None
            cell.uncancel()
            if watch.expired and isinstance(error, asyncio.CancelledError):
                error = HookTimeout(name, delivery.ctx.task_id, watch.seconds)
            if name != "on_completed":
                self._hook_failed(delivery, name, error)
            return error
        finally:
            cell.disarm(watch)
        return None

    def _hook_failed(self, delivery: Delivery, name: str, error: BaseException, *, final: bool = True) -> None:
        logger.warning("%s of task %s raised", name, delivery.ctx.task_id, exc_info=error)
        stream = self._node.stream
        if stream.active:
            text = f"{error_name(error)}: {error_text(error)}"
            stream.publish(HookFailed(self._now(), delivery.ctx.task_id, self._spec.name, name, text, final))

    async def _completion_failed(self, delivery: Delivery, error: BaseException) -> Step | None:
        """`on_completed` raised: drop what it dispatched, and try it again in place while the policy allows."""
        ctx = delivery.ctx
        if ctx._buffer:
            del ctx._buffer[delivery.mark :]
        delivery.hook_failures += 1
        policy = self._spec.retry
        delay = policy.decide(delivery.hook_failures, error, random=self._cell.runtime.random())
        reason = self._reason_to_stop(delivery)
        self._hook_failed(delivery, "on_completed", error, final=delay is None or reason is not None)
        if delay is not None and reason is None:
            reason = await self._pause(delivery, min(delay, HOOK_DELAY_LIMIT))
            if reason is None:
                if self._cell.instance is None and await self._cell.try_start(self._cell.generation) is not None:
                    return await self._completion_failed(delivery, error)
                return self.complete
        if reason is CancelReason.SHUTDOWN:
            self.requeue(delivery)
            return None
        delivery.hook, delivery.hook_error, delivery.error = "on_completed", error, error
        return self.cancelled if reason in (CancelReason.USER, CancelReason.WORKFLOW) else self.give_up

    def _reason_to_stop(self, delivery: Delivery) -> CancelReason | None:
        """Why to stop now, if so. A timeout concerned `handle`, which has returned within its grace time."""
        reason = delivery.ctx._stop_reason
        return None if reason is CancelReason.TIMEOUT else reason

    async def _pause(self, delivery: Delivery, seconds: float) -> CancelReason | None:
        """Wait in place, unless the token fires; returns why it fired."""
        token = delivery.ctx.cancellation
        if not self._is_async:
            if token.reason is CancelReason.TIMEOUT:  # it has fired, and may be waited on no more
                self._cell.runtime.gate().wait(seconds)
            else:
                token.wait(seconds)
            return self._reason_to_stop(delivery)
        delivery.interruptible = True
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._cell.uncancel()
        finally:
            delivery.interruptible = False
        return self._reason_to_stop(delivery)

    # -- ends ----------------------------------------------------------------------------------------------

    async def _end(self, delivery: Delivery, status: int, error: BaseException | None) -> Step | None:
        ctx, cell = delivery.ctx, self._cell
        delivery.ending = status
        self._drop(delivery)
        ctx._wishes().cleaning = True
        await cell.discard_instance(cell.generation)
        if delivery.abandoned:
            return None
        hook, hook_error = delivery.hook, delivery.hook_error
        if "on_error" in self._spec.hooks:
            failure = await cell.try_start(cell.generation)
            if failure is None:
                failure = await self._hook(delivery, "on_error", error)
                if failure is not None and not delivery.abandoned:
                    await cell.discard_instance(cell.generation)
            if delivery.abandoned:
                return None
            if failure is not None:
                ctx._buffer = None
                hook, hook_error = "on_error", failure
        delivery.hook, delivery.hook_error = hook, hook_error
        self._finish(delivery, status)
        return None

    @staticmethod
    def _drop(delivery: Delivery) -> None:
        """What an attempt that fails had dispatched and promised goes with it; promises stay if it may have worked."""
        delivery.ctx._buffer = None
        intent = delivery.ctx._intent
        if intent is not None:
            intent.abort = None
            if not is_uncertain(delivery):
                intent.promised = []

    def _due(self, delay: float) -> int:
        return min(self._now() + int(delay * MICROSECONDS), FOREVER)

    def requeue(self, delivery: Delivery) -> None:
        """A shutdown interrupts: QUEUED again, the attempt not counted, nothing dispatched, no hook."""
        self._drop(delivery)
        # What only ran its `on_error` may be due much later; QUEUED is what may start now.
        self._finish(delivery, st.QUEUED, due=min(delivery.ticket.record.due, self._now()))

    def _finish(self, delivery: Delivery, status: int, due: int | None = None) -> None:
        """Hand the outcome to the journal, once."""
        st.check_move(st.RUNNING, status)
        if not delivery.close():
            delivery.abandoned = True  # supervision was faster: this thread is the one left behind
            return
        delivery.ctx._over = True
        self._hand_over(ending(delivery, status, self._now(), self._node.error_limit, self._spec, due))
