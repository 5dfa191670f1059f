"""Futures: what pykka's documentation says holds for both classes; what is ours follows it."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pykka
import pytest

import everact
from everact import Actor, ActorDead, AskTimeout, BlockingCallError, Future

WAIT = 10.0


@pytest.fixture
def future(future_class: Any) -> Any:
    """A future that nobody has set."""
    return future_class()


def failure(error: BaseException) -> Any:
    """What `sys.exc_info()` is where an error is handled."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


# Set and get


@pytest.mark.parametrize("value", [1, None, [1, 2], ValueError("a value like any other")])
def test_a_value_can_be_got_any_number_of_times(future: Any, value: Any) -> None:
    future.set(value)
    assert future.get() is value
    assert future.get(timeout=0.01) is value


def test_getting_waits_until_it_is_set(future: Any) -> None:
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(future.get(timeout=WAIT))) for _ in range(3)]
    for thread in threads:
        thread.start()
    future.set("value")
    for thread in threads:
        thread.join()
    assert got == ["value"] * 3


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_getting_gives_up_when_its_time_is_over(future: Any, timeout: float) -> None:
    with pytest.raises(pykka.Timeout):
        future.get(timeout=timeout)
    future.set("later")
    assert future.get(timeout=timeout) == "later"


def test_an_exception_is_raised_by_every_get(future: Any) -> None:
    error = ValueError("oops")
    future.set_exception(failure(error))
    for _ in range(2):
        with pytest.raises(ValueError, match="oops") as caught:
            future.get()
        assert caught.value is error


def test_the_exception_that_is_being_handled_is_the_default(future: Any) -> None:
    error = ValueError("oops")
    try:
        raise error
    except ValueError:
        future.set_exception()
    with pytest.raises(ValueError, match="oops"):
        future.get()


def test_an_exception_class_without_an_instance_is_raised_as_one(future: Any) -> None:
    future.set_exception((KeyError, None, None))
    with pytest.raises(KeyError):
        future.get()


def test_the_traceback_leads_to_where_the_exception_was_raised_and_does_not_grow(future: Any) -> None:
    future.set_exception(failure(ValueError("oops")))

    def frames() -> list[str]:
        try:
            future.get()
        except ValueError as error:
            return [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return []

    assert frames()[-1] == "failure"
    assert frames() == frames()


def test_setting_twice_is_an_error(future: Any) -> None:
    future.set(1)
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_exception(failure(ValueError()))
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda _: 3)
    assert future.get() == 1


def test_a_future_may_be_the_value_of_another(future_class: Any) -> None:
    inner, outer = future_class(), future_class()
    outer.set(inner)
    inner.set("inside")
    assert outer.get().get() == "inside"


# Hooks


def test_a_get_hook_makes_the_value_once_and_is_given_the_timeout(future: Any) -> None:
    timeouts: list[Any] = []

    def hook(timeout: float | None) -> None:
        timeouts.append(timeout)

    future.set_get_hook(hook)
    assert future.get(timeout=2.5) is None
    assert future.get() is None
    assert timeouts == [2.5]


def test_a_get_hook_that_raises_is_asked_again(future: Any) -> None:
    answers = iter([ValueError("not yet"), None])

    def hook(_: float | None) -> str:
        error = next(answers)
        if error:
            raise error
        return "now"

    future.set_get_hook(hook)
    with pytest.raises(ValueError, match="not yet"):
        future.get()
    assert future.get() == "now"


def test_a_future_with_a_hook_cannot_be_set_but_takes_another_hook(future: Any) -> None:
    future.set_get_hook(lambda _: 1)
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_exception(failure(ValueError()))
    future.set_get_hook(lambda _: 3)
    assert future.get() == 3


# Derived futures


def test_map_passes_the_whole_value_through_a_function(future: Any) -> None:
    mapped = future.map(lambda value: value["field"])
    future.set({"field": "of a dict"})
    assert mapped.get() == "of a dict"


def test_filter_keeps_the_items_for_which_the_function_is_true(future: Any) -> None:
    filtered = future.filter(lambda item: item > 10)
    future.set(range(5, 13))
    assert filtered.get() == [11, 12]
    assert list(future.get()) == list(range(5, 13))


def test_join_lists_the_values_of_all(future_class: Any) -> None:
    first, second, third = (future_class() for _ in range(3))
    joined = first.join(second, third)
    third.set(3)
    second.set(2)
    first.set(1)
    assert joined.get() == [1, 2, 3]


@pytest.mark.parametrize(
    ("items", "start", "result"), [([1, 2, 3], (), 6), ([1, 2, 3], (5,), 11), ([], (5,), 5), (["a", "b"], (), "ab")]
)
def test_reduce_folds_the_items_from_the_left(future: Any, items: Any, start: Any, result: Any) -> None:
    reduced = future.reduce(lambda folded, item: folded + item, *start)
    future.set(items)
    assert reduced.get() == result


