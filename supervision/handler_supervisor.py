"""The supervisor of one handler's pool: what follows a failed attempt, a cell that cannot start, a stuck thread."""

from __future__ import annotations

import copy
import logging
from typing import Any
from uuid import UUID

from everact.actors.elastic_executor import ElasticExecutor
from everact.actors.handler_actor import HandlerActor
from everact.actors.messages import (
    AttemptFailed,
    CellFailed,
    CellStarted,
    CellStuck,
    GraceOver,
    InTurn,
    ProbeDue,
    Proceed,
    Resume,
    StartAgain,
)
from everact.actors.node import Node
from everact.actors.pool import Pool
from everact.actors.system_actor import PooledActor
from everact.actors.ticket import Delivery
from everact.actors.watch import HANDLE, Watch
from everact.supervision.backoff import Backoff
from everact.supervision.intensity import Intensity
from everact.tasks.cancellation import CancelReason
from everact.tasks.errors import CancelRequested, HookTimeout, TaskTimeout
from everact.tasks.events import CellFailed as CellFailedEvent
from everact.tasks.events import PoolResumed, PoolSuspended, ThreadAbandoned
from everact.tasks.failure import error_name, error_text
from everact.tasks.record import COMPENSATION

logger = logging.getLogger("everact.supervision")
_NO_TASK = UUID(int=0)


