"""What the end of a delivery means to the task's workflow, read off its record and its handler. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from everact.storage.protocol import Outcome
from everact.tasks import status as st
from everact.tasks.context import FollowUp
from everact.tasks.record import TASK, Flow, Record
from everact.tasks.registration import HandlerSpec
from everact.tasks.unwinding import Entry, Part

_NO_FLOW = Flow()


def part_of(
    record: Record,
    spec: HandlerSpec | None,
    outcome: Outcome,
    now: int,
    *,
    uncertain: bool = False,
    promised: Sequence[FollowUp] = (),
    abort: str | None = None,
    parked: bool = False,
) -> Part:
    """Say what an outcome means to the workflow.

    Args:
        record: The task, as it was before.
        spec: Its handler; None if it has none here.
        outcome: How the delivery ended.
        now: Microseconds.
        uncertain: Whether the step may have had its effect though it did not complete.
        promised: Undo tasks that the handler registered.
        abort: Why the handler wants the workflow undone, if it does.
        parked: Whether it is a saga that waits for its stage now.
    """
    flow = record.flow or _NO_FLOW
    critical = flow.critical if flow.critical is not None else spec is None or spec.critical
    return Part(
        workflow=record.workflow_id,
        kind=record.kind,
        critical=critical,
        pivot=flow.pivot,
        join=flow.join,
        parked=parked,
        coordinates=spec is not None and spec.coordinates,
        entries=_entries(record, spec, outcome, now, promised, uncertain=uncertain),
        abort=abort,
        undoes=flow.number,
        cause=_cause(record, flow, outcome) if outcome.status > st.COMPLETED or flow.pivot else "",
    )


def _cause(record: Record, flow: Flow, outcome: Outcome) -> str:
    step = f"step {flow.step!r} ({record.type})" if flow.step else record.type
    failed = f", failed: {outcome.error}" if outcome.status in (st.FAILED, st.QUARANTINED) else ""
    return f"{step}, task {UUID(bytes=record.id)}{failed}"


def _entries(
    record: Record,
    spec: HandlerSpec | None,
    outcome: Outcome,
    now: int,
    promised: Sequence[FollowUp],
    *,
    uncertain: bool,
) -> Sequence[Entry]:
    """Make the entries of a step; most steps have none, which is asked first."""
    completed = outcome.status == st.COMPLETED
    if record.kind != TASK or not (promised or completed or uncertain):
        return []
    known = "completed" if completed else "unknown"

    def entry(type_: str, **origin: Record | bytes) -> Entry:
        return Entry(workflow=record.workflow_id, step=record.id, outcome=known, at=now, type=type_, **origin)  # type: ignore[arg-type]

    entries: list[Entry] = []
    if completed or uncertain:
        if spec is not None and spec.compensates:
            entries.append(entry(record.type, source=record.id))
        if record.flow is not None and record.flow.undo is not None and record.flow.saga is not None:
            entries.append(entry(record.flow.undo, source=record.flow.saga))
    return entries + [entry(undo.record.type, record=undo.record) for undo in promised]