@pytest.mark.parametrize("derive", ["filter", "reduce"])
def test_what_needs_items_raises_when_there_are_none(future: Any, derive: str) -> None:
    derived = getattr(future, derive)(lambda *_: True)
    future.set(1)
    with pytest.raises(TypeError):
        derived.get()


DERIVED: list[Any] = [
    lambda future, called: future.map(lambda value: called.append(1) or value),
    lambda future, called: future.filter(lambda item: not called.append(1)),
    lambda future, called: future.reduce(lambda folded, item: called.append(1) or item),
]


@pytest.mark.parametrize("derive", DERIVED, ids=["map", "filter", "reduce"])
def test_what_was_derived_once_is_not_derived_again(future: Any, derive: Callable[..., Any]) -> None:
    called: list[int] = []
    derived = derive(future, called)
    future.set([1, 2])
    assert called == []
    first = derived.get()
    times = len(called)
    assert derived.get() == first
    assert len(called) == times > 0


@pytest.mark.parametrize("derive", DERIVED, ids=["map", "filter", "reduce"])
def test_a_derived_future_gives_up_as_its_source_does_and_can_be_asked_again(
    future: Any, derive: Callable[..., Any]
) -> None:
    derived = derive(future, [])
    with pytest.raises(pykka.Timeout):
        derived.get(timeout=0.01)
    future.set([1])
    derived.get(timeout=WAIT)


def test_what_the_function_raises_is_raised_by_get(future: Any) -> None:
    mapped = future.map(lambda value: 1 / value)
    future.set(0)
    with pytest.raises(ZeroDivisionError):
        mapped.get()


def test_derived_futures_can_be_derived_from(future: Any) -> None:
    text = future.filter(lambda item: item % 2).map(sum).map(str)
    future.set(range(6))
    assert text.get() == "9"


def test_get_all_lists_the_values_of_all(future_class: Any) -> None:
    futures = [future_class() for _ in range(3)]
    for number, future in enumerate(futures):
        future.set(number)
    assert pykka.get_all(futures) == pykka.get_all(futures) == [0, 1, 2]


def test_get_all_gives_up_if_one_is_missing(future_class: Any) -> None:
    futures = [future_class() for _ in range(3)]
    futures[0].set(0)
    with pytest.raises(pykka.Timeout):
        pykka.get_all(futures, timeout=0.01)


# await


def test_a_coroutine_can_await_a_future(future: Any) -> None:
    async def get() -> Any:
        return await future

    future.set("value")
    assert asyncio.run(get()) == "value"


def test_a_generator_can_yield_from_a_future(future: Any) -> None:
    def get() -> Any:
        return (yield from future)

    future.set("value")

    def drive(steps: Any) -> None:
        while True:
            next(steps)

    with pytest.raises(StopIteration) as end:
        drive(get())
    assert end.value.value == "value"


def test_a_coroutine_that_no_loop_drives_can_await_a_future(future: Any) -> None:
    async def get() -> Any:
        return await future

    future.set("value")
    coroutine = get()
    coroutine.send(None)
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    assert end.value.value == "value"


# What is ours, and not pykka's