class HandlerSupervisor(PooledActor):
    """Decides for one pool; the cells obey.

    A failing `handle` is the retry policy's business and does not count as a restart. Counted are cells that
    cannot start, threads left behind, and errors in everact's own code. Over its intensity the pool is
    suspended: its tasks stay QUEUED until one cell, tried after a backoff, starts again.
    """

    def __init__(self, node: Node, path: str, pool: Pool, executor: ElasticExecutor) -> None:
        super().__init__(node.runtime, path, executor)
        self._node = node
        self._pool = pool
        spec = pool.spec
        self._intensity = Intensity(spec.intensity.restarts, spec.intensity.within) if spec.intensity else Intensity()
        self._backoff = Backoff()
        self._history: tuple[float, ...] = ()
        self._failures = 0
        self._waiting: list[Any] = []

    def on_batch(self, messages: list[Any]) -> None:
        """Decide one by one."""
        for message in messages:
            kind = type(message)
            if kind is AttemptFailed:
                self._after_attempt(message)
            elif kind is CellFailed:
                self._after_cell_failure(message)
            elif kind is CellStarted:
                self._after_start()
            elif kind is CellStuck:
                self._after_stuck(message)
            elif kind is GraceOver:
                self._after_grace(message)
            elif kind is ProbeDue:
                self._probe()

    def _after_attempt(self, message: AttemptFailed) -> None:
        cell, delivery = message.cell, message.delivery
        if message.generation != cell.generation:
            return
        spec, kind = self._pool.spec, delivery.ticket.record.kind
        policy = spec.compensation_retry if kind == COMPENSATION else spec.retry
        delay = policy.decide(
            delivery.ctx.attempt, message.error, random=self.runtime.random(), verdict=message.verdict
        )
        cell.tell(Proceed(delivery, delay))

    def _after_cell_failure(self, message: CellFailed) -> None:
        if message.generation != message.cell.generation:
            return
        error = f"{error_name(message.error)}: {error_text(message.error)}"
        self._waiting.append(message.cell)
        delay = self._backoff.delay(self._failures, self.runtime.random())
        self._failures += 1
        restart = not self._pool.suspended and self._count_restart()
        decision = "restart" if restart else "suspend"
        logger.error(
            "%s: a cell of %s cannot work (%s); decision: %s in %.3g s",
            self.actor_urn,
            self._pool.spec.name,
            error,
            decision,
            delay,
            exc_info=message.error,
        )
        self._node.decided("handler", decision)
        self._node.stream.publish(CellFailedEvent(self.runtime.now(), self._pool.spec.name, error, decision))
        if not restart:
            self._suspend(error, delay)
        self._node.timer.call_after(delay, lambda: self.tell(ProbeDue()))

    def _count_restart(self) -> bool:
        history = self._intensity.admit(self.runtime.monotonic(), self._history)
        if history is None:
            return False
        self._history = history
        return True

    def _suspend(self, error: str, delay: float) -> None:
        if not self._pool.suspended:
            self._pool.suspended = True
            journal = self._node.journal
            journal.submit(InTurn(lambda now: journal.router.give_back(self._pool)))  # noqa: ARG005
        self._node.stream.publish(PoolSuspended(self.runtime.now(), self._pool.spec.name, error, delay))

    def _probe(self) -> None:
        """Let one waiting cell try; the others follow when it has started."""
        if self._waiting:
            self._waiting.pop(0).tell(StartAgain())
        elif self._pool.suspended:
            # Suspended for threads left behind: every cell can start, so the pool may simply try again.
            self._after_start()

    def _after_start(self) -> None:
        self._failures = 0
        waiting, self._waiting = self._waiting, []
        for cell in waiting:
            cell.tell(StartAgain())
        if self._pool.suspended:
            self._history = ()
            logger.warning("%s: the pool of %s works again", self.actor_urn, self._pool.spec.name)
            self._node.stream.publish(PoolResumed(self.runtime.now(), self._pool.spec.name))
            self._pool.resume()
            journal = self._node.journal
            journal.submit(InTurn(journal.router.go_on))  # what was adopted waits to be claimed

    def _after_stuck(self, message: CellStuck) -> None:
        cell, watch = message.cell, message.watch
        if message.generation != cell.generation or cell.watch is not watch:
            return  # it has come back in the meantime
        delivery = watch.delivery
        if delivery is not None and not delivery.close():
            return
        self._leave_behind(cell, delivery, watch.phase)
        if delivery is not None:
            cell.tell(Resume(self._succeed(delivery, watch.phase), watch.phase, self._error(delivery, watch)))
        elif watch.phase == "on_actor_start":
            cell.report_failure(HookTimeout(watch.phase, _NO_TASK, watch.seconds))
        else:
            cell.tell(StartAgain())

    def _after_grace(self, message: GraceOver) -> None:
        """The workflow of what a cell runs is being undone, and it has not stopped: leave it behind."""
        cell, delivery = message.cell, message.delivery
        if cell.current is not delivery or delivery.phase != HANDLE or not delivery.close():
            return
        self._leave_behind(cell, delivery, HANDLE)
        error = CancelRequested(CancelReason.WORKFLOW.value)
        cell.tell(Resume(self._succeed(delivery, HANDLE), HANDLE, error))

    def _leave_behind(self, cell: HandlerActor, delivery: Delivery | None, phase: str) -> None:
        cell.abandon()
        task_id = delivery.ctx.task_id if delivery else _NO_TASK
        logger.error(
            "%s: %s of task %s did not stop within its grace time; its thread is left behind and fenced off",
            cell.actor_urn,
            phase,
            task_id,
        )
        self._node.stream.publish(ThreadAbandoned(self.runtime.now(), task_id, self._pool.spec.name, phase))
        if not self._count_restart():
            delay = self._backoff.delay(self._failures, self.runtime.random())
            self._failures += 1
            self._suspend(f"threads left behind in {phase}", delay)
            self._node.timer.call_after(delay, lambda: self.tell(ProbeDue()))

    def _succeed(self, delivery: Delivery, phase: str) -> Delivery:
        """A delivery that goes on where an abandoned one was, with a context that the old thread does not have."""
        delivery.abandoned = True
        delivery.ctx._over = True
        ticket, cell = delivery.ticket, delivery.cell
        task = self._pool.codec.decode(ticket.record.payload, ticket.record.signed_id, ticket.record.key_id)
        heir: Delivery = cell._attempt.begin(ticket, task)
        heir.started = delivery.started
        heir.error, heir.delay, heir.result = delivery.error, delivery.delay, delivery.result
        heir.ending, heir.hook_error = delivery.ending, delivery.hook_error
        heir.hook, heir.hook_failures = delivery.hook, delivery.hook_failures
        heir.mark, heir.counted = delivery.mark, delivery.counted
        if phase == "on_completed" and delivery.ctx._buffer:
            heir.ctx._buffer = delivery.ctx._buffer[: delivery.mark]
        heir.ctx.result = delivery.ctx.result
        heir.ctx._state = delivery.ctx._state
        heir.ctx._intent = copy.copy(delivery.ctx._intent)  # what it had promised may be needed
        heir.undoing = delivery.undoing
        heir.ctx._token = delivery.ctx.cancellation
        ticket.delivery = heir
        return heir

    def _error(self, delivery: Delivery, watch: Watch) -> BaseException:
        if watch.phase == HANDLE:
            return TaskTimeout(delivery.ctx.task_id, delivery.ctx.attempt, watch.seconds)
        return HookTimeout(watch.phase, delivery.ctx.task_id, watch.seconds)
