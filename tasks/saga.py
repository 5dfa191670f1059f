"""Sagas: steps that are undone in reverse order when one of them fails. Here is what they are, not how they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from everact.tasks.errors import SagaError
from everact.tasks.retry import Retry
from everact.tasks.saga_call import Call, call_of, task_class
from everact.tasks.saga_input import input_type_of, task_type_of
from everact.tasks.saga_rules import check_flags, check_nested, check_stages, step_name, within

_RETRY = Retry()
Build: TypeAlias = Callable[[Any], Any] | Callable[[Any, Any], Any]
"""What makes a task of a saga's input, and perhaps of the results of its earlier steps."""


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class Step:
    """One step of a saga: how its task is made, and the task that undoes it.

    `build` and `undo` are a task class or a `@task` function, which get the saga's input, or any function of
    `(input)` or `(input, results)` that returns a task. `results` holds what the earlier completed steps returned,
    by step name; for `undo` also what this step returned, unless its outcome is unknown. They may be called again
    after a crash, so they must have no effects of their own.

    Attributes:
        build: Makes the step's task. A `Saga` here is a nested one: it gets the same input.
        undo: Makes the task that undoes the step; None if there is nothing to undo.
        pivot: Whether nothing is undone any more once this step has completed.
        critical: Whether its failure undoes the saga; else the saga goes on without it.
        irreversible: Whether its effect cannot be undone; then no critical step may follow, unless it is the pivot.
        name: Its name in the results; by default that of the class, function or nested saga.
        nested: The nested saga, if `build` is one.

    Raises:
        SagaError: It cannot work as it is written; the message has the remedy.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Charge:
        ...     order: int
        ...     amount: float = 0.0
        >>> Step(Charge).task(7, {})
        Charge(order=7, amount=0.0)
        >>> priced = Step(lambda order, results: Charge(order, results["Price"]), name="Charge")
        >>> priced.task(7, {"Price": 9.5})
        Charge(order=7, amount=9.5)
    """

    build: Callable[..., Any]
    undo: Callable[..., Any] | None
    pivot: bool
    critical: bool
    irreversible: bool
    name: str
    nested: Saga | None
    _build: Call
    _undo: Call | None

    def __init__(
        self,
        build: Build,
        undo: Build | None = None,
        pivot: bool = False,
        critical: bool = True,
        irreversible: bool = False,
        name: str | None = None,
    ) -> None:
        nested = build if isinstance(build, Saga) else None
        resolved = step_name(build, nested, name)
        if isinstance(undo, Saga):
            msg = f"step {resolved!r}: its undo is saga {undo.name!r}; undo by one task, which may dispatch more"
            raise SagaError(msg)
        flags = {"pivot": pivot, "critical": critical, "irreversible": irreversible}
        check_flags(resolved, flags, has_undo=undo is not None)
        if nested is not None:
            check_nested(resolved, nested, critical=critical)
        _freeze(
            self,
            build=build,
            undo=undo,
            name=resolved,
            nested=nested,
            _build=call_of(build, f"step {resolved!r}: its build"),
            _undo=None if undo is None else call_of(undo, f"step {resolved!r}: its undo"),
            **flags,
        )

    def task(self, input: Any, results: Mapping[str, Any]) -> object:
        """Make the step's task.

        Args:
            input: The saga's input.
            results: What the earlier completed steps returned, by name.

        Raises:
            SagaError: `build` returned None.
            Exception: Whatever `build` raised.
        """
        return self._made(self._build(input, results), "build")

    def undo_task(self, input: Any, results: Mapping[str, Any]) -> object:
        """Make the task that undoes the step; arguments as for `task`.

        Raises:
            SagaError: There is no `undo`, or it returned None.
            Exception: Whatever `undo` raised.
        """
        if self._undo is None:
            msg = f"step {self.name!r} has no undo; give it one as Step(..., undo=...)"
            raise SagaError(msg)
        return self._made(self._undo(input, results), "undo")

    def _made(self, made: object, role: str) -> object:
        if made is None:
            msg = f"step {self.name!r}: its {role} returned None; it must return the task to dispatch"
            raise SagaError(msg)
        return made

    def __repr__(self) -> str:
        return f"<step {self.name!r}>"


@dataclass(frozen=True, slots=True)
class Parallel:
    """Steps that start together; made by `parallel`."""

    steps: tuple[Step, ...]


