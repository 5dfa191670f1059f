"""A function at the top of a module, as another process can find it: by name, or by file where no name leads there.

Tests are often in modules that only pytest can import by their name: its `importlib` mode leaves `sys.path` alone.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from everact.tasks.errors import ConfigurationError

_INSIDE = "EVERACT_TARGET"
"""What is set in the environment of the other process."""


@dataclass(frozen=True)
class Target:
    """Where a function is.

    Attributes:
        module: The name of its module.
        name: Its own name.
        file: Where the module is.
    """

    module: str
    name: str
    file: str

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Self:
        """Find out where a function is.

        Raises:
            ConfigurationError: It is not at the top of a module that another process can import; or it is asked for in
                such a process, which would start another one, and so on.
        """
        module, name = function.__module__, function.__qualname__
        if (asked := os.environ.get(_INSIDE)) is not None:
            msg = f"{asked} is imported by another process, and this calls {module}:{name}; do that in a test function"
            raise ConfigurationError(msg)
        file = getattr(sys.modules.get(module), "__file__", None)
        if module == "__main__" or not name.isidentifier() or file is None:
            msg = (
                f"{module}:{name} cannot be imported by another process; write it as a function at the top of a module"
            )
            raise ConfigurationError(msg)
        return cls(module, name, str(Path(file).resolve()))

    @property
    def root(self) -> str:
        """The folder from which its dotted name leads to its file.

        Example:
            >>> Target("tests.shop", "orders", "/home/ada/tests/shop.py").root
            '/home/ada'
            >>> Target("tests.shop", "orders", "/home/ada/tests/shop/__init__.py").root
            '/home/ada'
        """
        file = Path(self.file)
        module = file.parent if file.name == "__init__.py" else file
        above = module.parents
        return str(above[min(self.module.count("."), len(above) - 1)])

    @property
    def environment(self) -> dict[str, str]:
        """What a process must have to import what this one can, and the function's module as well."""
        here = [folder or os.getcwd() for folder in sys.path]  # noqa: PTH109 - as text, as the others
        return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*here, self.root])), _INSIDE: str(self)}

    def load(self) -> Callable[..., Any]:
        """Import it, as the other process does."""
        found: Callable[..., Any] = getattr(_imported(self.module, self.file), self.name)
        return found

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def _imported(name: str, file: str) -> ModuleType:
    """Import a module by its name, or from its file if the name leads nowhere, or to another file."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        msg = f"{file} holds no Python module, so another process cannot import {name}"
        raise ConfigurationError(msg)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
