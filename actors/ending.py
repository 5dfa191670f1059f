"""How a delivery ends: the outcome that the journal is handed. Pure, but for what it reads off the delivery."""

from __future__ import annotations

from collections.abc import Sequence

from everact.actors.messages import FinishDelivery
from everact.actors.part import part_of
from everact.actors.ticket import Delivery, Ticket
from everact.storage.protocol import Outcome
from everact.tasks import status as st
from everact.tasks.context import Intent
from everact.tasks.errors import ResultError, TaskTimeout
from everact.tasks.failure import describe
from everact.tasks.record import HistoryRow, TaskError
from everact.tasks.registration import HandlerSpec

_NO_INTENT = Intent()


def ending(
    delivery: Delivery, status: int, now: int, error_limit: int, spec: HandlerSpec, due: int | None = None
) -> FinishDelivery:
    """Make the message that ends a delivery, with what it dispatched and promised.

    Args:
        delivery: Closed by the caller.
        status: What the task becomes.
        now: Microseconds.
        error_limit: Characters kept of an error's text.
        spec: The handler.
        due: When the next attempt is due, if there is one.
    """
    ctx = delivery.ctx
    record = delivery.ticket.record
    counted = delivery.counted and status != st.QUEUED and not delivery.parked
    follow_ups: Sequence[Ticket] = ctx._buffer or ()
    outcome = Outcome(
        id=record.id,
        seq=record.seq,
        owner=record.owner,
        expected=record.attempt,
        status=status,
        attempt=ctx.attempt if counted else record.attempt,
        due=record.due if due is None else due,
        started=delivery.started if counted else record.started,
        finished=now if status >= st.COMPLETED else None,
        result=delivery.result if status == st.COMPLETED else None,
    )
    if delivery.error is not None and status != st.QUEUED:
        outcome.error = _describe(delivery, error_limit)
        if status == st.SCHEDULED:
            outcome.history = HistoryRow(record.id, now, "retry", ctx.attempt, str(outcome.error))
    if record.workflow is not None or follow_ups or ctx._intent is not None or spec.compensates:
        _take_part(delivery, outcome, spec, now, follow_ups)
    return FinishDelivery(delivery.ticket, outcome, follow_ups)


def _take_part(delivery: Delivery, outcome: Outcome, spec: HandlerSpec, now: int, follow_ups: Sequence[Ticket]) -> None:
    intent = delivery.ctx._intent or _NO_INTENT
    record = delivery.ticket.record
    outcome.part = part = part_of(
        record,
        spec,
        outcome,
        now,
        uncertain=is_uncertain(delivery),
        promised=intent.promised,
        abort=intent.abort,
        parked=delivery.parked,
    )
    if record.workflow is None and not (follow_ups or part.entries or part.abort is not None):
        outcome.part = None  # alone, with nothing to undo


def is_uncertain(delivery: Delivery) -> bool:
    """Whether a step that does not end COMPLETED may have had its effect all the same.

    It was told to stop while it ran, or had returned before something else failed; or it may have been running in a
    process that died.
    """
    if delivery.ticket.doubtful or delivery.ticket.record.crashes:
        return True
    if not delivery.counted:
        return False
    error = delivery.error
    stopped = delivery.ctx._stop_reason is not None or isinstance(error, TaskTimeout)
    return stopped or isinstance(error, ResultError) or delivery.hook_failures > 0


def _describe(delivery: Delivery, limit: int) -> TaskError:
    error = delivery.error
    assert error is not None  # noqa: S101 - for the type checker; the caller has looked
    hook = delivery.hook if delivery.hook_error is not None else None
    return describe(error, limit, hook, delivery.hook_error)
