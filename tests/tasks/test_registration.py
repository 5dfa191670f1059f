"""From what is passed as `handlers=` to checked specifications: what is refused, and how the task type is found."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from everact.tasks.context import TaskContext
from everact.tasks.errors import HandlerError, TaskTimeout
from everact.tasks.handler import TaskHandler, bind
from everact.tasks.registration import COMPENSATION_RETRY, HandlerSpec, specify
from everact.tasks.retry import Retry
from everact.tasks.task import task

if TYPE_CHECKING:
    from somewhere import NotAtRunTime  # type: ignore[import-not-found]

T = TypeVar("T")
U = TypeVar("U")
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Pay:
    amount: int


@dataclass(frozen=True)
class Bill:
    amount: int


class StructTask(msgspec.Struct):
    amount: int


@attrs.frozen
class AttrsTask:
    amount: int


class PydanticTask(pydantic.BaseModel):
    amount: int


class PayHandler(TaskHandler[Pay]):
    def handle(self, task: Pay, ctx: TaskContext) -> str:
        return "paid"


class Plain(TaskHandler[T]):
    """A generic base with a handle of its own."""

    def handle(self, task: T, ctx: TaskContext) -> Any: ...


@task
def ship(order: int, *, express: bool = False) -> str:
    return f"shipped {order}"


def undecorated(order: int) -> None: ...


async def undecorated_async(order: int) -> None: ...


def spec_of(handler: object) -> HandlerSpec:
    (spec,) = specify([handler])
    return spec


def refusal_of(*handlers: object) -> str:
    with pytest.raises(HandlerError) as refusal:
        specify(handlers)
    return str(refusal.value)


def made(**attributes: Any) -> type[TaskHandler[Any]]:
    return type("Custom", (PayHandler,), attributes)


# What may be passed


def test_a_handler_class_makes_its_own_instances() -> None:
    spec = spec_of(PayHandler)
    assert (spec.task_type, spec.result_type, spec.is_async, spec.hooks) == (Pay, str, False, frozenset())
    assert isinstance(spec.make(), PayHandler)
    assert spec.make() is not spec.make()


def test_a_decorated_function_is_registered_with_its_task_class() -> None:
    spec = spec_of(ship)
    assert spec.task_type is ship.task
    assert spec.name == f"{__name__}.ship"
    assert spec.result_type is str


def test_an_async_handle_is_noticed() -> None:
    class Async(TaskHandler[Pay]):
        async def handle(self, task: Pay, ctx: TaskContext) -> int:
            return 1

    spec = spec_of(Async)
    assert spec.is_async
    assert spec.result_type is int


def test_any_iterable_of_handlers_is_specified_in_its_order() -> None:
    assert [spec.task_type for spec in specify(iter([ship, PayHandler]))] == [ship.task, Pay]
    assert specify(()) == []


def test_the_stored_name_is_module_and_qualified_name_unless_task_name_is_set() -> None:
    assert spec_of(PayHandler).name == f"{__name__}.Pay"
    assert spec_of(made(task_name="shop.Pay")).name == "shop.Pay"


# What is refused, and the remedy


def test_an_instance_is_refused_with_class_and_bind_as_remedies() -> None:
    assert refusal_of(PayHandler()) == (
        "PayHandler is registered as an instance, but supervision makes fresh ones: "
        "pass the class, or bind(PayHandler, lambda: PayHandler(...))"
    )


def test_a_bare_lambda_is_refused_with_bind_as_remedy() -> None:
    assert refusal_of(lambda: PayHandler()) == (  # noqa: PLW0108 - what users write
        "a lambda does not say which task it handles: "
        "use bind(PayHandler, lambda: PayHandler(gateway)), or @task on a def"
    )


@pytest.mark.parametrize("function", [undecorated, undecorated_async])
def test_an_undecorated_function_is_refused_with_the_decorator_as_remedy(function: Callable[..., Any]) -> None:
    assert refusal_of(function) == f"function {function.__name__} is not a task yet: decorate it with @task"


@pytest.mark.parametrize(
    "thing", [Pay, Pay(1), "PayHandler", None, 7, [PayHandler], ship.task, functools.partial(undecorated)], ids=range(8)
)
def test_anything_else_is_refused_with_all_that_may_be_passed(thing: Any) -> None:
    assert refusal_of(thing) == (
        f"{thing!r} is not a handler: pass a TaskHandler class, a function decorated with @task, or bind(...)"
    )


def test_one_bad_handler_among_good_ones_is_found() -> None:
    assert "undecorated" in refusal_of(PayHandler, undecorated)


def test_a_handler_without_handle_is_refused() -> None:
    class Forgotten(TaskHandler[Pay]):
        def on_completed(self, ctx: TaskContext) -> None: ...

    assert "Forgotten does not define handle(self, task, ctx)" in refusal_of(Forgotten)
    assert "TaskHandler does not define handle" in refusal_of(TaskHandler)
    assert "Forgotten does not define handle" in refusal_of(bind(Forgotten, Forgotten))


def one(self: object) -> None: ...
def two(self: object, task: Pay) -> None: ...
def four(self: object, task: Pay, ctx: TaskContext, more: int) -> None: ...
def keyword(self: object, task: Pay, *, ctx: TaskContext) -> None: ...
def required(self: object, task: Pay, ctx: TaskContext, *, more: int) -> None: ...


@pytest.mark.parametrize("handle", [one, two, four, keyword, required], ids=lambda handle: handle.__name__)
def test_a_handle_that_cannot_take_task_and_ctx_is_refused_and_its_signature_shown(handle: Any) -> None:
    message = refusal_of(made(handle=handle))
    assert "Custom.handle must take (self, task, ctx), not (self: object" in message


def optional(self: object, task: Pay, ctx: TaskContext, more: int = 1) -> None: ...
def variadic(self: object, *args: Any, **kwargs: Any) -> None: ...
def renamed(self: object, order: Pay, context: TaskContext) -> None: ...


@pytest.mark.parametrize("handle", [optional, variadic, renamed], ids=lambda handle: handle.__name__)
def test_a_handle_that_can_take_task_and_ctx_is_accepted_however_it_is_written(handle: Any) -> None:
    assert spec_of(made(handle=handle)).task_type is Pay


async def hook(self: object, *args: object) -> None: ...


@pytest.mark.parametrize("name", ["on_started", "on_completed", "on_retry", "on_error", "on_actor_start"])
def test_an_async_hook_beside_a_sync_handle_is_refused_by_name(name: str) -> None:
    assert refusal_of(made(**{name: hook})) == (
        f"Custom has async {name} but a sync handle, which runs on a thread "
        "without an event loop; make handle async as well, or the hooks sync"
    )


def test_several_async_hooks_are_all_named() -> None:
    assert "async on_completed, on_error but" in refusal_of(made(on_error=hook, on_completed=hook))


def test_an_async_handle_may_have_hooks_of_both_kinds() -> None:
    async def handle(self: object, task: Pay, ctx: TaskContext) -> None: ...
    def sync_hook(self: object, ctx: TaskContext) -> None: ...

    spec = spec_of(made(handle=handle, on_error=hook, on_completed=sync_hook))
    assert spec.is_async
    assert spec.hooks == {"on_error", "on_completed"}


# One name, one handler


class OtherPayHandler(TaskHandler[Pay]):
    def handle(self, task: Pay, ctx: TaskContext) -> None: ...


class BillHandler(TaskHandler[Bill]):
    def handle(self, task: Bill, ctx: TaskContext) -> None: ...


def test_two_handlers_for_one_type_are_refused_though_their_names_differ() -> None:
    class Renamed(OtherPayHandler):
        task_name = "shop.Pay"

    assert refusal_of(PayHandler, Renamed) == "two handlers are registered for Pay; one task type has one handler"


@pytest.mark.parametrize(
    "second", [OtherPayHandler, PayHandler, bind(PayHandler, PayHandler)], ids=["other", "same", "bind"]
)
def test_two_handlers_for_one_type_are_told_so_and_not_sent_to_rename_it(second: object) -> None:
    """With default names they share the name as well, and another task_name would not help."""
    assert refusal_of(PayHandler, second) == "two handlers are registered for Pay; one task type has one handler"


def test_two_types_under_one_stored_name_are_refused_with_another_name_as_remedy() -> None:
    class AlsoPay(BillHandler):
        task_name = f"{__name__}.Pay"

    assert refusal_of(PayHandler, AlsoPay) == (
        f"two handlers are for the stored name '{__name__}.Pay'; give one of them another task_name or alias"
    )


def test_an_alias_that_is_another_handlers_name_is_refused() -> None:
    class Alias(BillHandler):
        aliases = (f"{__name__}.Pay",)

    for pair in ((PayHandler, Alias), (Alias, PayHandler)):
        assert f"two handlers are for the stored name '{__name__}.Pay'" in refusal_of(*pair)


def test_an_alias_that_two_handlers_claim_is_refused() -> None:
    class OldPay(PayHandler):
        aliases = ("old",)

    class OldBill(BillHandler):
        aliases = ("older", "old")

    assert "two handlers are for the stored name 'old'" in refusal_of(OldPay, OldBill)


# The task type


@pytest.mark.parametrize("kind", [Pay, StructTask, AttrsTask, PydanticTask, int, str], ids=lambda kind: kind.__name__)
def test_the_task_type_is_the_argument_of_task_handler(kind: type) -> None:
    handler: Any = type("Direct", (Plain,), {"__orig_bases__": (Plain[kind],)})  # type: ignore[valid-type]
    assert spec_of(handler).task_type is kind


def test_the_task_type_is_inherited() -> None:
    class Child(PayHandler):
        pass

    class Grandchild(Child):
        def handle(self, task: Pay, ctx: TaskContext) -> str:
            return "paid twice"

    assert spec_of(Child).task_type is Pay
    assert spec_of(Grandchild).task_type is Pay


def test_a_type_variable_of_a_generic_base_is_substituted() -> None:
    class Child(Plain[Pay]):
        pass

    assert spec_of(Child).task_type is Pay


def test_type_variables_are_substituted_through_several_generic_bases() -> None:
    class Upper(Plain[U], Generic[U]):
        pass

    class Lower(Upper[A]):
        pass

    class Child(Lower[Bill]):
        pass

    class Grandchild(Child):
        pass

    assert spec_of(Child).task_type is Bill
    assert spec_of(Grandchild).task_type is Bill


def test_the_right_one_of_two_type_variables_is_substituted() -> None:
    class Pair(Plain[B], Generic[A, B]):
        pass

    class Swapped(Pair[B, A], Generic[A, B]):
        pass

    class Straight(Pair[Bill, Pay]):
        pass

    class Crossed(Swapped[Bill, Pay]):
        pass

    assert spec_of(Straight).task_type is Pay
    assert spec_of(Crossed).task_type is Bill


def test_a_mixin_beside_the_handler_does_not_hide_the_type() -> None:
    class Mixin:
        pass

    class GenericMixin(Generic[T]):
        pass

    class Child(Mixin, GenericMixin[Bill], Plain[Pay]):
        pass

    assert spec_of(Child).task_type is Pay


def test_without_an_argument_the_annotation_of_task_decides() -> None:
    class Bare(TaskHandler):  # type: ignore[type-arg]
        def handle(self, task: Bill, ctx: TaskContext) -> None: ...

    class OfGeneric(Plain):  # type: ignore[type-arg]
        def handle(self, task: Bill, ctx: TaskContext) -> None: ...

    assert spec_of(Bare).task_type is Bill
    assert spec_of(OfGeneric).task_type is Bill


def test_an_annotation_may_be_written_as_a_string() -> None:
    class Quoted(TaskHandler):  # type: ignore[type-arg]
        def handle(self, task: "Bill", ctx: "TaskContext") -> "int":
            return 1

    assert (spec_of(Quoted).task_type, spec_of(Quoted).result_type) == (Bill, int)


def test_the_argument_wins_over_the_annotation() -> None:
    class Loose(TaskHandler[Pay]):
        def handle(self, task: Any, ctx: TaskContext) -> None: ...

    assert spec_of(Loose).task_type is Pay


def test_any_as_argument_is_no_type_so_the_annotation_decides() -> None:
    class Loose(TaskHandler[Any]):
        def handle(self, task: Bill, ctx: TaskContext) -> None: ...

    assert spec_of(Loose).task_type is Bill


def unannotated(self: object, task, ctx) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001
def anything(self: object, task: Any, ctx: TaskContext) -> None: ...
def union(self: object, task: Pay | Bill, ctx: TaskContext) -> None: ...
def alias(self: object, task: dict[str, int], ctx: TaskContext) -> None: ...
def unresolvable(self: object, task: "NotAtRunTime", ctx: TaskContext) -> None: ...
def prose(self: object, task: Any, ctx: TaskContext) -> None: ...


prose.__annotations__["task"] = "the order to pay"


def no_attribute(self: object, task: "msgspec.Missing", ctx: TaskContext) -> None: ...  # type: ignore[name-defined]


@pytest.mark.parametrize(
    "handle",
    [unannotated, anything, union, alias, unresolvable, no_attribute, prose],
    ids=lambda handle: handle.__name__,
)
def test_a_task_type_that_cannot_be_found_is_refused_with_both_ways_to_say_it(handle: Any) -> None:
    untyped = type("Untyped", (TaskHandler,), {"handle": handle})
    message = refusal_of(untyped)
    assert message == (
        "Untyped does not say which task it handles; write class Untyped(TaskHandler[MyTask]), "
        "or annotate handle(self, task: MyTask, ctx) with a class that can be resolved at run time"
    )


def test_a_generic_alias_as_argument_is_refused_as_no_class() -> None:
    class Listed(TaskHandler[list[Pay]]):
        def handle(self, task: list[Pay], ctx: TaskContext) -> None: ...

    assert "Listed does not say which task it handles" in refusal_of(Listed)


def checked_only(self: object, task: Pay, ctx: "NotAtRunTime") -> Bill: ...  # type: ignore[empty-body]


def test_an_annotation_that_exists_for_type_checkers_only_does_not_hide_the_others() -> None:
    """`if TYPE_CHECKING: from everact import TaskContext` is what linters ask for."""
    untyped = type("Untyped", (TaskHandler,), {"handle": checked_only})
    assert spec_of(untyped).task_type is Pay
    assert spec_of(untyped).result_type is Bill


def test_a_result_without_annotation_is_any() -> None:
    class Silent(TaskHandler[Pay]):
        def handle(self, task: Pay, ctx: TaskContext):  # type: ignore[no-untyped-def]
            return 1

    assert spec_of(Silent).result_type is Any


def test_a_compensation_is_retried_as_its_handler_says_or_ten_times_if_it_says_nothing() -> None:
    class Silent(TaskHandler[Pay]):
        def handle(self, task: Pay, ctx: TaskContext) -> None: ...

    class Says(Silent):
        retry = Retry(attempts=2)

    (silent,), (says,) = specify([Silent]), specify([Says])
    assert (silent.retry.attempts, silent.compensation_retry) == (4, COMPENSATION_RETRY)
    assert COMPENSATION_RETRY.attempts == 10
    assert TaskTimeout in COMPENSATION_RETRY.on
    assert says.compensation_retry is says.retry
