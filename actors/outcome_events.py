"""What subscribers are told about commits. Built only while somebody listens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from everact.actors.commit import PlannedCancel, is_parked
from everact.actors.messages import FinishDelivery
from everact.actors.ticket import Ticket
from everact.storage.protocol import Committed
from everact.tasks import events
from everact.tasks import status as st


def store_events(tickets: Iterable[Ticket]) -> Iterator[events.Event]:
    """One `TaskDispatched` per stored task."""
    for ticket in tickets:
        record = ticket.record
        yield events.TaskDispatched(record.created, UUID(bytes=record.id), record.type)


def finish_events(finish: FinishDelivery, follow_ups: Iterable[Ticket], now: int) -> Iterator[events.Event]:
    """How a delivery ended, then the dispatch of its follow-ups."""
    outcome, record = finish.outcome, finish.ticket.record
    task_id, error = UUID(bytes=outcome.id), str(outcome.error) if outcome.error else ""
    if outcome.status == st.COMPLETED:
        seconds = ((outcome.finished or now) - (outcome.started or now)) / 1_000_000
        yield events.TaskCompleted(now, task_id, record.type, outcome.attempt, seconds)
    elif outcome.status == st.FAILED:
        yield events.TaskFailed(now, task_id, record.type, outcome.attempt, error)
    elif outcome.status == st.CANCELLED:
        yield events.TaskCancelled(now, task_id, record.type, outcome.attempt)
    elif outcome.status == st.QUARANTINED:
        yield events.TaskQuarantined(now, task_id, record.type, error)
    elif outcome.status == st.SCHEDULED and not is_parked(outcome):
        delay = max(outcome.due - now, 0) / 1_000_000
        yield events.TaskRetried(now, task_id, record.type, outcome.attempt, error, delay)
    yield from store_events(follow_ups)


def key_events(
    finish: FinishDelivery, left_out: Iterable[Ticket], committed: Committed, now: int
) -> Iterator[events.Event]:
    """Follow-ups that were not stored for their key."""
    parent = finish.ticket.record
    for ticket in left_out:
        # Nothing is known of one that an earlier commit, of unknown outcome, has stored.
        key, holder = ticket.record.key, committed.taken.get(ticket.record.id)
        if key is not None and holder is not None and holder.id != ticket.record.id:
            yield events.KeyTaken(now, UUID(bytes=parent.id), parent.type, key, UUID(bytes=holder.id))


def cancel_event(cancel: PlannedCancel, now: int) -> events.Event:
    """A task that was cancelled before it started."""
    return events.TaskCancelled(now, UUID(bytes=cancel.id), cancel.type, 0)
