"""From what a user passes as `handlers=` to a checked specification of each handler."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, TypeVar, get_args, get_origin, get_type_hints

from everact.tasks.errors import HandlerError, SagaError, TaskTimeout
from everact.tasks.handler import HOOKS, Binding, RestartIntensity, TaskHandler
from everact.tasks.retry import Retry
from everact.tasks.saga import Saga, static_types
from everact.tasks.saga_handler import handler_of
from everact.tasks.task import TaskFunction, type_name

CODECS = ("json", "cloudpickle")
COMPENSATION_RETRY = Retry(attempts=10, delay=0.5, factor=2.0, max_delay=300.0, jitter=0.2, on=(Exception, TaskTimeout))
"""For compensations whose handler has no `retry` of its own; about four minutes. A timeout is tried again too: an
undo has to bear being repeated anyway."""


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """One handler as it was when the system was built.

    Attributes:
        name: Stored name of its task type.
        task_type: The class of its tasks.
        result_type: What `handle` is annotated to return; Any if it is not.
        make: Makes an instance.
        is_async: Whether `handle` is a coroutine function.
        hooks: Names of the hooks that it overrides.
        compensates: Whether it overrides `compensate`.
        compensation_retry: When a failing compensation is tried again.
        coordinates: Whether it runs a saga.
        The others are the class's attributes of the same name.
    """

    name: str
    task_type: type
    result_type: Any
    make: Callable[[], TaskHandler[Any]]
    is_async: bool
    hooks: frozenset[str]
    compensates: bool
    critical: bool
    retry: Retry
    compensation_retry: Retry
    timeout: float | None
    concurrency: int
    queue: str
    aliases: tuple[str, ...]
    intensity: RestartIntensity | None
    pinned: bool
    hook_timeout: float
    codec: str
    coordinates: bool = False


def specify(handlers: Iterable[object]) -> list[HandlerSpec]:
    """Check handlers as they were given to `ActorSystem`, and describe each.

    Raises:
        HandlerError: One of them cannot be a handler, or two are for one task type or name.
    """
    handlers = list(handlers)
    specs = [_specify(handler) for handler in [*handlers, *_nested(handlers)]]
    owners: dict[str, HandlerSpec] = {}
    types: dict[type, HandlerSpec] = {}
    for spec in specs:
        if spec.task_type in types:
            msg = f"two handlers are registered for {spec.task_type.__qualname__}; one task type has one handler"
            raise HandlerError(msg)
        types[spec.task_type] = spec
        for name in (spec.name, *spec.aliases):
            if name in owners:
                msg = f"two handlers are for the stored name {name!r}; give one of them another task_name or alias"
                raise HandlerError(msg)
            owners[name] = spec
    for handler in handlers:
        if isinstance(handler, Saga):
            _check_steps(handler, types)
    return specs


def _nested(handlers: list[object]) -> list[Saga]:
    """The sagas that are steps of others and were not given themselves, each once."""
    found: dict[int, Saga] = {}
    to_look_at = [handler for handler in handlers if isinstance(handler, Saga)]
    while to_look_at:
        steps = [step for stage in to_look_at.pop().stages for step in stage]
        for inner in [step.nested for step in steps if step.nested is not None]:
            if id(inner) not in found:
                found[id(inner)] = inner
                to_look_at.append(inner)
    return [saga for saga in found.values() if all(saga is not handler for handler in handlers)]


def _check_steps(saga: Saga, types: dict[type, HandlerSpec]) -> None:
    for step, task_type in static_types(saga):
        if task_type not in types:
            msg = (
                f"saga {saga.name!r}, step {step!r}: no handler is registered for {task_type.__qualname__}; "
                "pass that too, as ActorSystem(handlers=[...])"
            )
            raise SagaError(msg)


def _specify(handler: object) -> HandlerSpec:
    if isinstance(handler, Saga):
        return _from_saga(handler)
    if isinstance(handler, TaskFunction):
        return _from_class(handler.handler, handler.handler)
    if isinstance(handler, Binding):
        return _from_class(handler.handler, handler.factory)
    if isinstance(handler, type) and issubclass(handler, TaskHandler):
        return _from_class(handler, handler)
    raise HandlerError(_remedy(handler))


def _remedy(handler: object) -> str:
    if isinstance(handler, TaskHandler):
        name = type(handler).__name__
        return (
            f"{name} is registered as an instance, but supervision makes fresh ones: "
            f"pass the class, or bind({name}, lambda: {name}(...))"
        )
    if inspect.isfunction(handler) and handler.__name__ == "<lambda>":
        return (
            "a lambda does not say which task it handles: "
            "use bind(PayHandler, lambda: PayHandler(gateway)), or @task on a def"
        )
    if inspect.isfunction(handler):
        return f"function {handler.__qualname__} is not a task yet: decorate it with @task"
    return f"{handler!r} is not a handler: pass a TaskHandler class, a function decorated with @task, or bind(...)"


def _from_saga(saga: Saga) -> HandlerSpec:
    cls = handler_of(saga)
    # Its steps are what can be undone, it is not itself.
    return replace(_from_class(cls, cls, saga.task_type), compensates=False, coordinates=True)


def _from_class(
    cls: type[TaskHandler[Any]], make: Callable[[], TaskHandler[Any]], task_type: type | None = None
) -> HandlerSpec:
    if cls.handle is TaskHandler.handle:
        msg = f"{cls.__qualname__} does not define handle(self, task, ctx)"
        raise HandlerError(msg)
    task_type = task_type or _task_type(cls)
    _check_attributes(cls)
    hooks = frozenset(hook for hook in HOOKS if getattr(cls, hook) is not getattr(TaskHandler, hook))
    is_async = inspect.iscoroutinefunction(cls.handle)
    _check_signatures(cls, hooks, is_async=is_async)
    return HandlerSpec(
        name=cls.task_name or type_name(task_type),
        task_type=task_type,
        result_type=_hints(cls).get("return", Any),
        make=make,
        is_async=is_async,
        hooks=hooks,
        compensates=cls.compensate is not TaskHandler.compensate,
        critical=cls.critical,
        retry=cls.retry,
        compensation_retry=COMPENSATION_RETRY if cls.retry is TaskHandler.retry else cls.retry,
        timeout=cls.timeout,
        concurrency=cls.concurrency,
        queue=cls.queue,
        aliases=tuple(cls.aliases),
        intensity=cls.intensity,
        pinned="on_actor_start" in hooks if cls.pinned is None else cls.pinned,
        hook_timeout=cls.hook_timeout,
        codec=cls.codec,
    )


def _check_attributes(cls: type[TaskHandler[Any]]) -> None:
    """Refuse attributes that have no meaning, with the name of the handler and of the attribute."""

    def check(name: str, wanted: str, *, valid: bool) -> None:
        if not valid:
            msg = f"{cls.__qualname__}.{name} = {getattr(cls, name)!r} has no meaning; it must be {wanted}"
            raise HandlerError(msg)

    check("retry", "a Retry(...)", valid=isinstance(cls.retry, Retry))
    check("timeout", "a positive number of seconds, or None", valid=cls.timeout is None or _positive(cls.timeout))
    check("hook_timeout", "a positive number of seconds", valid=_positive(cls.hook_timeout))
    check("critical", "True or False", valid=isinstance(cls.critical, bool))
    check("concurrency", "a whole number of at least 1", valid=type(cls.concurrency) is int and cls.concurrency >= 1)
    check("queue", "a non-empty string", valid=isinstance(cls.queue, str) and bool(cls.queue))
    named = cls.task_name is None or (isinstance(cls.task_name, str) and bool(cls.task_name))
    check("task_name", "a non-empty string, or None", valid=named)
    aliases = isinstance(cls.aliases, tuple | list) and all(isinstance(a, str) and a for a in cls.aliases)
    check("aliases", "a tuple of names", valid=aliases)
    check("pinned", "True, False or None", valid=cls.pinned is None or isinstance(cls.pinned, bool))
    budget = cls.intensity is None or (hasattr(cls.intensity, "restarts") and hasattr(cls.intensity, "within"))
    check("intensity", "an Intensity(...), or None", valid=budget)
    check("codec", f"one of {CODECS}", valid=cls.codec in CODECS)


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _check_signatures(cls: type[TaskHandler[Any]], hooks: frozenset[str], *, is_async: bool) -> None:
    try:
        inspect.signature(cls.handle).bind(None, None, None)
    except TypeError:
        msg = f"{cls.__qualname__}.handle must take (self, task, ctx), not {inspect.signature(cls.handle)}"
        raise HandlerError(msg) from None
    methods = hooks | ({"compensate"} if cls.compensate is not TaskHandler.compensate else set())
    coroutine_hooks = sorted(hook for hook in methods if inspect.iscoroutinefunction(getattr(cls, hook)))
    if coroutine_hooks and not is_async:
        msg = (
            f"{cls.__qualname__} has async {', '.join(coroutine_hooks)} but a sync handle, which runs on a thread "
            "without an event loop; make handle async as well, or the hooks sync"
        )
        raise HandlerError(msg)


def _hints(cls: type[TaskHandler[Any]]) -> dict[str, Any]:
    try:
        return get_type_hints(cls.handle)
    except Exception:
        # Some are for type checkers only, or prose. Whether the task type is among them is seen by the caller.
        return {name: hint for name in cls.handle.__annotations__ if (hint := _hint(cls.handle, name)) is not None}


def _hint(function: Callable[..., Any], name: str) -> Any:
    """One annotation resolved, or None: get_type_hints gives up on all of them for one that it cannot read."""
    alone = type("alone", (), {"__annotations__": {name: function.__annotations__[name]}})
    try:
        return get_type_hints(alone, globalns=getattr(function, "__globals__", {}))[name]
    except Exception:
        return None


def _task_type(cls: type[TaskHandler[Any]]) -> type:
    found = _type_argument(cls, {})
    if not _is_class(found):
        found = _hints(cls).get("task")
    if not _is_class(found):
        msg = (
            f"{cls.__qualname__} does not say which task it handles; write class {cls.__name__}(TaskHandler[MyTask]), "
            "or annotate handle(self, task: MyTask, ctx) with a class that can be resolved at run time"
        )
        raise HandlerError(msg)
    return found


def _is_class(found: object) -> TypeGuard[type]:
    return isinstance(found, type) and found is not Any  # Any has been a class since 3.11


def _type_argument(cls: type, bound: dict[Any, Any]) -> Any:
    """The argument of `TaskHandler[...]` among the bases of `cls`, with its type variables replaced."""
    bases = cls.__dict__.get("__orig_bases__", cls.__bases__)
    for base in bases:
        origin = get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, TaskHandler)):
            continue
        arguments = [bound.get(arg, arg) for arg in get_args(base)]
        if origin is TaskHandler:
            return arguments[0] if arguments and not isinstance(arguments[0], TypeVar) else None
        parameters = getattr(origin, "__parameters__", ())
        found = _type_argument(origin, dict(zip(parameters, arguments, strict=False)))
        if found is not None:
            return found
    return None
