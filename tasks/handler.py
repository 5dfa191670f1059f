"""Handlers: the class that runs one task type. Each running copy is a supervised actor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from everact.tasks.context import TaskContext
from everact.tasks.errors import HandlerError
from everact.tasks.retry import Retry

T = TypeVar("T")
H = TypeVar("H", bound="TaskHandler[Any]")
HookResult = Awaitable[None] | None
"""Hooks may be sync or async; an async hook needs an async `handle`."""


class RestartIntensity(Protocol):
    """How many restarts in how long a window a pool tolerates: `everact.Intensity`."""

    @property
    def restarts(self) -> int | None:
        """Restarts allowed inside the window; None for any number."""
        ...

    @property
    def within(self) -> float:
        """Length of the window in seconds."""
        ...


class TaskHandler(Generic[T]):
    """Runs the tasks of one type; subclass it, and write `handle`.

    An instance lives from start to restart of its actor and handles one task at a time. After a failure it
    is replaced by a fresh one, so what an attempt leaves on `self` cannot harm the next; what belongs to
    one delivery goes into `ctx.state`. Class attributes are read when the system is built.

    The task type is the argument of `TaskHandler[...]`, else the annotation of `handle`'s `task` parameter.
    `handle` and the hooks run on a pool thread; with `async def handle` they run on everact's own event loop,
    where hooks may be async as well.

    Attributes:
        retry: When a failing `handle` is called again.
        timeout: Seconds that one call of `handle` may take; None for no limit.
        concurrency: Cells in this handler's pool, that is, tasks that run at the same time.
        queue: A label for metrics, paging and pausing. It gives no threads: those belong to handlers.
        task_name: Stored name of the task type, if not its module and qualified name.
        aliases: Names under which tasks of this type were stored earlier.
        intensity: Restarts that the pool tolerates before it is suspended; None for the default.
        pinned: Whether each cell keeps a thread of its own. By default it does if `on_actor_start` is
            defined, since what that opens, a connection say, may belong to its thread.
        hook_timeout: Seconds that one call of a hook may take.
        critical: Whether a task of this type that fails for good has its workflow undone.
        codec: "json", or "cloudpickle" for what JSON cannot carry (needs `Settings.secret_keys`).

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Greet:
        ...     name: str
        >>> class GreetHandler(TaskHandler[Greet]):
        ...     def handle(self, task, ctx):
        ...         return f"hello {task.name}"
    """

    retry: ClassVar[Retry] = Retry()
    timeout: ClassVar[float | None] = None
    concurrency: ClassVar[int] = 1
    queue: ClassVar[str] = "default"
    task_name: ClassVar[str | None] = None
    aliases: ClassVar[tuple[str, ...]] = ()
    intensity: ClassVar[RestartIntensity | None] = None
    pinned: ClassVar[bool | None] = None
    hook_timeout: ClassVar[float] = 30.0
    critical: ClassVar[bool] = True
    codec: ClassVar[str] = "json"

    def handle(self, task: T, ctx: TaskContext) -> Any:
        """Do the work. What it returns is stored as the task's result.

        Raising fails the attempt, and the retry policy decides; whatever is raised, `SystemExit` included,
        concerns this task only.
        """
        raise NotImplementedError  # registration refuses a handler that does not override this

    def on_started(self, ctx: TaskContext) -> HookResult:
        """Before each attempt. If it raises, that is logged and the attempt goes on."""

    def on_completed(self, ctx: TaskContext) -> HookResult:
        """After `handle` has returned; `ctx.result` is what it returned.

        What it dispatches commits with the completion. If it raises, it is tried again by the retry policy,
        in place; when that is exhausted the task fails.
        """

    def on_retry(self, ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> HookResult:
        """After attempt number `attempt` has failed, `delay` seconds before the next one is due."""

    def on_error(self, ctx: TaskContext, error: BaseException) -> HookResult:
        """After the task has failed for good or was cancelled while running, on a fresh instance.

        `error` is what the last attempt raised, or a `TaskCancelled`. What it dispatches commits with the
        failure. It is not called when a shutdown interrupts the task: that runs again at the next start.
        """

    def compensate(self, task: T, ctx: TaskContext) -> Any:
        """Undo what `handle` did for this task, when its workflow is unwound. Defining it is the promise.

        It runs as a durable task of its own, perhaps days later and in another process, perhaps more than once.
        `ctx.result` is what `handle` had returned; `ctx.outcome` says whether that is known: a task that ran out of
        time, was cancelled while it ran, or died with its process may have had its effect or not. It is tried ten
        times with a growing delay, or as this handler's own `retry` says; if that is exhausted the workflow is
        stuck until `system.resume`. No hook runs, and nothing cancels it.
        """
        raise NotImplementedError  # a handler that does not override this has nothing to undo

    def on_actor_start(self) -> HookResult:
        """Once per instance, before its first task, on the thread that will run it: open resources here."""

    def on_actor_stop(self) -> HookResult:
        """Once per instance, after its last task: close what `on_actor_start` opened. Errors are logged."""


HOOKS = ("on_started", "on_completed", "on_retry", "on_error", "on_actor_start", "on_actor_stop")


@dataclass(frozen=True, slots=True)
class Binding:
    """A handler class with the factory that makes its instances; made by `bind`."""

    handler: type[TaskHandler[Any]]
    factory: Callable[[], TaskHandler[Any]]


def bind(handler: type[H], factory: Callable[[], H]) -> Binding:
    """Register a handler whose instances need arguments.

    Args:
        handler: The handler class; its attributes and task type are read from it.
        factory: Makes an instance. It is called anew for each cell and after each failure, on the thread
            that will run it; if it raises, the cell cannot start and supervision decides.

    Raises:
        HandlerError: `handler` is not a TaskHandler class, or `factory` cannot be called.

    Example:
        >>> class Pay(TaskHandler[int]):
        ...     def __init__(self, gateway):
        ...         self.gateway = gateway
        ...     def handle(self, task, ctx): ...
        >>> bind(Pay, lambda: Pay("gateway")).handler.__name__
        'Pay'
    """
    if not (isinstance(handler, type) and issubclass(handler, TaskHandler)):
        msg = f"bind() takes a TaskHandler class first, not {handler!r}"
        raise HandlerError(msg)
    if not callable(factory):
        msg = (
            f"bind({handler.__name__}, ...) takes a factory, e.g. lambda: {handler.__name__}(gateway), not {factory!r}"
        )
        raise HandlerError(msg)
    return Binding(handler, factory)
