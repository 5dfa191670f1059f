"""Functions replaced for a while: where they are defined, and where other modules have imported them by name."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_GONE = object()
_clean: dict[str, int] = {}
"""Modules that were looked through and hold nothing to replace, with the number of names they had."""


class Substitution:
    """Replaces functions, and puts everything back.

    Args:
        is_foreign: Says of a module's name that its own names are left alone: the standard library's, ours.
    """

    def __init__(self, is_foreign: Callable[[str], bool]) -> None:
        self._is_foreign = is_foreign
        self._undo: list[Callable[[], None]] = []
        self._replaced: dict[int, tuple[Any, Any]] = {}

    def replace(self, owner: Any, name: str, new: Any) -> None:
        """Replace an attribute of a module or a Python class."""
        old = vars(owner).get(name, _GONE)  # a class may have it from its base only
        if isinstance(owner, ModuleType):
            self._replaced[id(old)] = (old, new)
        setattr(owner, name, new)
        self._undo.append(lambda: delattr(owner, name) if old is _GONE else setattr(owner, name, old))

    def replace_builtin(self, kind: type, name: str, new: Any) -> None:
        """Replace a method of a class that is written in C, which takes no attribute; CPython only."""
        if platform.python_implementation() != "CPython":
            return
        (namespace,) = gc.get_referents(kind.__dict__)  # a mapping proxy refers to the dictionary behind it
        old = namespace[name]
        _write(kind, namespace, name, new)
        self._undo.append(lambda: _write(kind, namespace, name, old))

    def replace_imported(self) -> None:
        """Replace what `from time import sleep` has bound in other modules."""
        for module in list(sys.modules.values()):
            name, names = getattr(module, "__name__", ""), getattr(module, "__dict__", {})
            if self._is_foreign(name) or _clean.get(name) == len(names):
                continue
            hits = [key for key, value in list(names.items()) if self._replaced.get(id(value), _NONE)[0] is value]
            for key in hits:
                self._rebind(names, key)
            if not hits:
                _clean[name] = len(names)

    def _rebind(self, names: dict[str, Any], key: str) -> None:
        old, new = self._replaced[id(names[key])]
        names[key] = new
        self._undo.append(lambda: names.update({key: old}) if names.get(key) is new else None)

    def undo(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()
        self._replaced.clear()


_NONE = (_GONE, None)


def _write(kind: type, namespace: dict[str, Any], name: str, value: Any) -> None:
    namespace[name] = value
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))  # it caches its methods
