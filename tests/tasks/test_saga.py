"""What a saga is: how its steps make their tasks, what they are called, and what its input is."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import msgspec
import pytest
from pydantic import BaseModel

from everact.tasks.context import TaskContext
from everact.tasks.errors import SagaError
from everact.tasks.retry import Retry
from everact.tasks.saga import Parallel, Saga, Step, parallel, static_types
from everact.tasks.task import task

if TYPE_CHECKING:
    from somewhere import NotAtRunTime  # type: ignore[import-not-found]

NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Order:
    id: int
    sku: str = "tea"


@dataclass(frozen=True)
class Reserve:
    order: Order


@dataclass(frozen=True)
class Release:
    order: Order
    reservation: int | None = None


class Ship(msgspec.Struct, frozen=True):
    order: Order


@attrs.frozen
class Pack:
    order: Order


@dataclass(frozen=True)
class Forward:
    later: "NotAtRunTime"
    order: int = 0


@dataclass(frozen=True)
class Annotate:
    order: "Order"
    note: "NotAtRunTime" = None


@task
def charge(ctx: TaskContext, order: Order, amount: float = 1.0) -> str:
    return f"{order.id} {amount}"


def reserve(order: Order) -> object:
    return Reserve(order)


def release(order: Order, results: Mapping[str, Any]) -> object:
    return Release(order, results.get("Reserve"))


class Maker:
    def __call__(self, order: Order) -> object:
        return Reserve(order)

    def both(self, order: Order, results: Mapping[str, Any]) -> object:
        return Release(order, results["Reserve"])


ORDER = Order(7)
PAYMENT = Saga("payment", Step(charge), Step(Pack, undo=release))


# How a step makes its tasks


@pytest.mark.parametrize(
    ("build", "made"),
    [
        (Reserve, Reserve(ORDER)),
        (Ship, Ship(ORDER)),
        (Pack, Pack(ORDER)),
        (Release, Release(ORDER)),
        (charge, charge.task(ORDER)),
        (reserve, Reserve(ORDER)),
        (release, Release(ORDER, 3)),
        (Maker(), Reserve(ORDER)),
        (Maker().both, Release(ORDER, 3)),
        (PAYMENT, PAYMENT(ORDER)),
        (lambda given: Reserve(given), Reserve(ORDER)),  # noqa: PLW0108 - a lambda is the case
        (lambda given, results: Release(given, results["Reserve"]), Release(ORDER, 3)),
        (lambda given, results=None: Release(given, results["Reserve"]), Release(ORDER, 3)),
        (lambda given, *rest: Release(given, rest[0]["Reserve"]), Release(ORDER, 3)),
        (lambda *both: Release(both[0], both[1]["Reserve"]), Release(ORDER, 3)),
        (lambda given, *, extra=5: Release(given, extra), Release(ORDER, 5)),
        (functools.partial(Release, reservation=4), Release(ORDER, 4)),
        (functools.partial(lambda extra, given: Release(given, extra), 6), Release(ORDER, 6)),
    ],
)
def test_a_step_makes_its_task_from_the_input_and_if_it_takes_them_the_results(
    build: Callable[..., Any], made: object
) -> None:
    assert Step(build, name="step").task(ORDER, {"Reserve": 3}) == made
    if not isinstance(build, Saga):
        assert Step(Ship, undo=build).undo_task(ORDER, {"Reserve": 3}) == made


def test_a_builtin_that_shows_no_signature_gets_the_input_alone() -> None:
    assert Step(dict).task([("a", 1)], NOTHING) == {"a": 1}
    assert Step(max).task([1, 2], NOTHING) == 2


def test_the_results_cannot_be_changed_by_who_reads_them() -> None:
    def meddle(order: Order, results: Any) -> object:
        results["Reserve"] = 4
        return Reserve(order)

    results = {"Reserve": 3}
    with pytest.raises(TypeError):
        Step(meddle).task(ORDER, results)
    with pytest.raises(TypeError):
        Step(Ship, undo=meddle).undo_task(ORDER, results)
    assert results == {"Reserve": 3}


def test_what_build_raises_is_raised() -> None:
    with pytest.raises(KeyError, match="Price"):
        Step(lambda order, results: results["Price"], name="priced").task(ORDER, NOTHING)


def test_a_step_that_makes_nothing_says_so() -> None:
    step = Step(lambda _: None, undo=lambda _: None, name="Pay")
    with pytest.raises(SagaError) as build:
        step.task(ORDER, NOTHING)
    with pytest.raises(SagaError) as undo:
        step.undo_task(ORDER, NOTHING)
    assert str(build.value) == "step 'Pay': its build returned None; it must return the task to dispatch"
    assert str(undo.value) == "step 'Pay': its undo returned None; it must return the task to dispatch"


def test_a_step_without_an_undo_says_so() -> None:
    with pytest.raises(SagaError) as caught:
        Step(Ship).undo_task(ORDER, NOTHING)
    assert str(caught.value) == "step 'Ship' has no undo; give it one as Step(..., undo=...)"


# Names


@pytest.mark.parametrize(
    ("build", "name"),
    [(Reserve, "Reserve"), (charge, "charge"), (reserve, "reserve"), (Maker().both, "both"), (PAYMENT, "payment")],
)
def test_a_step_is_called_as_what_makes_its_task(build: Callable[..., Any], name: str) -> None:
    assert Step(build).name == name
    assert Step(build, name="other").name == "other"


def test_a_step_keeps_what_it_was_given() -> None:
    step = Step(Reserve, undo=release)
    assert (step.build, step.undo, step.nested) == (Reserve, release, None)
    assert (step.pivot, step.critical, step.irreversible) == (False, True, False)
    step = Step(Ship, pivot=True, irreversible=True)
    assert (step.undo, step.pivot, step.critical, step.irreversible) == (None, True, True, True)
    assert not Step(Ship, critical=False).critical
    assert Step(PAYMENT).nested is PAYMENT


def test_steps_and_sagas_cannot_be_changed() -> None:
    for target in (Step(Ship), Saga("order", Step(Ship))):
        with pytest.raises(dataclasses.FrozenInstanceError):
            target.name = "other"  # type: ignore[misc]
        assert not hasattr(target, "__dict__")


def test_steps_and_sagas_show_their_names() -> None:
    assert repr(Step(Ship)) == "<step 'Ship'>"
    assert repr(Saga("order", Step(Ship))) == "<saga 'order'>"


# Stages


def test_stages_are_what_starts_together() -> None:
    reserve, pack, ship = Step(Reserve), Step(Pack), Step(Ship)
    group = parallel(reserve, pack)
    assert group == Parallel((reserve, pack))
    assert Saga("order", group, ship).stages == ((reserve, pack), (ship,))


def test_a_group_may_have_one_step() -> None:
    assert [step.name for step in parallel(Step(Ship)).steps] == ["Ship"]


def test_a_saga_is_a_step_as_it_is() -> None:
    beside, after = Saga("beside", Step(Ship)), Saga("after", Step(Ship))
    saga = Saga("order", parallel(Step(Reserve), beside), after)
    assert [[step.name for step in stage] for stage in saga.stages] == [["Reserve", "beside"], ["after"]]
    assert saga.step("beside").nested is beside


def test_a_nested_saga_has_step_names_of_its_own() -> None:
    inner = Saga("inner", Step(Reserve), Step(Ship))
    assert Saga("outer", Step(Reserve), inner, Step(Ship)).step("Reserve").build is Reserve


def test_the_pivot_is_known() -> None:
    ship = Step(Ship, pivot=True)
    assert Saga("order", Step(Reserve), ship, Step(Pack, critical=False)).pivot is ship
    assert Saga("order", Step(Reserve)).pivot is None


def test_a_step_is_found_by_its_name() -> None:
    ship = Step(Ship)
    saga = Saga("order", parallel(Step(Reserve), Step(Pack)), ship)
    assert saga.step("Ship") is ship
    with pytest.raises(SagaError) as caught:
        saga.step("Pay")
    assert str(caught.value) == (
        "saga 'order' has no step 'Pay'; its steps are Reserve, Pack, Ship. Was it renamed or removed?"
    )


def test_a_saga_has_a_retry_policy() -> None:
    assert Saga("order", Step(Ship)).retry == Retry()
    assert Saga("order", Step(Ship), retry=Retry(attempts=9)).retry.attempts == 9


# The input


def test_calling_a_saga_makes_its_task() -> None:
    saga = Saga("order", Step(Reserve))
    made = saga(ORDER)
    assert type(made) is saga.task_type
    assert vars(made) == {"input": ORDER}
    assert made == saga(ORDER)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, "input", None)  # noqa: B010 - the class is made at run time
    assert repr(made) == "order(input=Order(id=7, sku='tea'))"
    assert (saga.task_type.__name__, saga.task_type.__qualname__) == ("order", "order")


def test_a_saga_without_an_input_is_called_without_one() -> None:
    made: Any = Saga("nightly", Step(lambda _: Reserve(ORDER), name="Reserve"))()
    assert made.input is None


def test_each_saga_has_a_task_type_of_its_own() -> None:
    one, other = Saga("order", Step(Reserve)), Saga("order", Step(Reserve))
    assert one.task_type is not other.task_type
    assert one(ORDER) != other(ORDER)


def wrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def inner(*args: Any) -> Any:
        return fn(*args)

    return inner


def late(order: "Order", results: "NotAtRunTime") -> "NotAtRunTime":
    return Reserve(order)


def nowhere(order: "NotAtRunTime") -> object:
    return order


def vague(order: object) -> object:
    return order


def limited(order: Annotated[int, msgspec.Meta(ge=1)]) -> object:
    return order


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (Reserve, Order),
        (Ship, Order),
        (Pack, Order),
        (Annotate, Order),
        (charge, Order),
        (reserve, Order),
        (release, Order),
        (Maker(), Order),
        (Maker().both, Order),
        (PAYMENT, Order),
        (wrapped(reserve), Order),
        (late, Order),
        (functools.partial(late, results=None), Order),
        (limited, Annotated[int, msgspec.Meta(ge=1)]),
        (functools.partial(Forward, order=1), Any),
        (nowhere, Any),
        (vague, Any),
        (max, Any),
        (lambda given: given, Any),
        (lambda *given: given, Any),
    ],
)
def test_the_input_type_is_read_from_the_first_step(build: Callable[..., Any], found: object) -> None:
    assert Saga("order", Step(build, name="first")).input_type == found


def test_the_input_type_can_be_given() -> None:
    saga = Saga("order", Step(Reserve), input=dict[str, int])
    assert saga.input_type == dict[str, int]
    assert dataclasses.fields(saga.task_type)[0].type == dict[str, int]
    assert Saga("order", Step(reserve), input=Order | None).input_type == Order | None


@pytest.mark.parametrize(
    ("saga", "given"),
    [
        (Saga("order", Step(Reserve)), ORDER),
        (Saga("order", Step(Reserve), input=Order | None), None),
        (Saga("order", PAYMENT), ORDER),
        (Saga("order", Step(vague), input=list[Order]), [ORDER, Order(8)]),
        (Saga("order", Step(vague)), {"plain": [1, None]}),
        (Saga("order", Step(vague)), None),
    ],
)
def test_the_task_of_a_saga_travels_as_json_with_its_types(saga: Saga, given: object) -> None:
    made = saga(given)
    assert msgspec.json.decode(msgspec.json.encode(made), type=saga.task_type) == made


def test_an_input_of_another_type_does_not_decode() -> None:
    saga = Saga("order", Step(Reserve))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(saga("seven")), type=saga.task_type)


class Model(BaseModel):
    id: int


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Model, "it has no fields that JSON could hold"),
        ("Order", "Type ''Order'' is not supported"),
        (ORDER, f"Type '{ORDER!r}' is not supported"),
    ],
)
def test_an_input_that_has_no_json_form_is_refused(given: object, why: str) -> None:
    with pytest.raises(SagaError) as caught:
        Saga("order", Step(vague), input=given)
    assert str(caught.value) == (
        f"saga 'order': its input of type {given!r} cannot travel as JSON ({why}); give it input= with a dataclass, "
        "msgspec.Struct or attrs class, or plain data"
    )


# What is known beforehand


def test_task_classes_are_known_without_calling_anything() -> None:
    def never(order: Order) -> object:
        pytest.fail("called")

    saga = Saga(
        "order",
        parallel(Step(Reserve, undo=Release), Step(never, undo=charge, name="odd")),
        Step(Saga("outer", PAYMENT, Step(Ship)), name="pay"),
        Step(charge, critical=False),
    )
    assert static_types(saga) == (
        ("Reserve", Reserve),
        ("Reserve", Release),
        ("odd", charge.task),
        ("pay.payment.charge", charge.task),
        ("pay.payment.Pack", Pack),
        ("pay.Ship", Ship),
        ("charge", charge.task),
    )


def test_the_signatures_are_those_that_are_documented() -> None:
    names = ["build", "undo", "pivot", "critical", "irreversible", "name"]
    assert list(inspect.signature(Step).parameters) == names
    assert list(inspect.signature(Saga).parameters) == ["name", "steps", "input", "retry"]