def parallel(*steps: Step | Saga) -> Parallel:
    """Group steps that start together; what follows the group waits for all of them.

    Raises:
        SagaError: There is none, one of them is no step, or the pivot.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class BookHotel:
        ...     trip: int
        >>> @dataclass(frozen=True)
        ... class BookFlight:
        ...     trip: int
        >>> Saga("trip", parallel(Step(BookHotel), Step(BookFlight))).stages
        ((<step 'BookHotel'>, <step 'BookFlight'>),)
    """
    if not steps:
        msg = "parallel() has no steps; give it those that start together, as parallel(Step(...), Step(...))"
        raise SagaError(msg)
    group = tuple(_as_step(step, "parallel()") for step in steps)
    for step in group:
        if step.pivot:
            msg = f"parallel(), step {step.name!r}: the pivot cannot be in a group; make it a stage of its own"
            raise SagaError(msg)
    return Parallel(group)


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class Saga:
    """A workflow written as data: steps in order, each with the task that undoes it.

    When a critical step fails, the completed ones are undone, the last one first. Register a saga beside the
    handlers, and dispatch what calling it returns.

    Attributes:
        name: Its stored name.
        stages: The steps, those that start together in one tuple.
        pivot: The step after which nothing is undone; None if there is none.
        task_type: The class of its tasks, a frozen dataclass with the one field `input`.
        input_type: The type of that field.
        retry: When a failing call of a `build` or `undo` is tried again.

    Args:
        name: Not empty, and unique in the system.
        *steps: `Step`, `parallel(...)`, or a nested `Saga`, which is short for `Step(saga)`.
        input: The type of the input. By default what the first step's `build` is annotated to take; plain JSON
            data if it is not.
        retry: See above.

    Raises:
        SagaError: It cannot work as it is written; the message has the remedy.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Reserve:
        ...     order: int
        >>> @dataclass(frozen=True)
        ... class Release:
        ...     order: int
        >>> @dataclass(frozen=True)
        ... class Ship:
        ...     order: int
        >>> order = Saga("order", Step(Reserve, undo=Release), Step(Ship, pivot=True))
        >>> order(7)
        order(input=7)
        >>> order.input_type, order.step("Reserve").undo_task(7, {})
        (<class 'int'>, Release(order=7))
    """

    name: str
    stages: tuple[tuple[Step, ...], ...]
    pivot: Step | None
    task_type: type
    input_type: Any
    retry: Retry

    def __init__(self, name: str, *steps: Step | Parallel | Saga, input: Any = None, retry: Retry = _RETRY) -> None:
        if not (isinstance(name, str) and name):
            msg = f"Saga({name!r}, ...) has no name; the first argument is its stored name, a non-empty string"
            raise SagaError(msg)
        stages = tuple(_as_stage(stage, name) for stage in steps)
        check_stages(name, stages)
        if not isinstance(retry, Retry):
            msg = f"saga {name!r}: retry={retry!r} has no meaning; it must be a Retry(...)"
            raise SagaError(msg)
        first = stages[0][0]
        inferred = first.nested.input_type if first.nested else input_type_of(first.build)
        input_type = inferred if input is None else input
        _freeze(
            self,
            name=name,
            stages=stages,
            pivot=next((step for stage in stages for step in stage if step.pivot), None),
            task_type=task_type_of(name, input_type),
            input_type=input_type,
            retry=retry,
        )

    def __call__(self, input: Any = None) -> object:
        """Return the task to dispatch: `system.dispatch(saga(input))`."""
        return self.task_type(input)

    def step(self, name: str) -> Step:
        """Return the step of that name.

        Raises:
            SagaError: There is none; a nested saga's steps are not among them.
        """
        names = []
        for stage in self.stages:
            for step in stage:
                if step.name == name:
                    return step
                names.append(step.name)
        msg = f"saga {self.name!r} has no step {name!r}; its steps are {', '.join(names)}. Was it renamed or removed?"
        raise SagaError(msg)

    def __repr__(self) -> str:
        return f"<saga {self.name!r}>"


def static_types(saga: Saga) -> tuple[tuple[str, type], ...]:
    """The task classes that a saga is known to dispatch, without calling anything, each with its step's name.

    What functions return is not known. The steps of nested sagas are named as `outer.inner`.
    """
    steps = [found for stage in saga.stages for step in stage for found in within(step)]
    made = [(name, task_class(target)) for name, step in steps for target in (step.build, step.undo)]
    return tuple((name, found) for name, found in made if found is not None)


def _freeze(target: object, **values: object) -> None:
    for name, value in values.items():
        object.__setattr__(target, name, value)


def _as_stage(stage: object, saga: str) -> tuple[Step, ...]:
    return stage.steps if isinstance(stage, Parallel) else (_as_step(stage, f"saga {saga!r}"),)


def _as_step(step: object, owner: str) -> Step:
    if isinstance(step, Step):
        return step
    if isinstance(step, Saga):
        return Step(step)
    if isinstance(step, Parallel):
        msg = f"{owner} cannot hold another parallel(); put all steps into one group, or nest a Saga"
        raise SagaError(msg)
    msg = f"{owner} is made of Step(...), parallel(...) or Saga(...), not {step!r}; wrap it, as Step(...)"
    raise SagaError(msg)
