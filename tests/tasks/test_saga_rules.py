"""A saga that could not be run or undone is refused when it is written; each message has the remedy."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from everact.tasks.errors import HandlerError, SagaError
from everact.tasks.handler import TaskHandler
from everact.tasks.saga import Saga, Step, parallel
from everact.tasks.task import task


@dataclass(frozen=True)
class Reserve:
    order: int


@dataclass(frozen=True)
class Release:
    order: int


@dataclass(frozen=True)
class Charge:
    order: int


@dataclass(frozen=True)
class Ship:
    order: int


@dataclass(frozen=True)
class Move:
    order: int
    shelf: str


class Model(BaseModel):
    order: int


class ReserveHandler(TaskHandler[Reserve]):
    def handle(self, task: Reserve, ctx: Any) -> None: ...


@task
def move(order: int, shelf: str) -> None: ...


@task
def sweep() -> None: ...


async def later(order: int) -> object:
    return Reserve(order)


def build(order: int) -> object:
    return Reserve(order)


class Odd:
    def __call__(self, order: int) -> object:
        return Reserve(order)

    def __repr__(self) -> str:
        return "Odd()"


NESTED = Saga("payment", Step(Charge, undo=Release))
PIVOTED = Saga("payment", Step(Charge, pivot=True))
FINAL = Saga("payment", Step(Charge), Step(Ship, irreversible=True, name="mail"))
ANY: Any = object()

WHAT_MAKES = "a task class, a @task function, or a function of (input) or (input, results) that returns the task"

STEPS: list[tuple[str, Callable[[], object], str]] = [
    (
        "an instance as build",
        lambda: Step(Reserve(1)),  # type: ignore[arg-type]
        f"Step(...): its build is Reserve(order=1), which cannot be called; pass {WHAT_MAKES}",
    ),
    (
        "an instance as build of a named step",
        lambda: Step(Reserve(1), name="r"),  # type: ignore[arg-type]
        f"step 'r': its build is Reserve(order=1), which cannot be called; pass {WHAT_MAKES}",
    ),
    (
        "an instance as undo",
        lambda: Step(Reserve, undo=Release(1)),  # type: ignore[arg-type]
        f"step 'Reserve': its undo is Release(order=1), which cannot be called; pass {WHAT_MAKES}",
    ),
    (
        "a step in a step",
        lambda: Step(Step(Reserve)),  # type: ignore[arg-type]
        f"Step(...): its build is <step 'Reserve'>, which cannot be called; pass {WHAT_MAKES}",
    ),
    (
        "a saga's task",
        lambda: Step(NESTED(1)),  # type: ignore[arg-type]
        f"Step(...): its build is payment(input=1), which cannot be called; pass {WHAT_MAKES}",
    ),
    (
        "a saga as undo",
        lambda: Step(Reserve, undo=NESTED),
        "step 'Reserve': its undo is saga 'payment'; undo by one task, which may dispatch more",
    ),
    (
        "a handler",
        lambda: Step(ReserveHandler),  # type: ignore[arg-type]
        ("step 'ReserveHandler': its build is the handler ReserveHandler; pass the class of the tasks that it handles"),
    ),
    (
        "a coroutine function",
        lambda: Step(later),
        (
            "step 'later': its build is async, but only makes a task and must not wait; write a plain def, and wait "
            "in the handler"
        ),
    ),
    (
        "a class with a second field",
        lambda: Step(Reserve, undo=Move),
        (
            "step 'Reserve': its undo is the class Move, which is called with the input alone and cannot be (missing "
            "a required argument: 'shelf'); write a function of (input, results) that returns a Move"
        ),
    ),
    (
        "a @task function with a second field",
        lambda: Step(move),
        (
            "step 'move': its build is the class move, which is called with the input alone and cannot be (missing "
            "a required argument: 'shelf'); write a function of (input, results) that returns a move"
        ),
    ),
    (
        "a @task function without a field",
        lambda: Step(sweep),
        (
            "step 'sweep': its build is the class sweep, which is called with the input alone and cannot be (too "
            "many positional arguments); write a function of (input, results) that returns a sweep"
        ),
    ),
    (
        "a class that takes keywords only",
        lambda: Step(Model),  # type: ignore[arg-type]
        (
            "step 'Model': its build is the class Model, which is called with the input alone and cannot be (too "
            "many positional arguments); write a function of (input, results) that returns a Model"
        ),
    ),
    (
        "no parameter",
        lambda: Step(Reserve, undo=lambda: Release(1)),  # type: ignore[arg-type]
        (
            "step 'Reserve': its undo takes no positional parameters; it must take one, (input), or two, (input, "
            "results). Bind others by functools.partial(function, name=value)"
        ),
    ),
    (
        "three parameters",
        lambda: Step(lambda order, results, more=1: Reserve(order), name="r"),
        (
            "step 'r': its build takes 3 positional parameters; it must take one, (input), or two, (input, results). "
            "Bind others by functools.partial(function, name=value)"
        ),
    ),
    (
        "a keyword that nobody gives",
        lambda: Step(lambda order, *, shelf: Move(order, shelf), name="r"),  # type: ignore[arg-type]
        (
            "step 'r': its build needs the keyword 'shelf', but is called with (input) or (input, results); give it a "
            "default, or bind it by functools.partial"
        ),
    ),
    (
        "flag",
        lambda: Step(Reserve, critical=ANY),
        f"step 'Reserve': critical={ANY!r} has no meaning; it must be True or False",
    ),
    (
        "a second task in the place of the pivot flag",
        lambda: Step(Reserve, Release, Ship),  # type: ignore[arg-type]
        f"step 'Reserve': pivot={Ship!r} has no meaning; it must be True or False",
    ),
    (
        "an undo of the pivot",
        lambda: Step(Ship, undo=Release, pivot=True),
        "step 'Ship': it is the pivot and has an undo, but once completed it is never undone; drop one of them",
    ),
    (
        "an uncritical pivot",
        lambda: Step(Ship, pivot=True, critical=False),
        "step 'Ship': the pivot cannot be critical=False, since what follows relies on it; drop one of them",
    ),
    (
        "an undo of what is irreversible",
        lambda: Step(Ship, undo=Release, irreversible=True),
        "step 'Ship': it is irreversible and has an undo; drop one of them",
    ),
    (
        "a nested pivot",
        lambda: Step(PIVOTED, name="pay"),
        (
            "step 'pay': the nested saga 'payment' has a pivot, 'Charge', after which the outer one could not undo it; "
            "put the pivot into the outer saga"
        ),
    ),
    (
        "an uncritical nested saga",
        lambda: Step(NESTED, critical=False),
        (
            "step 'payment': the nested saga 'payment' cannot be critical=False, since a failure inside undoes the "
            "whole workflow; make steps inside critical=False, or dispatch it as a workflow of its own"
        ),
    ),
    (
        "a pivot in a group",
        lambda: parallel(Step(Reserve), Step(Ship, pivot=True)),
        "parallel(), step 'Ship': the pivot cannot be in a group; make it a stage of its own",
    ),
    (
        "an empty group",
        parallel,
        "parallel() has no steps; give it those that start together, as parallel(Step(...), Step(...))",
    ),
    (
        "a group in a group",
        lambda: parallel(Step(Reserve), parallel(Step(Ship))),  # type: ignore[arg-type]
        "parallel() cannot hold another parallel(); put all steps into one group, or nest a Saga",
    ),
    (
        "a bare class in a group",
        lambda: parallel(Reserve),  # type: ignore[arg-type]
        f"parallel() is made of Step(...), parallel(...) or Saga(...), not {Reserve!r}; wrap it, as Step(...)",
    ),
]

SAGAS: list[tuple[str, Callable[[], object], str]] = [
    (
        "no name",
        lambda: Saga("", Step(Reserve)),
        "Saga('', ...) has no name; the first argument is its stored name, a non-empty string",
    ),
    (
        "a step as name",
        lambda: Saga(Step(Reserve)),  # type: ignore[arg-type]
        "Saga(<step 'Reserve'>, ...) has no name; the first argument is its stored name, a non-empty string",
    ),
    ("no steps", lambda: Saga("order"), "saga 'order' has no steps; give it at least one, as Saga('order', Step(...))"),
    (
        "a bare class",
        lambda: Saga("order", Reserve),  # type: ignore[arg-type]
        f"saga 'order' is made of Step(...), parallel(...) or Saga(...), not {Reserve!r}; wrap it, as Step(...)",
    ),
    (
        "one name twice",
        lambda: Saga("order", Step(Reserve), parallel(Step(Ship), Step(build, name="Reserve"))),
        "saga 'order' has two steps named 'Reserve', and results go by name; give one of them another name=",
    ),
    (
        "no retry policy",
        lambda: Saga("order", Step(Reserve), retry=3),  # type: ignore[arg-type]
        "saga 'order': retry=3 has no meaning; it must be a Retry(...)",
    ),
    (
        "two pivots",
        lambda: Saga("order", Step(Charge, pivot=True), Step(Ship, pivot=True)),
        (
            "saga 'order', step 'Ship': it is a second pivot, after 'Charge'; a saga has one point of no return, so "
            "keep pivot=True at the first step that cannot be undone"
        ),
    ),
    (
        "an undo after the pivot",
        lambda: Saga("order", Step(Charge, pivot=True), parallel(Step(Ship), Step(Reserve, undo=Release))),
        (
            "saga 'order', step 'Reserve': it has an undo, but comes after the pivot 'Charge', after which nothing is "
            "undone; drop the undo, or move the step before the pivot"
        ),
    ),
    (
        "an undo in a nested saga after the pivot",
        lambda: Saga("order", Step(Ship, pivot=True), Step(NESTED, name="pay")),
        (
            "saga 'order', step 'pay.Charge': it has an undo, but comes after the pivot 'Ship', after which nothing is "
            "undone; drop the undo, or move the step before the pivot"
        ),
    ),
    (
        "what is irreversible before the pivot",
        lambda: Saga("order", Step(Reserve, irreversible=True, critical=False), Step(Ship, pivot=True)),
        (
            "saga 'order', step 'Reserve': it is irreversible, but comes before the pivot 'Ship', so it would stand "
            "while the others are undone; move it after the pivot, or make it the pivot"
        ),
    ),
    (
        "what is irreversible before a critical step",
        lambda: Saga("order", Step(Reserve), Step(Charge, irreversible=True), Step(Ship)),
        (
            "saga 'order', step 'Charge': it is irreversible, but 'Ship' comes after it and can still fail, which "
            "undoes the others; make 'Charge' the pivot (pivot=True), or move it to the end"
        ),
    ),
    (
        "what is irreversible beside a critical step",
        lambda: Saga("order", Step(Reserve), parallel(Step(Ship), Step(Charge, irreversible=True, critical=False))),
        (
            "saga 'order', step 'Charge': it is irreversible, but 'Ship' runs beside it and can still fail, which "
            "undoes the others; make 'Charge' the pivot (pivot=True), or move it to the end"
        ),
    ),
    (
        "what is irreversible in a nested saga before a critical step",
        lambda: Saga("order", Step(FINAL, name="pay"), Step(Reserve)),
        (
            "saga 'order', step 'pay.mail': it is irreversible, but 'Reserve' comes after it and can still fail, which "
            "undoes the others; make 'pay' the pivot (pivot=True), or move it to the end"
        ),
    ),
]


def nameless() -> list[object]:
    return [lambda order: Reserve(order), functools.partial(build, 1), Odd()]  # noqa: PLW0108 - a lambda is the case


CASES = STEPS + SAGAS


@pytest.mark.parametrize(("make", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_definition_is_refused_for(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SagaError) as caught:
        make()
    assert str(caught.value) == message


@pytest.mark.parametrize("target", nameless(), ids=["lambda", "partial", "object"])
def test_what_has_no_name_of_its_own_needs_one(target: Any) -> None:
    with pytest.raises(SagaError) as caught:
        Step(target)
    assert str(caught.value) == f'Step({target!r}) has no name of its own; give it one, as Step(..., name="Reserve")'


@pytest.mark.parametrize("name", ["", 7, Release])
def test_a_name_is_a_string_with_something_in_it(name: Any) -> None:
    with pytest.raises(SagaError) as caught:
        Step(Reserve, name=name)
    assert str(caught.value) == (
        f"Step({Reserve!r}, name={name!r}): the name must be a non-empty string; leave it out for the default"
    )


def test_a_refusal_is_one_of_a_handler() -> None:
    """Who checks definitions when a program starts catches one class."""
    with pytest.raises(HandlerError):
        Saga("order")


# What stays allowed beside each rule


@pytest.mark.parametrize(
    "steps",
    [
        [Step(Reserve, undo=Release), Step(Charge, pivot=True, irreversible=True), Step(Ship, irreversible=True)],
        [Step(Reserve, undo=Release), Step(Charge, irreversible=True)],
        [Step(Charge, irreversible=True), Step(Ship, critical=False), Step(Reserve, critical=False)],
        [Step(Reserve), parallel(Step(Charge, irreversible=True), Step(Ship, critical=False))],
        [Step(Ship, critical=False, irreversible=True)],
        [Step(Reserve, undo=Release), FINAL],
        [Step(FINAL, pivot=True), Step(Ship)],
        [Step(Ship, pivot=True), FINAL],
        [parallel(NESTED, Step(Reserve, undo=Release)), Step(Ship, pivot=True)],
        [Step(NESTED, undo=Release)],
        [Step(Reserve, undo=Release, critical=False)],
    ],
)
def test_a_definition_is_accepted(steps: list[Any]) -> None:
    assert Saga("order", *steps).name == "order"
