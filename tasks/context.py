"""What a handler and its hooks are given beside the task: `ctx`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import msgspec

from everact.tasks.cancellation import CancellationToken, CancelReason, TokenRuntime
from everact.tasks.errors import AttemptOver, CompensationError
from everact.tasks.failure import storable
from everact.tasks.record import CLEANUP, TASK, Record

if TYPE_CHECKING:
    from everact.tasks.ids import TaskId

logger = logging.getLogger("everact.task")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class FollowUp(Protocol):
    """A child task, encoded and checked, that waits for its parent's outcome."""

    record: Record


class ContextServices(TokenRuntime, Protocol):
    """What a context needs from the engine; implemented above this package."""

    @property
    def system(self) -> Any:
        """The running ActorSystem."""
        ...

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """A lock for what all contexts do rarely and shortly."""
        ...

    def prepare(self, task: object, options: dict[str, Any], parent: Record) -> FollowUp:
        """Encode and check a follow-up of `parent`; raises what `dispatch` raises for a bad task."""
        ...

    def lookup(self, id: bytes) -> Record | None:
        """Read a stored row."""
        ...

    def result_of(self, record: Record) -> Any:
        """Decode the result of a row."""
        ...

    def is_critical(self, record: Record) -> bool:
        """Whether the row's handler says that its failure unwinds the workflow."""
        ...


class _TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the task's facts to what the caller adds; the stock adapter would replace that."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


class Intent:
    """What a handler wants of its workflow, beside follow-ups.

    Attributes:
        promised: Undo tasks.
        abort: Why the workflow should be undone.
        cleaning: Whether what is dispatched now are cleanups, since the task fails.
        parked: Whether the task waits for others, and is run again then.
    """

    __slots__ = ("abort", "cleaning", "parked", "promised")

    def __init__(self) -> None:
        self.promised: list[FollowUp] = []
        self.abort: str | None = None
        self.cleaning = False
        self.parked = False


