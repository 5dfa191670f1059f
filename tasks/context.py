"""What a handler and its hooks are given beside the task: `ctx`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from everact.tasks.cancellation import CancellationToken, TokenRuntime
from everact.tasks.errors import AttemptOver
from everact.tasks.record import Record

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

    def prepare(self, task: object, options: dict[str, Any], parent: Record) -> FollowUp:
        """Encode and check a follow-up of `parent`; raises what `dispatch` raises for a bad task."""
        ...


class _TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the task's facts to what the caller adds; the stock adapter would replace that."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


class TaskContext:
    """One delivery of a task: who it is, how to stop, and what to dispatch with its outcome.

    A context belongs to one attempt and its hooks. What is dispatched through it is buffered, and committed
    in the same transaction as the outcome it belongs to: never lost, never twice.

    Attributes:
        task: The task, decoded; a copy of its own for each attempt.
        attempt: Which call of `handle` this is, counted from 1.
        result: What `handle` returned; set in `on_completed`, None before.
        cancellation: The token that fires when this attempt should stop.
    """

    __slots__ = ("_buffer", "_over", "_record", "_services", "_state", "attempt", "cancellation", "result", "task")

    def __init__(self, services: ContextServices, record: Record, task: Any) -> None:
        self._services = services
        self._record = record
        self._buffer: list[FollowUp] | None = None
        self._state: dict[str, Any] | None = None
        self._over = False
        self.task = task
        self.attempt = record.attempt + 1
        self.result: Any = None
        self.cancellation = CancellationToken(services)

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
        if self._buffer is None:
            self._buffer = []
        self._buffer.append(follow_up)
        return UUID(bytes=follow_up.record.id)

    def __repr__(self) -> str:
        return f"<TaskContext {self._record.type} {self.task_id} attempt {self.attempt}>"
