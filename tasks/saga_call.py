"""How the `build` and `undo` of a saga's step are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from everact.tasks.errors import SagaError
from everact.tasks.handler import TaskHandler
from everact.tasks.task import TaskFunction

Call = Callable[[Any, Mapping[str, Any]], object]
BOTH = 2
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def task_class(target: object) -> type | None:
    """The task class that `target` makes, if that is known without calling it: a class or a `@task` function."""
    if isinstance(target, TaskFunction):
        target = target.task
    return target if isinstance(target, type) else None


def call_of(target: object, role: str) -> Call:
    """Bring what was given as `build` or `undo` to the one form `call(input, results)`.

    A task class and a `@task` function take the input alone. Anything else takes the results too if it has two
    positional parameters.

    Args:
        target: What was given.
        role: How a message names it, such as "step 'Reserve': its build".

    Raises:
        SagaError: It cannot be called like that.
    """
    made = task_class(target)
    if made is not None:
        _check_class(made, role)
        return _with_input(made)
    function = check_callable(target, role)
    if inspect.iscoroutinefunction(function):
        msg = f"{role} is async, but only makes a task and must not wait; write a plain def, and wait in the handler"
        raise SagaError(msg)
    return _with_both(function) if _positional(function, role) == BOTH else _with_input(function)


def check_callable(target: object, role: str) -> Callable[..., Any]:
    """Return `target`; refuse an instance where something that makes one is needed.

    Raises:
        SagaError: `target` cannot be called.
    """
    if not callable(target):
        msg = (
            f"{role} is {target!r}, which cannot be called; pass a task class, a @task function, or a function of "
            "(input) or (input, results) that returns the task"
        )
        raise SagaError(msg)
    return target


def _with_input(target: Any) -> Call:
    return lambda given, _: target(given)


def _with_both(target: Any) -> Call:
    return lambda given, results: target(given, MappingProxyType(results))


def _check_class(made: type, role: str) -> None:
    if issubclass(made, TaskHandler):
        msg = f"{role} is the handler {made.__name__}; pass the class of the tasks that it handles"
        raise SagaError(msg)
    try:
        inspect.signature(made).bind(None)
    except ValueError:
        return
    except TypeError as error:
        msg = (
            f"{role} is the class {made.__name__}, which is called with the input alone and cannot be ({error}); "
            f"write a function of (input, results) that returns a {made.__name__}"
        )
        raise SagaError(msg) from error


def _positional(target: Callable[..., Any], role: str) -> int:
    """How many arguments to call `target` with."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:
        return 1
    takes = sum(parameter.kind in POSITIONAL for parameter in parameters)
    if takes < BOTH and any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        takes = BOTH
    if not 1 <= takes <= BOTH:
        msg = (
            f"{role} takes {takes or 'no'} positional parameters; it must take one, (input), or two, (input, results). "
            "Bind others by functools.partial(function, name=value)"
        )
        raise SagaError(msg)
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            msg = (
                f"{role} needs the keyword {parameter.name!r}, but is called with (input) or (input, results); "
                "give it a default, or bind it by functools.partial"
            )
            raise SagaError(msg)
    return takes