class TaskContext(msgspec.Struct, eq=False):
    """One delivery of a task: who it is, how to stop, and what to dispatch with its outcome.

    A context belongs to one attempt and its hooks. What is dispatched through it is buffered, and committed
    in the same transaction as the outcome it belongs to: never lost, never twice.

    Attributes:
        task: The task, decoded; a copy of its own for each attempt.
        attempt: Which call of `handle` this is, counted from 1.
        result: What `handle` returned; set in `on_completed`, None before. In `compensate`: what the step that is
            undone had returned; None if its outcome is unknown.
    """

    _services: ContextServices
    _record: Record
    task: Any
    attempt: int
    result: Any = None
    _buffer: list[Any] | None = None  # of FollowUps: the engine knows more of them than is known here
    _intent: Intent | None = None
    _state: dict[str, Any] | None = None
    _over: bool = False
    _token: CancellationToken | None = None

    @property
    def cancellation(self) -> CancellationToken:
        """The token that fires when this attempt should stop."""
        if self._token is None:  # most attempts are never asked to stop, nor look
            with self._services.lock:
                if self._token is None:  # somebody may have asked it to stop at this very moment
                    self._token = CancellationToken(self._services)
        return self._token

    @property
    def _stop_reason(self) -> CancelReason | None:
        return None if self._token is None else self._token.reason

    @property
    def task_id(self) -> UUID:
        """The task's id; the same for every attempt."""
        return UUID(bytes=self._record.id)

    @property
    def workflow_id(self) -> UUID:
        """The workflow: the tree of tasks that descends from one outside dispatch."""
        return UUID(bytes=self._record.workflow_id)

    @property
    def parent_id(self) -> UUID | None:
        """The task that dispatched this one from its handler or hook, if one did."""
        parent = self._record.parent
        return None if parent is None else UUID(bytes=parent)

    @property
    def state(self) -> dict[str, Any]:
        """A dict for whatever the handler wants to hand to its hooks within this delivery."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers given at dispatch or inherited from the parent; follow-ups inherit them."""
        headers = self._record.headers
        return MappingProxyType(headers) if headers else _NO_HEADERS

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry `task_id`, `task_type`, `attempt` and `workflow_id`."""
        extra = {
            "task_id": str(self.task_id),
            "task_type": self._record.type,
            "attempt": self.attempt,
            "workflow_id": str(self.workflow_id),
        }
        return _TaskLogger(logger, extra)

    @property
    def system(self) -> Any:
        """The running `ActorSystem`. `ctx.system.dispatch` commits at once, whatever becomes of this attempt."""
        return self._services.system

    def dispatch(
        self,
        task: object,
        *,
        id: TaskId | None = None,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        key: str | None = None,
        priority: int = 0,
        tags: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> UUID:
        """Dispatch a follow-up, atomic with the outcome of what is running now.

        It is stored if and only if that outcome is: with the completion when called from `handle` or
        `on_completed`, with the retry from `on_retry`, with the failure or cancel from `on_error`. An attempt
        or a hook that raises drops what it had buffered. Headers and the workflow are inherited.

        Args:
            task: An instance of a registered task class.
            id: The follow-up's id, if you want to choose it.
            delay: Seconds or timedelta, counted from now.
            at: An aware datetime, instead of `delay`.
            key: Unique per task type while not finished; if taken, nothing is stored and the parent's
                history says so.
            priority: -100 to 100, higher first.
            tags: Labels to find it by.
            headers: Added to the inherited ones.

        Returns:
            The follow-up's id.

        Raises:
            TaskTypeUnknown: Its class has no handler here.
            PayloadError: It does not survive encoding.
            ValueError: An option has no meaning.
            AttemptOver: The attempt has ended already.
        """
        if self._over:
            raise AttemptOver(self.task_id, self.attempt)
        options = {
            "id": id,
            "delay": delay,
            "at": at,
            "key": key,
            "priority": priority,
            "tags": tags,
            "headers": headers,
        }
        follow_up = self._services.prepare(task, options, self._record)
        if self._intent is not None and self._intent.cleaning:
            as_cleanup(follow_up.record)
        if self._buffer is None:
            self._buffer = []
        self._buffer.append(follow_up)
        return UUID(bytes=follow_up.record.id)

    @property
    def outcome(self) -> str | None:
        """In a compensation: how the step that it undoes ended, "completed" or "unknown"; None elsewhere.

        Unknown means that the step may have had its effect, or a part of it, or none: it ran out of time, was
        cancelled while it ran, or died with its process.
        """
        return None if self._record.flow is None else self._record.flow.outcome

    def compensate_with(self, task: object) -> None:
        """Say which task undoes this one; it is dispatched if the workflow is unwound later.

        The promise is committed with the completion. An attempt that raises drops it, unless its outcome is
        unknown: then it is kept, and the undo handler sees that in `ctx.outcome`. It must therefore be able to
        undo nothing. Called more than once, the last promise is played first.

        Args:
            task: An instance of a registered task class. It runs with ten attempts and a growing delay if its
                handler sets no `retry` of its own, and nothing cancels it.

        Raises:
            TaskTypeUnknown: Its class has no handler here.
            PayloadError: It does not survive encoding.
            AttemptOver: The attempt has ended already.
            CompensationError: Called in a compensation or a cleanup, which are not undone.

        Example:
            >>> class ReserveHandler(TaskHandler[Reserve]):                     # doctest: +SKIP
            ...     def handle(self, task, ctx):
            ...         ctx.compensate_with(Release(task.order_id))
            ...         return stock.reserve(task.order_id)
        """
        if self._over:
            raise AttemptOver(self.task_id, self.attempt)
        if self._record.kind != TASK:
            raise CompensationError(self.task_id, self._record.kind)
        self._wishes().promised.append(self._services.prepare(task, {}, self._record))

    def abort_workflow(self, reason: str = "") -> None:
        """Have the whole workflow undone once this attempt has ended, atomic with its outcome.

        The task itself ends as it would; an attempt that raises drops the wish. Steps that have not started are
        cancelled, running ones are told to stop, completed ones are undone in reverse order.

        Args:
            reason: Kept with the workflow.

        Raises:
            AttemptOver: The attempt has ended already.
            CompensationError: Called in a compensation or a cleanup.
        """
        if self._over:
            raise AttemptOver(self.task_id, self.attempt)
        if self._record.kind != TASK:
            raise CompensationError(self.task_id, self._record.kind)
        self._wishes().abort = storable(reason) or f"task {self.task_id} aborted its workflow"

    def _wishes(self) -> Intent:
        if self._intent is None:
            self._intent = Intent()
        return self._intent

    def __repr__(self) -> str:
        return f"<TaskContext {self._record.type} {self.task_id} attempt {self.attempt}>"


def context_of(services: ContextServices, record: Record, task: Any) -> TaskContext:
    """Make the context of a task's next attempt."""
    return TaskContext(services, record, task, record.attempt + 1)


def as_cleanup(record: Record) -> None:
    """Make a task that is about to be stored a cleanup: no unwinding stops it, and nothing waits for it."""
    record.kind = CLEANUP
    record.flow = None
