"""What a saga must not be: the rules for a step, and those between steps, checked when they are defined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from everact.tasks.errors import SagaError
from everact.tasks.saga_call import check_callable

if TYPE_CHECKING:
    from everact.tasks.saga import Saga, Step

    Stages = tuple[tuple[Step, ...], ...]


def step_name(build: object, nested: Saga | None, name: object) -> str:
    """The name that a step is given, or that its `build` has.

    Raises:
        SagaError: It is no name, or a lambda or the like has none.
    """
    if name is not None:
        if not (isinstance(name, str) and name):
            msg = f"Step({build!r}, name={name!r}): the name must be a non-empty string; leave it out for the default"
            raise SagaError(msg)
        return name
    check_callable(build, "Step(...): its build")
    found = nested.name if nested else getattr(build, "__name__", None)
    if not isinstance(found, str) or found == "<lambda>":
        msg = f'Step({build!r}) has no name of its own; give it one, as Step(..., name="Reserve")'
        raise SagaError(msg)
    return found


def check_flags(name: str, flags: dict[str, bool], *, has_undo: bool) -> None:
    """Refuse flags of a step that contradict each other.

    Raises:
        SagaError: They do, or one is no flag.
    """
    for flag, value in flags.items():
        if not isinstance(value, bool):
            msg = f"step {name!r}: {flag}={value!r} has no meaning; it must be True or False"
            raise SagaError(msg)
    if flags["pivot"] and has_undo:
        msg = f"step {name!r}: it is the pivot and has an undo, but once completed it is never undone; drop one of them"
        raise SagaError(msg)
    if flags["pivot"] and not flags["critical"]:
        msg = f"step {name!r}: the pivot cannot be critical=False, since what follows relies on it; drop one of them"
        raise SagaError(msg)
    if flags["irreversible"] and has_undo:
        msg = f"step {name!r}: it is irreversible and has an undo; drop one of them"
        raise SagaError(msg)


def check_nested(name: str, nested: Saga, *, critical: bool) -> None:
    """Refuse a saga that cannot be a step of another one.

    Raises:
        SagaError: It has a pivot, or is not critical.
    """
    if nested.pivot is not None:
        msg = (
            f"step {name!r}: the nested saga {nested.name!r} has a pivot, {nested.pivot.name!r}, after which the outer "
            "one could not undo it; put the pivot into the outer saga"
        )
        raise SagaError(msg)
    if not critical:
        msg = (
            f"step {name!r}: the nested saga {nested.name!r} cannot be critical=False, since a failure inside undoes "
            "the whole workflow; make steps inside critical=False, or dispatch it as a workflow of its own"
        )
        raise SagaError(msg)


def check_stages(saga: str, stages: Stages) -> None:
    """Refuse stages that could not be run, or not be undone, as they are written.

    Raises:
        SagaError: Two steps have one name; there are no steps or two pivots; a step after the pivot has an undo;
            an irreversible step could be left standing when the others are undone.
    """
    if not stages:
        msg = f"saga {saga!r} has no steps; give it at least one, as Saga({saga!r}, Step(...))"
        raise SagaError(msg)
    _check_names(saga, stages)
    pivot = _pivot_stage(saga, stages)
    if pivot is not None:
        _check_after_pivot(saga, stages, pivot)
    for number, stage in enumerate(stages):
        for step in stage:
            _check_irreversible(saga, stages, number, step, pivot)


def within(step: Step) -> Iterator[tuple[str, Step]]:
    """Yield a step and, if it is a nested saga, all steps inside, each with its name from `step` on."""
    yield step.name, step
    if step.nested is not None:
        for stage in step.nested.stages:
            for inner in stage:
                yield from ((f"{step.name}.{name}", found) for name, found in within(inner))


def _check_names(saga: str, stages: Stages) -> None:
    seen: set[str] = set()
    for stage in stages:
        for step in stage:
            if step.name in seen:
                msg = (
                    f"saga {saga!r} has two steps named {step.name!r}, and results go by name; give one of them "
                    "another name="
                )
                raise SagaError(msg)
            seen.add(step.name)


def _pivot_stage(saga: str, stages: Stages) -> int | None:
    pivots = [(number, step.name) for number, stage in enumerate(stages) for step in stage if step.pivot]
    if len(pivots) > 1:
        (_, one), (_, other) = pivots[:2]
        msg = (
            f"saga {saga!r}, step {other!r}: it is a second pivot, after {one!r}; a saga has one point of no "
            "return, so keep pivot=True at the first step that cannot be undone"
        )
        raise SagaError(msg)
    return pivots[0][0] if pivots else None


def _check_after_pivot(saga: str, stages: Stages, pivot: int) -> None:
    for stage in stages[pivot + 1 :]:
        for step in stage:
            for name, found in within(step):
                if found.undo is not None:
                    msg = (
                        f"saga {saga!r}, step {name!r}: it has an undo, but comes after the pivot "
                        f"{stages[pivot][0].name!r}, after which nothing is undone; drop the undo, or move the step "
                        "before the pivot"
                    )
                    raise SagaError(msg)


def _check_irreversible(saga: str, stages: Stages, number: int, step: Step, pivot: int | None) -> None:
    name = next((name for name, found in within(step) if found.irreversible), None)
    if name is None or (pivot is not None and number >= pivot):
        return
    if pivot is not None:
        msg = (
            f"saga {saga!r}, step {name!r}: it is irreversible, but comes before the pivot "
            f"{stages[pivot][0].name!r}, so it would stand while the others are undone; move it after the pivot, or "
            "make it the pivot"
        )
        raise SagaError(msg)
    for place, stage in enumerate(stages[number:]):
        for other in stage:
            if other is not step and other.critical:
                where = "comes after it" if place else "runs beside it"
                msg = (
                    f"saga {saga!r}, step {name!r}: it is irreversible, but {other.name!r} {where} and can still "
                    f"fail, which undoes the others; make {step.name!r} the pivot (pivot=True), or move it to the end"
                )
                raise SagaError(msg)
