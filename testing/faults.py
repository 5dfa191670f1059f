"""A fault plan: what goes wrong in a simulation, and when. It is data, and its repr is the code that writes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from everact.tasks.errors import ConfigurationError
from everact.testing.moments import Moment, after, at, attempt, before, between, commit, every
from everact.testing.plan_data import from_data, to_data

Moments = tuple[Moment, ...]
_FORMS: dict[str, tuple[tuple[type, ...], ...]] = {
    "fail": ((str,), (attempt, every), (type,)),
    "crash": ((str,), (at,)),
    "pause": ((str,), (at,), (int, float)),
    "jump": ((str,), (at,), (int, float)),
    "delay": ((str,), (int, float)),
    "cancel": ((str,), (int,)),
    "cancel_workflow": ((str,), (int,)),
}
_MOMENTS = (every, between, commit)


@dataclass(frozen=True, kw_only=True, repr=False)
class Faults:
    """What goes wrong. Tasks are named by their type, "Charge" or "shop.orders.Charge"; nodes are "node-1" and so on.

    A handler's own `compensate` is "UndoCharge", with attempts of its own.

    Commits are counted over all nodes, from 1. Everything may be given as a list or a tuple.

    Attributes:
        fail: `("Charge", attempt(1), TimeoutError)`: that attempt raises this error instead of calling `handle`;
            `every(1)` in the place of `attempt(1)`: each one does, so that the task fails for good.
        fail_after: The same, after `handle` has had its effect.
        delay: `("Ship", 30)`: each attempt takes so many seconds before `handle` is called, and hears no cancel.
        duplicate: `"Refund"`: the node dies before the commit of what the first attempt has done, so it runs again.
        crash_at: `12` or `before(12)`: the node that makes this commit dies before it is written; `after(12)`: when it
            is written, before anybody hears of it.
        crash: `("node-1", at(5))`: the node dies then, whatever it does.
        pause: `("node-1", at(5), 40)`: nothing of the node runs for 40 s; it does not know.
        jump: `("node-1", at(5), 3600)`: its wall clock is set forward, or back, by so many seconds.
        busy: When commits find the database locked: `between(1, 3)`, `every(5)`, `commit(4)`.
        disk_full: When there is no room for commits; the reserve is.
        commit_unknown: Which commits are written, and said to have failed.
        commit_lost: Which commits are said to have failed in the same words, and were not written.
        cancel: `("Order", 40)`: the first task of this type is cancelled at the scheduler's step 40, or as soon after
            that as there is one.
        cancel_workflow: The same, for the workflow that it belongs to.

    Raises:
        ConfigurationError: Something in it has not the form that is said above.

    Example:
        >>> Faults(fail=[("Charge", attempt(1), TimeoutError)], crash_at=[after(3)])
        Faults(fail=[('Charge', attempt(1), TimeoutError)], crash_at=[after(3)])
        >>> Faults.from_data(Faults(disk_full=between(20, 60)).to_data()).disk_full
        (between(20, 60),)
    """

    fail: Iterable[tuple[str, attempt | every, type[BaseException]]] = ()
    fail_after: Iterable[tuple[str, attempt | every, type[BaseException]]] = ()
    delay: Iterable[tuple[str, float]] = ()
    duplicate: Iterable[str] = ()
    crash_at: Iterable[int | before | after] = ()
    crash: Iterable[tuple[str, at]] = ()
    pause: Iterable[tuple[str, at, float]] = ()
    jump: Iterable[tuple[str, at, float]] = ()
    busy: Moment | Iterable[Moment] = ()
    disk_full: Moment | Iterable[Moment] = ()
    commit_unknown: Moment | Iterable[Moment] = ()
    commit_lost: Moment | Iterable[Moment] = ()
    cancel: Iterable[tuple[str, int]] = ()
    cancel_workflow: Iterable[tuple[str, int]] = ()

    def __post_init__(self) -> None:
        for each in fields(self):
            given = getattr(self, each.name)
            values = (given,) if isinstance(given, _MOMENTS) else tuple(given) if not isinstance(given, str) else given
            if isinstance(values, str) or not all(_fits(each.name, value) for value in values):
                msg = f"Faults({each.name}={given!r}) has no meaning; see the examples in its docstring"
                raise ConfigurationError(msg)
            object.__setattr__(self, each.name, tuple(_tidy(each.name, value) for value in values))

    @property
    def count(self) -> int:
        """How many faults there are."""
        return sum(len(getattr(self, each.name)) for each in fields(self))

    def without(self, number: int) -> Faults:
        """The same plan, but for one of its faults, counted from 0 in the order of the fields."""
        left: dict[str, Any] = {}
        for each in fields(self):
            values = getattr(self, each.name)
            left[each.name] = tuple(value for place, value in enumerate(values) if place != number)
            number -= len(values)
        return Faults(**left)

    def with_other(self, number: int, value: Any) -> Faults:
        """The same plan with another fault of the same kind in the place of one, counted as for `without`."""
        changed: dict[str, Any] = {}
        for each in fields(self):
            values = list(getattr(self, each.name))
            if 0 <= number < len(values):
                values[number] = value
            changed[each.name] = values
            number -= len(getattr(self, each.name))
        return Faults(**changed)

    def each(self) -> list[tuple[str, Any]]:
        """All faults in the order in which they are counted, each with the field that it stands in."""
        return [(each.name, value) for each in fields(self) for value in getattr(self, each.name)]

    def task_names(self) -> set[str]:
        """The tasks that it names."""
        named = ("fail", "fail_after", "delay", "cancel", "cancel_workflow")
        return {fault[0] for name in named for fault in getattr(self, name)} | set(self.duplicate)

    def node_names(self) -> set[str]:
        """The nodes that it names."""
        return {fault[0] for name in ("crash", "pause", "jump") for fault in getattr(self, name)}

    def durable_ones(self) -> list[str]:
        """The fields with faults that only a storage which outlives its node can have, or can bear."""
        kinds = ("duplicate", "crash_at", "crash", "busy", "disk_full", "commit_unknown", "commit_lost")
        return [name for name in kinds if getattr(self, name)]

    def to_data(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {each.name: to_data(getattr(self, each.name)) for each in fields(self) if getattr(self, each.name)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Faults:
        """Read what `to_data` has made.

        Raises:
            ConfigurationError: It was made by something else.
        """
        try:
            return cls(**{name: from_data(values) for name, values in data.items()})
        except (TypeError, KeyError, ImportError, AttributeError) as error:
            msg = f"this is no fault plan ({error}): {data!r}"
            raise ConfigurationError(msg) from error

    @property
    def portable(self) -> bool:
        """Whether `to_data` tells all of it; it does not of an error class that is defined inside a function."""
        try:
            return Faults.from_data(self.to_data()) == self
        except ConfigurationError:
            return False

    def __repr__(self) -> str:
        given = [(each.name, getattr(self, each.name)) for each in fields(self)]
        parts = [f"{name}=[{', '.join(map(_text, values))}]" for name, values in given if values]
        return f"Faults({', '.join(parts)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # what Hypothesis and IPython call
        printer.text("Faults(...)" if cycle else repr(self))


def _fits(name: str, value: Any) -> bool:
    if name in ("busy", "disk_full", "commit_unknown", "commit_lost"):
        return isinstance(value, _MOMENTS)
    if name == "crash_at":
        return isinstance(value, before | after) or (type(value) is int and value > 0)
    if name == "duplicate":
        return isinstance(value, str)
    form = _FORMS["fail" if name == "fail_after" else name]
    if not isinstance(value, tuple | list) or len(value) != len(form):
        return False
    return all(isinstance(part, kinds) and not isinstance(part, bool) for part, kinds in zip(value, form, strict=True))


def _tidy(name: str, value: Any) -> Any:
    """One form for each fault, so that equal plans are equal."""
    if name == "crash_at" and isinstance(value, before):
        return value.number
    return tuple(value) if isinstance(value, list) else value


def _text(value: Any) -> str:
    if isinstance(value, tuple) and not isinstance(value, _MOMENTS):
        return f"({', '.join(map(_text, value))})"
    return value.__qualname__ if isinstance(value, type) else repr(value)
