"""A fault plan as code to paste into a test, with the imports that it needs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from typing import Any

from everact.testing.faults import Faults, _text
from everact.testing.moments import _Shown

_WIDTH = 100


def plan_code(faults: Faults) -> str:
    """The plan and its imports.

    Example:
        >>> from everact.testing import attempt
        >>> print(plan_code(Faults(fail=[("Charge", attempt(1), TimeoutError)])))
        from everact.testing import Faults, attempt
        <BLANKLINE>
        faults = Faults(fail=[('Charge', attempt(1), TimeoutError)])
    """
    imports: dict[str, set[str]] = defaultdict(set)
    imports["everact.testing"].add("Faults")
    for _, value in faults.each():
        _gather(value, imports)
    lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items())]
    return "\n".join([*lines, "", f"faults = {_laid_out(faults)}"])


def faults_of(faults: Faults) -> list[str]:
    """Each fault as it is written in a plan, in the order that `Faults.without` counts in.

    Example:
        >>> faults_of(Faults(crash_at=[2], duplicate=["Refund"]))
        ["duplicate 'Refund'", 'crash_at 2']
    """
    return [f"{name} {_text(value)}" for name, value in faults.each()]


def _gather(value: Any, imports: dict[str, set[str]]) -> None:
    """Note what must be imported to write a value."""
    if isinstance(value, tuple):
        for part in value:
            _gather(part, imports)
    elif isinstance(value, _Shown):
        imports["everact.testing"].add(type(value).__name__)
    elif isinstance(value, type) and value.__module__ != "builtins":
        imports[value.__module__].add(value.__qualname__.partition(".")[0])


def _laid_out(faults: Faults) -> str:
    """On one line if it is short, else a line for each field."""
    text = repr(faults)
    if len(text) <= _WIDTH:
        return text
    given = [(each.name, getattr(faults, each.name)) for each in fields(faults)]
    lines = [f"    {name}=[{', '.join(map(_text, values))}]," for name, values in given if values]
    return "\n".join(["Faults(", *lines, ")"])
