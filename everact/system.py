"""The front door: `ActorSystem`, which an application starts, dispatches to and stops."""

from __future__ import annotations

import asyncio
import atexit
import logging
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from uuid import UUID

from everact import access
from everact.actors import process
from everact.actors.runtime import Runtime, ThreadRuntime
from everact.config import Settings, checked_middleware
from everact.engine import Engine
from everact.inspection import Inspection
from everact.spawning import Spawning
from everact.storage import storage_from
from everact.storage.codec import codec_for
from everact.storage.protocol import Storage
from everact.subscription import Events
from everact.supervision.dead_letters import DeadLetters
from everact.task_handle import TaskHandle
from everact.tasks.cancellation import CancelOutcome
from everact.tasks.errors import ConfigurationError, ForkedSystem, SystemNotRunning
from everact.tasks.events import DeadLetter, SystemStopping
from everact.tasks.failure import error_name, error_text
from everact.tasks.ids import TaskId, id_bytes
from everact.tasks.registration import specify
from everact.tasks.task import FunctionTask
from everact.workflows import Workflows

logger = logging.getLogger("everact")
R = TypeVar("R")
AT_EXIT_SECONDS = 5.0
_systems: weakref.WeakSet[ActorSystem] = weakref.WeakSet()


class ActorSystem(Inspection, Spawning, Workflows):
    """Durable background work inside this process.

    Use it as a context manager, sync or async, or call `start` and `stop`. Leaving the block waits up to 30 s
    for running handlers; leaving it by an exception does not wait.

    Args:
        name: Shown in thread names, logs and metrics.
        handlers: TaskHandler classes, functions decorated with `@task`, or `bind(...)`.
        storage: `memory://`, `sqlite:///file.db` (`?durability=process` survives kill -9 but not a power cut,
            and is faster), or a Storage object.
        settings: See `Settings`.
        middleware: Objects with `around_attempt(ctx)`, a context manager wrapped around each call of `handle`.

    Raises:
        HandlerError: A handler cannot be registered as it is written.
        ConfigurationError: The storage URL, name or middleware has no meaning.

    Example:
        >>> from everact import task
        >>> @task
        ... def double(n: int) -> int:
        ...     return 2 * n
        >>> with ActorSystem(handlers=[double]) as system:
        ...     system.dispatch(double.task(21)).result(timeout=5)
        42
    """

    def __init__(
        self,
        name: str = "everact",
        *,
        handlers: Iterable[object] = (),
        storage: str | Storage = "memory://",
        settings: Settings | None = None,
        middleware: Sequence[Any] = (),
    ) -> None:
        if not isinstance(name, str) or not name:
            msg = f"name={name!r} must be a non-empty string"
            raise ConfigurationError(msg)
        self.name = name
        self.state = "not started"
        self.settings = settings or Settings()
        self.events = Events(self)
        self._storage = storage_from(storage)
        self._handlers = [
            (spec, codec_for(spec, self.settings.secret_keys, self.settings.payload_limit))
            for spec in specify(handlers)
        ]
        self._middleware = checked_middleware(middleware)
        self._engine: Engine | None = None
        self._unstopped: list[None] = []
        self._stop_asked: float | None = None
        self.stop_cause: BaseException | None = None
        self._dead_letters: DeadLetters | None = None
        self._process = process.number()

    @staticmethod
    def _make_runtime() -> Runtime:
        """The seam to the world; a simulation overrides this."""
        return ThreadRuntime()

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the storage, take over what a dead process left behind, and begin to run tasks.

        Raises:
            ConfigurationError: It runs already.
            StorageUnavailable, MigrationError: The storage cannot be opened.
            SystemNotRunning: A failure was escalated to the system while it started; it has stopped again.
        """
        if self._engine is not None and self._forked:
            raise ForkedSystem(self.name)
        if self._engine is not None:
            msg = f"actor system {self.name!r} is {self.state} already; start() it once"
            raise ConfigurationError(msg)
        self._process = process.number()
        runtime = type(self)._make_runtime()
        # One token; taking it is the right to stop what starts here. It is there when that has started.
        self._unstopped, self._stop_asked = [], None
        self._ended = runtime.gate()
        engine = Engine(self.name, runtime, self._storage, self.settings, self._handlers, self._middleware)
        engine.node.dispatcher.system = self
        self._dead_letters, self.stop_cause = engine.dead_letters, None
        self.events._attach(engine)
        self._engine = engine  # before the start: an adopted task may use ctx.system while it goes on
        try:
            engine.start()
        except BaseException:
            self._engine = None
            engine.stop(0.0)
            self._ended.open()
            raise
        self.state = "running"
        _systems.add(self)
        self._unstopped.append(None)
        if (cause := self.stop_cause) is not None:
            self.stop(0.0)
            raise SystemNotRunning(self.name, "stopped", cause) from cause
        if self._stop_asked is not None:
            self.stop(self._stop_asked)

    def stop(self, timeout: float = 30.0) -> None:
        """Stop: nothing new starts, running handlers may finish for `timeout` seconds, then they are told to stop.

        A handler that is interrupted runs again at the next start; its `on_error` is not called, so a deploy
        undoes nothing. Returns within timeout + grace + 5 s. Called inside a handler it only asks for the
        stop, and returns. A second call does nothing.
        """
        engine = self._engine
        if engine is None or self._forked:
            return
        runtime = engine.node.runtime
        inside = runtime.role() is not None or access.here(engine) is not None or access.is_actor_here(engine)
        self._stop_asked = timeout  # before the look at the token: while it starts, start() looks at this in the end
        try:
            self._unstopped.pop()
        except IndexError:
            if not inside:  # somebody else stops it: wait for the end of that
                self._ended.wait(timeout + self.settings.grace + AT_EXIT_SECONDS)
            return
        self.state = "stopping"
        if inside:
            runtime.spawn(lambda: self._stop(engine, timeout), f"{self.name}/stop")
        else:
            self._stop(engine, timeout)

    def _stop(self, engine: Engine, timeout: float) -> None:
        try:
            engine.stop(max(timeout, 0.0))
        finally:
            self.state = "stopped"
            self._engine = None
            _systems.discard(self)
            self._ended.open()

    def _escalated(self, cause: BaseException) -> None:
        """A failure has come up to the top: stop, and say why. Called in a thread of the actors."""
        engine = self._engine
        if engine is None or self.state == "stopping":
            return
        self.stop_cause = cause
        told = f"{error_name(cause)}: {error_text(cause)}"
        logger.critical("%r stops, since a failure was escalated to it: %s", self, told, exc_info=cause)
        engine.node.stream.publish(SystemStopping(engine.node.runtime.now(), told))
        engine.node.runtime.spawn(self.stop, f"{self.name}/stop")

    def dead_letters(self) -> list[DeadLetter]:
        """The last 1,000 messages that no actor has handled to its end, oldest first.

        Each is told to subscribers as well: `system.events.subscribe(fn)`. They can be read after the system has
        stopped, which makes dead letters of what is still in the mailboxes.
        """
        return [] if self._dead_letters is None else self._dead_letters.last()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(30.0 if kind is None else 0.0)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop, 30.0 if kind is None else 0.0)

    # -- dispatch ------------------------------------------------------------------------------------------

    @overload
    def dispatch(
        self,
        task: FunctionTask[R],
        *,
        id: TaskId | None = ...,
        delay: float | timedelta | None = ...,
        at: datetime | None = ...,
        key: str | None = ...,
        priority: int = ...,
        tags: Sequence[str] = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> TaskHandle[R]: ...
    @overload
    def dispatch(
        self,
        task: object,
        *,
        id: TaskId | None = ...,
        delay: float | timedelta | None = ...,
        at: datetime | None = ...,
        key: str | None = ...,
        priority: int = ...,
        tags: Sequence[str] = ...,
        headers: Mapping[str, str] | None = ...,
    ) -> TaskHandle[Any]: ...
    def dispatch(self, task: object, **options: Any) -> TaskHandle[Any]:  # noqa: D417 - the overloads name them
        """Store a task and have it run. When this returns, the task survives kill -9 and a power cut.

        Inside a handler it commits at once, whatever becomes of that handler, as a child of its workflow;
        `ctx.dispatch` is atomic with the handler's outcome instead.

        Args:
            task: An instance of a registered task class.
            id: The task's id, if you want to choose it. Dispatching again with the same id is safe: if the
                task is there already, its handle is returned.
            delay: Seconds or timedelta from now; zero or negative means now.
            at: A timezone-aware datetime, instead of `delay`; one in the past means now.
            key: Unique per task type while not finished; if taken, the holder's handle is returned.
            priority: -100 to 100, higher first.
            tags: Labels to find it by.
            headers: Text by name, inherited by follow-ups: a correlation id, a traceparent.

        Raises:
            TaskTypeUnknown: Its class has no handler here.
            PayloadError: It does not survive encoding, or is too large.
            ValueError, TypeError: An option has no meaning.
            StorageUnavailable: The commit failed or did not come in time; its `outcome` says what is known.
            StorageFull: There is no room.
            BlockingCallError: Called on one of everact's own threads; use `dispatch_async` there.
            SystemNotRunning, ForkedSystem: The system cannot be used now, or here.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "dispatch")
        ticket = access.prepare(engine, task, options)
        taken = access.store(engine, [ticket], soon=not options)
        return TaskHandle(self, access.stored_id(ticket, taken) if taken else ticket.record.id, ticket.pool.codec)

    async def dispatch_async(self, task: object, **options: Any) -> TaskHandle[Any]:
        """As `dispatch`, awaited. Works in any event loop, everact's own included."""
        engine = self._running()
        ticket = access.prepare(engine, task, options)
        taken = await access.store_async(engine, [ticket], soon=not options)
        return TaskHandle(self, access.stored_id(ticket, taken), ticket.pool.codec)

    def dispatch_many(self, tasks: Iterable[object], **options: Any) -> list[TaskHandle[Any]]:
        """Store many tasks in one commit: all of them or none.

        Args:
            tasks: Instances of registered task classes, of any mix of types.
            **options: `delay`, `at`, `priority`, `tags` and `headers` as for `dispatch`; they apply to each.

        Raises:
            TypeError: `id` or `key` is given; these name one task.
            Others as `dispatch`; if one task is bad, none is stored.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "dispatch_many")
        tickets = self._prepare_many(engine, tasks, options)
        taken = access.store(engine, tickets) if tickets else {}
        return [TaskHandle(self, access.stored_id(t, taken) if taken else t.record.id, t.pool.codec) for t in tickets]

    async def dispatch_many_async(self, tasks: Iterable[object], **options: Any) -> list[TaskHandle[Any]]:
        """As `dispatch_many`, awaited."""
        engine = self._running()
        tickets = self._prepare_many(engine, tasks, options)
        taken = await access.store_async(engine, tickets) if tickets else {}
        return [TaskHandle(self, access.stored_id(t, taken) if taken else t.record.id, t.pool.codec) for t in tickets]

    def _prepare_many(self, engine: Engine, tasks: Iterable[object], options: dict[str, Any]) -> list[Any]:
        if "id" in options or "key" in options:
            msg = "id and key name one task; give them to dispatch(), one task at a time"
            raise TypeError(msg)
        return access.prepare_many(engine, tasks, options)

    # -- cancel --------------------------------------------------------------------------------------------

    def cancel(self, id: TaskId | TaskHandle[Any], reason: str = "") -> CancelOutcome:
        """Cancel a task; returns after the commit, with what is true then.

        One that has not started never starts. One that runs is told to stop and ends CANCELLED when it really
        does, or COMPLETED if it finishes first; its record says which.

        Args:
            id: The task's id or handle.
            reason: Kept with the task, and given to `on_error`.

        Raises:
            NotOwner: It belongs to another living node.
            Others as `dispatch`.
        """
        return _outcome(self.cancel_many([id], reason))

    async def cancel_async(self, id: TaskId | TaskHandle[Any], reason: str = "") -> CancelOutcome:
        """As `cancel`, awaited."""
        return _outcome(await self.cancel_many_async([id], reason))

    def cancel_many(self, ids: Iterable[TaskId | TaskHandle[Any]], reason: str = "") -> dict[UUID, CancelOutcome]:
        """Cancel many tasks in one commit.

        Returns:
            The outcome for each id.

        Raises:
            NotOwner: One belongs to another living node; the others are cancelled all the same.
            Others as `dispatch`.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "cancel")
        wanted = [_id_of(each) for each in ids]
        return _outcomes(access.cancel(engine, wanted, reason)) if wanted else {}

    async def cancel_many_async(
        self, ids: Iterable[TaskId | TaskHandle[Any]], reason: str = ""
    ) -> dict[UUID, CancelOutcome]:
        """As `cancel_many`, awaited."""
        engine = self._running()
        wanted = [_id_of(each) for each in ids]
        return _outcomes(await access.cancel_async(engine, wanted, reason)) if wanted else {}

    # -- inside --------------------------------------------------------------------------------------------

    @property
    def _forked(self) -> bool:
        return process.number() != self._process

    def _running(self) -> Engine:
        engine = self._engine
        if engine is None:
            raise SystemNotRunning(self.name, self.state, self.stop_cause)
        if process.number() != self._process:
            raise ForkedSystem(self.name)
        return engine

    def _handle(self, task_id: bytes) -> TaskHandle[Any]:
        return TaskHandle(self, task_id)

    def __repr__(self) -> str:
        return f"<ActorSystem {self.name!r} {self.state} on {self._storage.url}>"


def _id_of(target: TaskId | TaskHandle[Any]) -> bytes:
    return target._id if isinstance(target, TaskHandle) else id_bytes(target)


def _outcome(answers: dict[UUID, CancelOutcome]) -> CancelOutcome:
    return next(iter(answers.values()))


def _outcomes(answers: dict[bytes, Any]) -> dict[UUID, CancelOutcome]:
    for answer in answers.values():
        if isinstance(answer, BaseException):
            raise answer
    return {UUID(bytes=task_id): answer for task_id, answer in answers.items()}


@atexit.register
def _stop_at_exit() -> None:
    for system in list(_systems):
        if system.state == "running" and not system._forked:
            logger.warning("%r was still running at exit; use it in a with block", system)
            system.stop(AT_EXIT_SECONDS)
