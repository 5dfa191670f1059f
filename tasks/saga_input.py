"""The input of a saga: its type, and the class of the tasks that carry it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from everact.tasks.errors import SagaError
from everact.tasks.saga_call import POSITIONAL, task_class


def input_type_of(target: Callable[..., Any]) -> Any:
    """The annotation of the first parameter of `target`, or Any if it has none that can be resolved."""
    made = task_class(target)
    called: Callable[..., Any] = target if made is None else made
    try:
        first = next(iter(inspect.signature(called).parameters.values()))
    except (ValueError, TypeError, StopIteration):  # some builtins have no signature to show
        return Any
    found = _field_hint(made, first.name) if made else None
    if found is None:
        found = _resolved(first.annotation, called) if first.kind in POSITIONAL else Any
    return Any if found is object else found


def task_type_of(saga: str, input_type: Any) -> type:
    """Make the class of a saga's tasks, which hold its input.

    Raises:
        SagaError: The input's type has no JSON form.
    """
    try:
        custom = isinstance(msgspec.inspect.type_info(input_type), msgspec.inspect.CustomType)
        why = "it has no fields that JSON could hold" if custom else ""
    except Exception as error:
        why = str(error)
    if why:
        msg = (
            f"saga {saga!r}: its input of type {input_type!r} cannot travel as JSON ({why}); give it input= with a "
            "dataclass, msgspec.Struct or attrs class, or plain data"
        )
        raise SagaError(msg)
    made = dataclasses.make_dataclass(saga, [("input", input_type)], frozen=True)
    made.__module__ = "saga"
    made.__doc__ = f"The input of saga {saga!r}."
    return made


def _field_hint(made: type, name: str) -> Any:
    try:
        return get_type_hints(made, include_extras=True).get(name)
    except Exception:  # one of its annotations is for type checkers only; perhaps not this one
        return None


def _resolved(annotation: Any, target: object) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    alone = type("alone", (), {"__annotations__": {"input": annotation}})
    try:
        return get_type_hints(alone, globalns=_globals(target), include_extras=True)["input"]
    except Exception:
        return Any


def _globals(target: Any) -> dict[str, Any]:
    """The names that the annotations of `target` are written in."""
    if isinstance(target, functools.partial):
        return _globals(target.func)
    target = inspect.unwrap(target)
    if isinstance(target, type):
        return vars(sys.modules[target.__module__]) if target.__module__ in sys.modules else {}
    owner = target if hasattr(target, "__globals__") else type(target).__call__
    return getattr(owner, "__globals__", {})
