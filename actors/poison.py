"""Tasks that were running in too many crashes: they are set aside unstarted, so that the others can run."""

from __future__ import annotations

from uuid import UUID

from everact.actors.messages import FinishDelivery
from everact.actors.part import part_of
from everact.actors.ticket import DONE, Ticket
from everact.storage.protocol import outcome_of
from everact.tasks import status as st
from everact.tasks.errors import PoisonTask
from everact.tasks.failure import error_name
from everact.tasks.record import TaskError


def poisonous(ticket: Ticket, max_crashes: int) -> bool:
    """Whether a task was RUNNING on disk in `max_crashes` crashes or more."""
    return ticket.record.crashes >= max_crashes


def set_aside(ticket: Ticket, now: int) -> FinishDelivery | None:
    """End an adopted task as QUARANTINED; no hook runs. None if it was cancelled meanwhile.

    Args:
        ticket: Not started.
        now: Microseconds.
    """
    if not ticket.leave_queue(DONE):
        return None
    record = ticket.record
    error = PoisonTask(UUID(bytes=record.id), record.type, record.crashes)
    outcome = outcome_of(record, st.QUARANTINED)
    outcome.finished = now
    outcome.error = TaskError(error_name(error), str(error))
    outcome.part = part_of(record, ticket.pool.spec, outcome, now, uncertain=True)
    return FinishDelivery(ticket, outcome, ())