async def ticking(awaited: Any) -> tuple[Any, int]:
    """Await something, and count how often the loop comes round meanwhile."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticker = asyncio.ensure_future(tick())
    try:
        return await awaited, ticks
    finally:
        ticker.cancel()


def set_later(future: Any, value: Any) -> None:
    threading.Timer(0.1, future.set, (value,)).start()


def hooked(future: Any) -> Any:
    made: Future[Any] = Future()
    made.set_get_hook(lambda timeout: future.get(timeout=timeout))
    return made


def joined_with_stock(future: Any) -> Any:
    stock: pykka.Future[Any] = pykka.ThreadingFuture()
    stock.set_get_hook(lambda timeout: future.get(timeout=timeout))
    there: Any = Future()
    there.set(1)
    return there.join(stock).map(lambda values: values[1])


AWAITED: dict[str, Callable[[Any], Any]] = {
    "itself": lambda future: future,
    "map": lambda future: future.map(lambda value: value),
    "join": lambda future: future.join(Future.map(future, len)).map(lambda values: values[0]),
    "hook": hooked,
    "join with pykka's": joined_with_stock,
}


@pytest.mark.parametrize("kind", AWAITED)
def test_awaiting_does_not_block_the_loop(kind: str) -> None:
    future: Future[Any] = Future()
    set_later(future, [1, 2])
    value, ticks = asyncio.run(ticking(AWAITED[kind](future)))
    assert value == [1, 2]
    assert ticks > 5


def test_the_count_of_ticks_finds_an_await_that_blocks_the_loop() -> None:
    future: Any = pykka.ThreadingFuture()
    set_later(future, [1, 2])
    value, ticks = asyncio.run(ticking(future))
    assert value == [1, 2]
    assert ticks <= 1


def test_replies_can_be_gathered_and_given_up_as_any_awaitable() -> None:
    class Echo(Actor):
        def on_receive(self, message: Any) -> Any:
            return message() if callable(message) else message

    async def ask(never: Future[Any]) -> list[Any]:
        ref = Echo.start()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(never, 0.01)
        return await asyncio.gather(*(ref.ask(number, block=False) for number in range(5)))

    assert asyncio.run(ask(Future())) == [0, 1, 2, 3, 4]


def test_an_awaited_reply_raises_what_the_actor_raised() -> None:
    class Failing(Actor):
        def on_receive(self, message: Any) -> None:
            raise ValueError(message)

    async def ask() -> None:
        await Failing.start().ask("oops", block=False)

    with pytest.raises(ValueError, match="oops"):
        asyncio.run(ask())


def test_an_awaited_reply_has_a_deadline_as_well(gate: Any) -> None:
    class Slow(Actor):
        ask_timeout = 0.05

        def on_receive(self, message: Any) -> None:
            gate.pass_through()

    async def ask() -> None:
        await Slow.start().ask("anything", block=False)

    with pytest.raises(AskTimeout, match=r"0\.05 seconds passed without a reply from Slow"):
        asyncio.run(ask())


def test_an_actor_that_ends_answers_those_who_await_it(gate: Any) -> None:
    class Slow(Actor):
        def on_receive(self, message: Any) -> None:
            gate.pass_through()

    async def ask() -> None:
        ref = Slow.start()
        ref.tell("block")
        ref.stop(block=False)
        reply = ref.ask("never", block=False)
        gate.set()
        await reply

    with pytest.raises(ActorDead):
        asyncio.run(ask())


def test_a_loop_that_was_closed_while_it_waited_hurts_nobody() -> None:
    future: Future[Any] = Future()

    async def give_up() -> None:
        waiting = asyncio.ensure_future(future._arrival())
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(give_up())
    future.set("late")
    assert future.get() == "late"


def test_a_future_that_nobody_was_asked_for_waits_for_ever_as_pykkas_does() -> None:
    future: Future[str] = Future()
    assert future._deadline is None
    set_later(future, "value")
    assert future.get() == "value"


def test_settling_says_whether_it_was_first_and_never_raises() -> None:
    future: Future[int] = Future()
    assert future.settle(1) is True
    assert future.settle(2) is False
    assert future.fail(ValueError()) is False
    assert future.get() == 1


def test_exactly_one_of_many_who_set_a_future_at_once_wins() -> None:
    for _ in range(200):
        future: Future[int] = Future()
        ready = threading.Barrier(3)
        won: list[int] = []

        def settle(number: int, future: Any = future, ready: Any = ready, won: list[int] = won) -> None:
            ready.wait()
            if future.settle(number):
                won.append(number)

        threads = [threading.Thread(target=settle, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [future.get()]


def test_getting_on_everacts_event_loop_is_refused() -> None:
    class Careless(Actor):
        async def on_receive(self, future: Future[Any]) -> str:
            try:
                future.get()
            except BlockingCallError as error:
                return str(error)
            return "got"

    ref = Careless.start()
    assert "Future.get() blocks" in ref.ask(Future())
    there: Future[int] = Future()
    there.set(1)
    assert ref.ask(there) == "got"  # what is there does not block


def test_the_timeout_of_a_join_is_for_all_of_them_together() -> None:
    timeouts: list[Any] = []
    futures: list[Future[None]] = [Future() for _ in range(3)]
    for future in futures:
        future.set_get_hook(lambda timeout: timeouts.append(timeout) or time.sleep(0.01))  # type: ignore[func-returns-value]
    futures[0].join(*futures[1:]).get(timeout=WAIT)
    assert WAIT >= timeouts[0] > timeouts[1] > timeouts[2]


def test_an_exception_outside_an_except_block_is_told() -> None:
    future: Future[int] = Future()
    future.set_exception()
    with pytest.raises(RuntimeError, match="outside an except block"):
        future.get()


def test_its_repr_says_whose_it_is() -> None:
    assert repr(everact.Future()) == "<everact.Future>"


def test_who_waits_shortly_for_a_derived_future_is_not_held_up_by_who_waits_long() -> None:
    source: Future[int] = Future()
    derived = source.map(lambda value: value + 1)
    patient = threading.Thread(target=lambda: derived.get(timeout=WAIT))
    patient.start()
    while not source._callbacks:  # until it waits
        time.sleep(0.001)
    begun = time.monotonic()
    with pytest.raises(AskTimeout):
        derived.get(timeout=0.01)
    assert time.monotonic() - begun < WAIT / 2
    source.set(1)
    patient.join(WAIT)
    assert derived.get() == 2
