"""`@task`, and the names under which task types are stored."""

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from everact.storage.codec import codec_for
from everact.tasks.context import TaskContext
from everact.tasks.errors import HandlerError, PayloadError
from everact.tasks.handler import TaskHandler
from everact.tasks.registration import specify
from everact.tasks.retry import Retry
from everact.tasks.task import TaskFunction, task, type_name

if TYPE_CHECKING:
    from somewhere import NotAtRunTime  # type: ignore[import-not-found]

CTX: Any = object()
ID = bytes(16)


@task
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@task
async def add_later(a: int, b: int) -> int:
    return a + b


@task
def with_context(ctx: TaskContext, a: int) -> tuple[int, object]:
    return a, ctx


@task
def with_context_last(a: int, b: str = "b", *, ctx: TaskContext) -> tuple[int, str, object]:
    return a, b, ctx


@task
def with_context_between(a: int, context: TaskContext, b: int) -> tuple[int, int, object]:
    return a, b, context


@task(retry=Retry(attempts=2), timeout=2.5, name="shop.bill", concurrency=3, queue="slow", codec="cloudpickle")
def bill(order: int) -> str:
    return f"billed {order}"


@task
def nothing() -> str:
    return "done"


def run(function: TaskFunction[..., Any], made: Any) -> Any:
    """Run a task as a cell does: on an instance of the handler class."""
    (spec,) = specify([function])
    answer: Any = spec.make().handle(made, CTX)
    return asyncio.run(answer) if spec.is_async else answer


def refusal_of(function: Callable[..., Any], **options: Any) -> str:
    decorate: Any = task
    with pytest.raises(HandlerError) as refusal:
        (decorate(**options) if options else decorate)(function)
    return str(refusal.value)


# The function


def test_a_decorated_function_can_still_be_called() -> None:
    assert add(1, 2) == 3
    assert add(1) == 2
    assert asyncio.run(add_later(1, b=2)) == 3  # type: ignore[arg-type]
    assert with_context.function(CTX, 1) == (1, CTX)


def test_a_decorated_function_keeps_its_name_and_docstring() -> None:
    named: Any = add
    assert (named.__name__, named.__doc__, named.__module__) == ("add", "Add two numbers.", __name__)
    assert repr(add) == f"<task {__name__}.add>"


# The task class


def test_the_task_class_has_a_field_for_each_parameter() -> None:
    made: Any = add.task(1, 2)
    assert (made.a, made.b) == (1, 2)
    assert isinstance(made, msgspec.Struct)
    assert type(made).__struct_fields__ == ("a", "b")


def test_fields_take_arguments_as_the_function_does() -> None:
    assert add.task(1, 2) == add.task(a=1, b=2) == add.task(1, b=2)
    assert add.task(5) == add.task(5, 1)
    with pytest.raises(TypeError):
        add.task()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        add.task(1, c=3)  # type: ignore[call-arg]


def test_a_task_is_frozen_and_can_be_compared_and_hashed() -> None:
    made: Any = add.task(1, 2)
    with pytest.raises(AttributeError):
        made.a = 7
    assert hash(made) == hash(add.task(1, 2))
    assert made != add.task(1, 3)


def test_a_function_without_parameters_is_a_task_without_fields() -> None:
    assert run(nothing, nothing.task()) == "done"


def test_a_task_is_found_again_by_pickle() -> None:
    made = add.task(1, 2)
    assert pickle.loads(pickle.dumps(made)) == made  # noqa: S301 - bytes of our own


def test_a_default_that_is_an_empty_list_is_not_shared() -> None:
    @task
    def collect(items: list[int] = []) -> int:  # noqa: B006 - what users write
        return len(items)

    one: Any = collect.task()
    one.items.append(7)
    assert collect.task() != one


def test_a_function_may_have_parameters_that_are_keyword_only() -> None:
    @task
    def keyword(a: int, *, b: int, c: int = 3) -> tuple[int, int, int]:
        return a, b, c

    assert run(keyword, keyword.task(1, b=2)) == (1, 2, 3)
    assert run(keyword, keyword.task(1, b=2, c=4)) == (1, 2, 4)


