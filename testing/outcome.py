"""What a run has come to, as far as that can be compared with another run: how everything ended, and not when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from everact.storage.protocol import Selection
from everact.tasks import status as st
from everact.tasks.record import COMPENSATION, Record
from everact.tasks.unwinding import EntryState
from everact.testing.trace import short, undo_of

ALL = 1_000_000_000
Outcome = tuple[str, ...]
"""Sorted lines, such as "1: Charge is completed", "1: its workflow is compensated", "1: undone: Charge, Reserve"."""


def outcome_of(storage: Any, roots: Mapping[bytes, int]) -> Outcome:
    """Read it from a storage.

    Args:
        storage: One that is open.
        roots: Numbers of the tasks that came from outside, by id.
    """
    records = {record.id: record for record in storage.select(Selection(limit=ALL))}
    lines = [f"{roots.get(record.workflow_id, '?')}: {_told(record)}" for record in records.values()]
    for row in storage.workflows(None, b"", ALL):
        lines.append(f"{roots.get(row.id, '?')}: its workflow is {row.state.value}")
        log = [entry for entry in storage.undo_log(row.id) if entry.state == EntryState.PLAYED]
        undone = [short(records[entry.step].type) for entry in reversed(log) if entry.step in records]
        if undone:
            lines.append(f"{roots.get(row.id, '?')}: undone: {', '.join(undone)}")
    return tuple(sorted(lines))


def _told(record: Record) -> str:
    own = record.kind == COMPENSATION and record.flow is not None and record.flow.own
    name = undo_of(record.type) if own else short(record.type)
    error = f" ({short(record.error.type)})" if record.error is not None and record.status == st.FAILED else ""
    return f"{name} is {st.TaskStatus(record.status)}{error}"


def unfinished(storage: Any) -> list[Record]:
    """What has not ended, and does not belong to a workflow that is stuck."""
    stuck = {row.id for row in storage.workflows(None, b"", ALL) if row.state.value == "stuck"}
    found = storage.select(Selection(statuses=(st.SCHEDULED, st.QUEUED, st.RUNNING), limit=ALL))
    return [record for record in found if record.workflow_id not in stuck]
