"""The handler base class, and `bind`."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from everact.supervision.intensity import Intensity
from everact.tasks.context import TaskContext
from everact.tasks.errors import HandlerError
from everact.tasks.handler import HOOKS, Binding, TaskHandler, bind
from everact.tasks.registration import HandlerSpec, specify
from everact.tasks.retry import Retry
from everact.tasks.task import task


@dataclass(frozen=True)
class Pay:
    amount: int


class PayHandler(TaskHandler[Pay]):
    def __init__(self, gateway: str = "none") -> None:
        self.gateway = gateway

    def handle(self, task: Pay, ctx: TaskContext) -> str:
        return self.gateway


@task
def ship(order: int) -> None: ...


def undecorated(amount: int) -> None: ...


def specified(**attributes: Any) -> HandlerSpec:
    (spec,) = specify([type("Custom", (PayHandler,), attributes)])
    return spec


# Attributes


def test_the_defaults_of_a_handler_are_those_of_the_design() -> None:
    spec = specified()
    assert (spec.retry, spec.timeout, spec.hook_timeout) == (Retry(), None, 30.0)
    assert (spec.concurrency, spec.queue, spec.codec) == (1, "default", "json")
    assert (spec.aliases, spec.intensity, spec.pinned) == ((), None, False)


def test_attributes_are_taken_over_as_they_are_set() -> None:
    retry, intensity = Retry(attempts=9), Intensity(5, within=10)
    spec = specified(
        retry=retry,
        timeout=2.5,
        hook_timeout=7,
        concurrency=3,
        queue="slow",
        codec="cloudpickle",
        task_name="shop.Pay",
        aliases=["shop.OldPay"],
        intensity=intensity,
        pinned=True,
    )
    assert (spec.retry, spec.timeout, spec.hook_timeout) == (retry, 2.5, 7)
    assert (spec.concurrency, spec.queue, spec.codec) == (3, "slow", "cloudpickle")
    assert (spec.name, spec.aliases) == ("shop.Pay", ("shop.OldPay",))
    assert (spec.intensity, spec.pinned) == (intensity, True)


def test_attributes_are_inherited() -> None:
    class Careful(PayHandler):
        retry = Retry(attempts=9)

    class MoreCareful(Careful):
        timeout = 5.0

    (spec,) = specify([MoreCareful])
    assert (spec.retry.attempts, spec.timeout) == (9, 5.0)


def test_attributes_are_read_when_the_system_is_built() -> None:
    class Changing(PayHandler):
        pass

    (spec,) = specify([Changing])
    Changing.concurrency = 5
    assert spec.concurrency == 1


BAD = [
    ("retry", None, "a Retry(...)"),
    ("retry", 5, "a Retry(...)"),
    ("retry", Retry, "a Retry(...)"),
    ("timeout", 0, "a positive number of seconds, or None"),
    ("timeout", -1.0, "a positive number of seconds, or None"),
    ("timeout", math.inf, "a positive number of seconds, or None"),
    ("timeout", math.nan, "a positive number of seconds, or None"),
    ("timeout", "60", "a positive number of seconds, or None"),
    ("timeout", True, "a positive number of seconds, or None"),  # means one second, and was not meant to
    ("hook_timeout", None, "a positive number of seconds"),
    ("hook_timeout", 0, "a positive number of seconds"),
    ("hook_timeout", "30", "a positive number of seconds"),
    ("hook_timeout", True, "a positive number of seconds"),
    ("concurrency", 0, "a whole number of at least 1"),
    ("concurrency", -1, "a whole number of at least 1"),
    ("concurrency", 2.0, "a whole number of at least 1"),
    ("concurrency", True, "a whole number of at least 1"),
    ("concurrency", None, "a whole number of at least 1"),
    ("queue", "", "a non-empty string"),
    ("queue", None, "a non-empty string"),
    ("queue", 7, "a non-empty string"),
    ("task_name", "", "a non-empty string, or None"),
    ("task_name", Pay, "a non-empty string, or None"),
    ("aliases", "old.Pay", "a tuple of names"),
    ("aliases", ("old.Pay", ""), "a tuple of names"),
    ("aliases", (Pay,), "a tuple of names"),
    ("aliases", None, "a tuple of names"),
    ("codec", "pickle", "one of"),
    ("codec", None, "one of"),
    ("codec", "JSON", "one of"),
    ("intensity", 3, ""),
    ("intensity", (3, 60), ""),
    ("pinned", "yes", ""),
]


@pytest.mark.parametrize(("name", "value", "wanted"), BAD, ids=lambda value: repr(value)[:30])
def test_an_attribute_without_meaning_is_refused_with_handler_name_and_what_it_must_be(
    name: str, value: Any, wanted: str
) -> None:
    with pytest.raises(HandlerError) as refusal:
        specified(**{name: value})
    assert f"Custom.{name} = {value!r} has no meaning; it must be {wanted}" in str(refusal.value)


def test_a_handler_that_opens_something_at_start_keeps_its_thread_unless_it_says_otherwise() -> None:
    def on_actor_start(self: object) -> None: ...

    assert specified(on_actor_start=on_actor_start).pinned
    assert not specified(on_actor_start=on_actor_start, pinned=False).pinned
    assert not specified(on_actor_stop=on_actor_start).pinned


@pytest.mark.parametrize("hook", HOOKS)
def test_only_hooks_that_are_overridden_are_listed(hook: str) -> None:
    def own(self: object, *args: object) -> None: ...

    assert specified(**{hook: own}).hooks == {hook}


def test_the_hooks_of_the_base_class_do_nothing_and_return_nothing() -> None:
    handler: Any = PayHandler()
    arguments = {"on_retry": (None, 1, ValueError(), 0.5), "on_error": (None, ValueError())}
    for hook in HOOKS:
        given = arguments.get(hook, () if "actor" in hook else (None,))
        assert getattr(handler, hook)(*given) is None


def test_a_handle_that_was_not_written_is_not_implemented() -> None:
    ctx: Any = None
    with pytest.raises(NotImplementedError):
        TaskHandler[Pay]().handle(Pay(1), ctx)


# bind


def test_a_bound_handler_is_made_by_its_factory_anew_each_time() -> None:
    gateways = iter(["first", "second"])
    (spec,) = specify([bind(PayHandler, lambda: PayHandler(next(gateways)))])
    ctx: Any = None
    assert [spec.make().handle(Pay(1), ctx) for _ in range(2)] == ["first", "second"]


def test_the_factory_is_not_called_at_registration() -> None:
    def factory() -> PayHandler:
        raise AssertionError

    (spec,) = specify([bind(PayHandler, factory)])
    assert spec.task_type is Pay


def test_a_binding_takes_attributes_and_task_type_from_the_class() -> None:
    class Slow(PayHandler):
        queue = "slow"

    (spec,) = specify([bind(Slow, lambda: Slow("gateway"))])
    assert (spec.queue, spec.task_type) == ("slow", Pay)


def test_a_subclass_of_the_bound_class_may_be_its_factory() -> None:
    class Special(PayHandler):
        pass

    binding: Binding = bind(PayHandler, Special)
    (spec,) = specify([binding])
    assert isinstance(spec.make(), Special)


@pytest.mark.parametrize(
    "handler", [PayHandler(), "PayHandler", Pay, undecorated, ship, None], ids=lambda h: repr(h)[:20]
)
def test_bind_refuses_what_is_no_handler_class(handler: Any) -> None:
    with pytest.raises(HandlerError) as refusal:
        bind(handler, PayHandler)
    assert str(refusal.value) == f"bind() takes a TaskHandler class first, not {handler!r}"


@pytest.mark.parametrize("factory", [PayHandler("gateway"), None, "gateway"], ids=lambda f: type(f).__name__)
def test_bind_refuses_an_instance_in_place_of_a_factory_and_shows_how_to_write_one(factory: Any) -> None:
    with pytest.raises(HandlerError) as refusal:
        bind(PayHandler, factory)
    assert "bind(PayHandler, ...) takes a factory, e.g. lambda: PayHandler(gateway), not " in str(refusal.value)
