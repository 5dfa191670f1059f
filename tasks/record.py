"""The durable row of a task, and the picture of it that users see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from everact.tasks import status as st
from everact.tasks.status import TaskStatus

TASK, COMPENSATION, CLEANUP = "task", "compensation", "cleanup"
"""What kinds of task there are. A compensation undoes a step; what an `on_error`, a compensation or a cleanup
dispatches is a cleanup. The unwinding of a workflow stops only the first kind."""


class Flow(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a task is to its workflow, beyond being one of its tasks.

    Attributes:
        join: The saga that goes on only after this task has ended, and whatever follows from it.
        saga: The run of a saga that it is a step of: the id of the task that began to coordinate it.
        run: The run that it coordinates, or undoes a step of, if that is not its own id.
        step: The step's name in its saga.
        critical: Whether its failure unwinds the workflow; None for what its handler says.
        pivot: Whether nothing is undone any more once it has completed.
        undo: The stored name of its saga, if that knows how to undo it.
        undoes: The step that this compensation undoes.
        number: Which entry of the undo log it plays.
        outcome: How that step ended: "completed" or "unknown".
        own: Whether the handler's `compensate` is called, not its `handle`.
        result: That step's result, encoded.
        signed: The id that the payload was encoded for, if not the task's own.
    """

    join: bytes | None = None
    saga: bytes | None = None
    run: bytes | None = None
    step: str | None = None
    critical: bool | None = None
    pivot: bool = False
    undo: str | None = None
    undoes: bytes | None = None
    number: int = 0
    outcome: str | None = None
    own: bool = False
    result: bytes | None = None
    signed: bytes | None = None


class Record(msgspec.Struct, gc=False, kw_only=True):
    """One row of a storage, with the types that the storage keeps.

    Times are microseconds since the Unix epoch, ids are the 16 bytes of a UUID. `attempt` counts attempts
    that have ended; the one now running is `attempt + 1`. `workflow` is None for a task that is alone in its
    workflow, whose id is then the task's own. `checksum` is that of the payload; None in rows of schema 1.
    """

    id: bytes
    type: str
    payload: bytes
    due: int
    created: int
    status: int = st.QUEUED
    seq: int = 0
    owner: int = 0
    codec: str = "json"
    version: int = 1
    key_id: str | None = None
    priority: int = 0
    key: str | None = None
    queue: str = "default"
    kind: str = TASK
    tags: tuple[str, ...] = ()
    headers: dict[str, str] | None = None
    parent: bytes | None = None
    workflow: bytes | None = None
    retry_of: bytes | None = None
    attempt: int = 0
    crashes: int = 0
    suspect: bool = False
    cancel_requested: str | None = None
    result: bytes | None = None
    error: TaskError | None = None
    started: int | None = None
    finished: int | None = None
    checksum: int | None = None
    flow: Flow | None = None

    @property
    def workflow_id(self) -> bytes:
        """The workflow's id; a root is its own workflow."""
        return self.workflow if self.workflow is not None else self.id

    @property
    def signed_id(self) -> bytes:
        """The id that the payload was encoded for."""
        return self.id if self.flow is None or self.flow.signed is None else self.flow.signed


class TaskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a task failed: what `handle` raised, and what a hook raised beside it.

    Attributes:
        type: Qualified name of the exception class.
        text: Its message.
        traceback: The formatted traceback, cut to the limit of `Settings.error_limit`.
        hook: The hook that failed, if the task failed because of one, or beside its own failure.
        hook_error: What that hook raised, as `Type: message`.
    """

    type: str
    text: str
    traceback: str = ""
    hook: str | None = None
    hook_error: str | None = None

    def __str__(self) -> str:
        beside = f" ({self.hook} raised {self.hook_error})" if self.hook else ""
        return f"{self.type}: {self.text}{beside}"


class HistoryRow(msgspec.Struct, frozen=True, gc=False):
    """One thing out of the ordinary that happened to a task, as it is stored."""

    task: bytes
    at: int
    event: str
    attempt: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task as it was when you asked: `system.get(id)`, `system.tasks()`.

    Attributes:
        id: The task's UUIDv7.
        type: Stored name of the task's class.
        status: Where it is in its life; RUNNING as soon as a cell has it.
        workflow_id: The workflow it belongs to; its own id for a task dispatched from outside.
        parent_id: The task whose handler or hook dispatched it.
        attempt: Attempts begun so far.
        result: What `handle` returned, decoded; None until COMPLETED.
        error: How it failed, or how its last attempt failed while it waits for the next one.
        cancel_requested: The reason given with a cancel that has not taken effect yet; None if there is none.
        due: When it may start (UTC). `created`, `started` and `finished` likewise; None if not reached.
        retry_of: The failed task that `requeue` made this one from.
        crashes: How often the process died while this task ran.
    """

    id: UUID
    type: str
    status: TaskStatus
    workflow_id: UUID
    parent_id: UUID | None
    attempt: int
    result: Any
    error: TaskError | None
    key: str | None
    priority: int
    queue: str
    tags: tuple[str, ...]
    headers: dict[str, str]
    due: datetime
    created: datetime
    started: datetime | None
    finished: datetime | None
    retry_of: UUID | None
    cancel_requested: str | None
    crashes: int
    kind: str


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One moment in a task's life: `system.history(id)`.

    Attributes:
        at: When it happened (UTC).
        event: `created`, `started`, a terminal status, or something out of the ordinary: `retry`,
            `cancel_requested`, `recovered`, `requeued`, `key_taken`, `hook_failed`.
        attempt: The attempt it belongs to, 0 if none.
        detail: What else there is to say.
    """

    at: datetime
    event: str
    attempt: int = 0
    detail: str = ""


def instant(microseconds: int) -> datetime:
    """Turn stored microseconds into an aware UTC datetime.

    Example:
        >>> instant(1_500_000).isoformat()
        '1970-01-01T00:00:01.500000+00:00'
    """
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)


def public_record(record: Record, result: Any, now: int) -> TaskRecord:
    """Make the user's picture of a row.

    Args:
        record: The row; it is not changed.
        result: Its result, decoded by the caller.
        now: Microseconds; a SCHEDULED row that is due by now is shown as QUEUED, as nothing is written then.
    """
    status = record.status
    if status == st.SCHEDULED and record.due <= now:
        status = st.QUEUED
    return TaskRecord(
        id=UUID(bytes=record.id),
        type=record.type,
        status=TaskStatus(status),
        workflow_id=UUID(bytes=record.workflow_id),
        parent_id=_uuid(record.parent),
        attempt=record.attempt,
        result=result,
        error=record.error,
        key=record.key,
        priority=record.priority,
        queue=record.queue,
        tags=record.tags,
        headers=dict(record.headers or {}),
        due=instant(record.due),
        created=instant(record.created),
        started=_instant(record.started),
        finished=_instant(record.finished),
        retry_of=_uuid(record.retry_of),
        cancel_requested=record.cancel_requested,
        crashes=record.crashes,
        kind=record.kind,
    )


def merge_history(record: Record, rows: list[HistoryRow]) -> list[HistoryEntry]:
    """Merge a record's own times with the rows of what was out of the ordinary, in order of time."""
    entries = [HistoryEntry(instant(record.created), "created")]
    entries += [HistoryEntry(instant(row.at), row.event, row.attempt, row.detail) for row in rows]
    if record.started is not None:
        entries.append(HistoryEntry(instant(record.started), "started", max(record.attempt, 1)))
    if record.finished is not None:
        detail = str(record.error) if record.error else ""
        event = str(TaskStatus(record.status))
        entries.append(HistoryEntry(instant(record.finished), event, record.attempt, detail))
    return sorted(entries, key=lambda entry: entry.at)


def _uuid(value: bytes | None) -> UUID | None:
    return None if value is None else UUID(bytes=value)


def _instant(value: int | None) -> datetime | None:
    return None if value is None else instant(value)