def test_a_required_keyword_may_follow_a_default_as_in_every_function() -> None:
    @task
    def keyword(a: int = 1, *, b: int) -> tuple[int, int]:
        return a, b

    assert run(keyword, keyword.task(b=2)) == (1, 2)
    assert run(keyword, keyword.task(5, b=2)) == (5, 2)


def test_what_annotated_asks_of_a_field_is_checked() -> None:
    @task
    def bounded(amount: Annotated[int, msgspec.Meta(gt=0)]) -> None: ...

    codec = codec_for(specify([bounded])[0], {}, 1000)
    payload = codec.encode(bounded.task(-5), ID)
    with pytest.raises(PayloadError):
        codec.decode(payload, ID, None)


# The handler


def test_the_handler_calls_the_function_with_the_fields() -> None:
    assert run(add, add.task(1, 2)) == 3
    assert run(add, add.task(1)) == 2


def test_an_async_function_has_an_async_handler() -> None:
    assert run(add_later, add_later.task(1, 2)) == 3
    assert specify([add_later])[0].is_async
    assert not specify([add])[0].is_async


@pytest.mark.parametrize(
    ("function", "made", "expected"),
    [
        (with_context, with_context.task(1), (1, CTX)),
        (with_context_last, with_context_last.task(1), (1, "b", CTX)),  # type: ignore[call-arg]
        (with_context_between, with_context_between.task(1, b=2), (1, 2, CTX)),  # type: ignore[call-arg]
    ],
    ids=["first", "last", "between"],
)
def test_a_parameter_annotated_with_the_context_is_passed_in_and_is_no_field(
    function: TaskFunction[..., Any], made: Any, expected: object
) -> None:
    assert run(function, made) == expected
    assert not {"ctx", "context"} & set(made.__struct_fields__)


def test_an_async_function_gets_its_context_too() -> None:
    @task
    async def later(ctx: TaskContext, a: int) -> tuple[int, object]:
        return a, ctx

    assert run(later, later.task(1)) == (1, CTX)


def test_the_context_is_found_by_its_annotation_though_that_is_a_string() -> None:
    @task
    def quoted(a: "int", whatever: "TaskContext") -> "tuple[int, object]":
        return a, whatever

    assert run(quoted, quoted.task(1)) == (1, CTX)  # type: ignore[call-arg]


def test_every_parameter_annotated_with_the_context_is_passed_in() -> None:
    @task
    def twice(ctx: TaskContext, a: int, *, again: TaskContext) -> tuple[int, object, object]:
        return a, ctx, again

    assert run(twice, twice.task(1)) == (1, CTX, CTX)  # type: ignore[call-arg]


def test_options_become_attributes_of_the_handler() -> None:
    (spec,) = specify([bill])
    assert (spec.name, spec.retry, spec.timeout) == ("shop.bill", Retry(attempts=2), 2.5)
    assert (spec.concurrency, spec.queue, spec.codec) == (3, "slow", "cloudpickle")
    assert issubclass(bill.handler, TaskHandler)


def test_without_options_the_defaults_of_handlers_hold() -> None:
    (spec,) = specify([add])
    assert (spec.name, spec.retry, spec.timeout, spec.queue) == (f"{__name__}.add", Retry(), None, "default")
    assert (spec.task_type, spec.result_type) == (add.task, int)


def test_the_decorator_may_be_called_without_options() -> None:
    decorate: Any = task
    assert decorate()(add.function)(1, 2) == 3


def test_a_function_without_a_result_annotation_may_return_anything() -> None:
    @task
    def silent(a: int):  # type: ignore[no-untyped-def]
        return a

    assert specify([silent])[0].result_type is Any


# Refusals


def test_a_parameter_without_annotation_is_refused_by_name() -> None:
    def bare(a: int, b) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    message = refusal_of(bare)
    assert message.startswith("parameter 'b' of ")
    assert "bare needs an annotation: it is a field" in message


def args(a: int, *args: int) -> None: ...
def kwargs(a: int, **kwargs: int) -> None: ...
def positional(a: int, /, b: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "parameter"), [(args, "*args: int"), (kwargs, "**kwargs: int"), (positional, "a: int")]
)
def test_parameters_that_cannot_be_fields_are_refused_and_shown(function: Callable[..., Any], parameter: str) -> None:
    assert refusal_of(function) == (
        f"{function.__name__} has the parameter {parameter}; a task's fields must be ordinary parameters"
    )


