"""Fault plans as plain data and back: moments and error classes are written as `{name: arguments}`."""

from __future__ import annotations

import builtins
import importlib
from typing import Any

from everact.testing import moments

_ERROR = "error"
_MOMENTS: dict[str, Any] = {kind.__name__: kind for kind in moments._Shown.__subclasses__()}


def to_data(value: Any) -> Any:
    """Make plain data, fit for JSON.

    Example:
        >>> to_data((("Charge", moments.attempt(1), TimeoutError), 5))
        [['Charge', {'attempt': [1]}, {'error': ['builtins', 'TimeoutError']}], 5]
    """
    if isinstance(value, tuple):
        return [to_data(part) for part in value]
    if isinstance(value, type):
        return {_ERROR: [value.__module__, value.__qualname__]}
    if isinstance(value, moments._Shown):
        return {type(value).__name__: [getattr(value, name) for name in value.__match_args__]}  # type: ignore[attr-defined]
    return value


def from_data(value: Any) -> Any:
    """Make it anew.

    Raises:
        KeyError, TypeError, ImportError, AttributeError: It is something else, or names what is not there.
    """
    if isinstance(value, list):
        return tuple(from_data(part) for part in value)
    if not isinstance(value, dict):
        return value
    ((name, arguments),) = value.items()
    if name == _ERROR:
        return _named(*arguments)
    return _MOMENTS[name](*arguments)


def _named(module: str, name: str) -> Any:
    found: Any = builtins if module == "builtins" else importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
