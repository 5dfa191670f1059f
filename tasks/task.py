"""Tasks made from functions (`@task`), and the names under which task types are stored."""

from __future__ import annotations

import functools
import inspect
import pathlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, get_type_hints, overload

import msgspec

from everact.tasks.context import TaskContext
from everact.tasks.errors import HandlerError
from everact.tasks.handler import TaskHandler
from everact.tasks.retry import Retry

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class FunctionTask(Protocol[R_co]):
    """A task made from a function; carries the function's result type to `TaskHandle`."""

    def __everact_result__(self) -> R_co:
        """For type checkers only; never called."""
        ...


class TaskFunction(Generic[P, R]):
    """A function that `@task` made dispatchable. Calling it still calls the function.

    Attributes:
        task: The task class: its fields are the function's parameters, without the `TaskContext` one.
        handler: The handler class that the function was wrapped in.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        fields, keywords, contexts = _fields(function)
        self.task: Callable[P, FunctionTask[R]] = cast("Any", _task_class(function, fields, keywords))
        self.handler = _handler_class(function, cast("type", self.task), contexts, options)

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Call the function itself, here and now; nothing is dispatched."""
        return cast("R", self.function(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<task {type_name(self.function)}>"


class TaskDecorator(Protocol):
    """What `@task(...)` returns: takes a function, gives a TaskFunction with the same parameters."""

    @overload
    def __call__(self, fn: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[TaskContext, P], R], /) -> TaskFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> TaskFunction[P, R]: ...


@overload
def task(fn: Callable[Concatenate[TaskContext, P], Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
@overload
def task(fn: Callable[P, Coroutine[Any, Any, R]], /) -> TaskFunction[P, R]: ...
@overload
def task(fn: Callable[Concatenate[TaskContext, P], R], /) -> TaskFunction[P, R]: ...
@overload
def task(fn: Callable[P, R], /) -> TaskFunction[P, R]: ...
@overload
def task(
    *,
    retry: Retry = ...,
    timeout: float | None = ...,
    name: str | None = ...,
    concurrency: int = ...,
    queue: str = ...,
    codec: str = ...,
) -> TaskDecorator: ...
def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task and its handler in one.

    The function gets an attribute `task`, a class with one field per parameter: `dispatch(add.task(1, 2))`.
    A parameter annotated `TaskContext` is passed in when the task runs, and is no field. The function itself
    goes into `ActorSystem(handlers=[add])`.

    Args:
        fn: The function, sync or async, at module level, with annotated parameters.
        **options: `retry`, `timeout`, `name`, `concurrency`, `queue`, `codec`: as the attributes of `TaskHandler`.

    Raises:
        HandlerError: A parameter has no annotation, or is `*args`, `**kwargs` or positional-only.

    Example:
        >>> @task(retry=Retry(attempts=2))
        ... def add(a: int, b: int = 1) -> int:
        ...     return a + b
        >>> add(1, 2), add.task(5).b
        (3, 1)
    """
    unknown = set(options) - {"retry", "timeout", "name", "concurrency", "queue", "codec"}
    if unknown:
        msg = f"@task does not know {sorted(unknown)}; write a TaskHandler class for hooks and other attributes"
        raise HandlerError(msg)
    if fn is None:
        return lambda function: TaskFunction(_checked(function), options)
    return TaskFunction(_checked(fn), options)


def type_name(target: Callable[..., Any] | type) -> str:
    """The stored name of a task type: module and qualified name, with `__main__` by its real name.

    A program must find its tasks again whether it was run as a script or imported, so `__main__` is replaced
    by what the module is called when imported. Where there is no such name (`-c`, a REPL) it stays.
    """
    module = target.__module__
    if module == "__main__":
        module = _main_module_name()
    return f"{module}.{target.__qualname__}"


def _main_module_name() -> str:
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    # "<stdin>" and the like are no files.
    return pathlib.Path(file).stem if file and not file.startswith("<") else "__main__"


def _checked(fn: object) -> Callable[..., Any]:
    if not inspect.isfunction(fn):
        msg = f"@task decorates a plain function, not {fn!r}; for a class subclass TaskHandler"
        raise HandlerError(msg)
    return fn


def _fields(function: Callable[..., Any]) -> tuple[list[Any], list[Any], list[str]]:
    """The task's fields as `msgspec.defstruct` takes them, the keyword-only ones apart, and the context's names."""
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        msg = f"the annotations of {function.__qualname__} cannot be resolved ({error}); define them at module level"
        raise HandlerError(msg) from error
    fields: list[Any] = []
    keywords: list[Any] = []
    contexts: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            msg = f"{function.__qualname__} has the parameter {parameter}; a task's fields must be ordinary parameters"
            raise HandlerError(msg)
        if parameter.name not in hints:
            msg = f"parameter {parameter.name!r} of {function.__qualname__} needs an annotation: it is a field"
            raise HandlerError(msg)
        hint = hints[parameter.name]
        default = () if parameter.default is parameter.empty else (parameter.default,)
        if hint is TaskContext:
            contexts.append(parameter.name)
        else:
            (keywords if parameter.kind is parameter.KEYWORD_ONLY else fields).append((parameter.name, hint, *default))
    return fields, keywords, contexts


def _task_class(function: Callable[..., Any], fields: list[Any], keywords: list[Any]) -> type:
    name, module = function.__name__, function.__module__
    try:
        made = msgspec.defstruct(name, fields, frozen=True, module=module)
        if keywords:
            made = msgspec.defstruct(name, keywords, bases=(made,), kw_only=True, frozen=True, module=module)
    except TypeError as error:
        msg = f"@task cannot make a task class of {function.__qualname__}: {error}"
        raise HandlerError(msg) from error
    made.__qualname__ = f"{function.__qualname__}.task"
    return made


def _caller(function: Callable[..., Any], names: Sequence[str], contexts: list[str]) -> Callable[..., Any]:
    """Calls the function with the fields of a task and the context, by their names.

    Compiled once, as `dataclasses` does it: a dict of the arguments, made anew for each call, takes three times as
    long as the call.
    """
    arguments = [f"{name}=task.{name}" for name in names] + [f"{name}=ctx" for name in contexts]
    call: Callable[..., Any] = eval(  # noqa: S307 - of identifiers, which were read off the function's signature
        f"lambda task, ctx: function({', '.join(arguments)})", {"function": function}
    )
    return call


def _handler_class(
    function: Callable[..., Any], task_type: type, contexts: list[str], options: dict[str, Any]
) -> type[TaskHandler[Any]]:
    call = _caller(function, task_type.__struct_fields__, contexts)  # type: ignore[attr-defined]

    async def handle_async(_self: object, task: Any, ctx: TaskContext) -> Any:
        return await call(task, ctx)

    def handle_sync(_self: object, task: Any, ctx: TaskContext) -> Any:
        return call(task, ctx)

    handle: Any = handle_async if inspect.iscoroutinefunction(function) else handle_sync
    hints = get_type_hints(function, include_extras=True)
    handle.__annotations__ = {"task": task_type, "return": hints.get("return", Any)}
    attributes = {key: value for key, value in options.items() if key != "name"}
    attributes |= {
        "handle": handle,
        "task_name": type_name(function) if options.get("name") is None else options["name"],
    }
    attributes |= {"__module__": function.__module__, "__doc__": function.__doc__}
    return type(f"{function.__name__}_handler", (TaskHandler,), attributes)