def unresolvable(a: "NotAtRunTime") -> None: ...
def no_attribute(a: "msgspec.Missing") -> None: ...  # type: ignore[name-defined]


@pytest.mark.parametrize("function", [unresolvable, no_attribute])
def test_annotations_that_cannot_be_resolved_are_refused_with_the_remedy(function: Callable[..., Any]) -> None:
    message = refusal_of(function)
    assert message.startswith(f"the annotations of {function.__name__} cannot be resolved (")
    assert message.endswith("); define them at module level")


class Callable_:  # noqa: N801 - a class with __call__
    def __call__(self, a: int) -> None: ...


@pytest.mark.parametrize("thing", [Callable_, Callable_(), add, None, 7, "add", len, TaskHandler], ids=range(8))
def test_what_is_no_plain_function_is_refused(thing: Any) -> None:
    decorate: Any = task
    with pytest.raises(HandlerError) as refusal:
        decorate(timeout=5.0)(thing)
    assert str(refusal.value) == f"@task decorates a plain function, not {thing!r}; for a class subclass TaskHandler"


def test_a_mutable_default_that_is_not_empty_is_refused() -> None:
    def collect(items: list[int] = [1]) -> None: ...  # noqa: B006 - refused

    assert "@task cannot make a task class of " in refusal_of(collect)


@pytest.mark.parametrize("option", ["aliases", "on_error", "critical", "hook_timeout", "pinned", "task_name"])
def test_options_that_only_classes_have_are_refused_with_the_class_as_remedy(option: str) -> None:
    assert refusal_of(args, **{option: 1}) == (
        f"@task does not know ['{option}']; write a TaskHandler class for hooks and other attributes"
    )


def test_a_name_of_none_means_the_usual_name() -> None:
    assert task(name=None)(add.function).handler.task_name == f"{__name__}.add"


@pytest.mark.parametrize(
    ("option", "value", "attribute"),
    [
        ("retry", 5, "retry"),
        ("timeout", 0, "timeout"),
        ("concurrency", 0, "concurrency"),
        ("queue", "", "queue"),
        ("codec", "pickle", "codec"),
        ("name", 7, "task_name"),
        ("name", "", "task_name"),
    ],
)
def test_an_option_without_meaning_is_refused_when_the_system_is_built(option: str, value: Any, attribute: str) -> None:
    decorate: Any = task
    with pytest.raises(HandlerError, match=rf"\.{attribute} = {value!r} has no meaning"):
        specify([decorate(**{option: value})(add.function)])


# Stored names


class Outer:
    @dataclass
    class Inner:
        amount: int


def test_a_stored_name_is_module_and_qualified_name() -> None:
    assert type_name(Outer.Inner) == f"{__name__}.Outer.Inner"
    assert type_name(add.function) == f"{__name__}.add"


PROGRAM = """
from dataclasses import dataclass
from everact.tasks.task import task, type_name

@dataclass
class Pay:
    amount: int

@task
def add(a: int) -> int:
    return a

print(type_name(Pay), add.handler.task_name)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program as the script `shop-1.py` and as the module `shop.work` of a package."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "shop-1.py").write_text(PROGRAM)
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "work.py").write_text(PROGRAM)
    return folder


@pytest.mark.parametrize(
    ("arguments", "standard_input", "module"),
    [
        (["shop-1.py"], "", "shop-1"),
        (["shop/work.py"], "", "work"),
        (["-m", "shop.work"], "", "shop.work"),
        (["-c", PROGRAM], "", "__main__"),
        (["-"], PROGRAM, "__main__"),
    ],
    ids=["script", "script in a package", "-m", "-c", "standard input"],
)
def test_a_program_finds_its_tasks_under_the_name_that_importing_it_would_give(
    program: Path, arguments: list[str], standard_input: str, module: str
) -> None:
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=program, input=standard_input, capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == [f"{module}.Pay", f"{module}.add"], ran.stderr
