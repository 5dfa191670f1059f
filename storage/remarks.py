"""What a storage itself writes into the history of tasks, in the same words for every storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from everact.storage.protocol import CancelRequest, Outcome
from everact.tasks.record import HistoryRow, Record


def key_taken_rows(outcomes: Iterable[Outcome], taken: Mapping[bytes, Record], now: int) -> list[HistoryRow]:
    """Name the holders of the keys that follow-ups met; one left out for its own id is no news.

    Args:
        outcomes: Those that took effect.
        taken: What stands in the place of rows left out, by their ids.
        now: The commit's time.
    """
    return [
        _key_taken(outcome, record, taken[record.id], now)
        for outcome in outcomes
        for record in outcome.follow_ups
        if record.id in taken and taken[record.id].id != record.id
    ]


def _key_taken(outcome: Outcome, record: Record, holder: Record, now: int) -> HistoryRow:
    detail = f"{record.type} with key {record.key!r} is task {UUID(bytes=holder.id)} already"
    return HistoryRow(task=outcome.id, at=now, event="key_taken", attempt=outcome.attempt, detail=detail)


def cancel_requested(request: CancelRequest) -> HistoryRow:
    """Say that a started task was asked to stop."""
    return HistoryRow(task=request.id, at=request.at, event="cancel_requested", detail=request.reason)


def recovered_detail(owner: int, *, crashed: bool) -> str:
    """Say why a task that was running is queued again."""
    return f"node incarnation {owner} {'died' if crashed else 'stopped'} while it ran"


def recovered(task: bytes, attempt: int, owner: int, now: int, *, crashed: bool) -> HistoryRow:
    """Say that a task is queued again, and which attempt was cut short."""
    detail = recovered_detail(owner, crashed=crashed)
    return HistoryRow(task=task, at=now, event="recovered", attempt=attempt, detail=detail)
