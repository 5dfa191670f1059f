"""The tasks that a workflow's own rules make: compensations, and steps that an operator has repeated."""

from __future__ import annotations

from uuid import UUID, uuid5

import msgspec

from everact.tasks import status as st
from everact.tasks.record import COMPENSATION, Flow, Record
from everact.tasks.saga_handler import repeated_id
from everact.tasks.unwinding import Entry


def compensation_id(entry: Entry) -> bytes:
    """The id of an entry's compensation: the same whoever makes it, another one for each round."""
    return uuid5(UUID(bytes=entry.step), f"{entry.number}/{entry.round}").bytes


def compensation(entry: Entry, step: Record | None, source: Record | None, now: int) -> Record:
    """Make the task that plays an entry.

    Args:
        entry: The entry.
        step: The task that it undoes.
        source: The task whose type and payload it takes, if the entry names one.
        now: Microseconds.
    """
    origin = entry.record if source is None else source
    assert origin is not None  # noqa: S101 - an entry has a record or a source, and a workflow's rows go together
    flow = Flow(
        undoes=entry.step,
        number=entry.number,
        outcome=entry.outcome,
        own=source is not None,
        result=None if step is None else step.result,
        step=None if step is None or step.flow is None else step.flow.step,
        run=None if source is None else source.id,
        signed=origin.signed_id,
    )
    return msgspec.structs.replace(
        _fresh(origin, now),
        id=compensation_id(entry),
        kind=COMPENSATION,
        parent=entry.step,
        workflow=entry.workflow,
        flow=flow,
        retry_of=None,
        priority=0,
        tags=(),
    )


def again(failed: Record, now: int) -> Record:
    """Make the task that is run in the place of one that failed."""
    flow = failed.flow or Flow()
    flow = msgspec.structs.replace(flow, signed=failed.signed_id, run=flow.run or failed.id)
    return msgspec.structs.replace(_fresh(failed, now), id=repeated_id(failed.id), retry_of=failed.id, flow=flow)


def _fresh(origin: Record, now: int) -> Record:
    """The same work, not begun."""
    return msgspec.structs.replace(
        origin,
        seq=0,
        owner=0,
        status=st.QUEUED,
        due=now,
        created=now,
        key=None,
        attempt=0,
        crashes=0,
        suspect=False,
        cancel_requested=None,
        result=None,
        error=None,
        started=None,
        finished=None,
    )
