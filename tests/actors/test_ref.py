"""References: what pykka's documentation says holds for both base classes; what is ours follows it."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import time
from typing import Any

import pykka
import pytest

import everact
from everact import Actor, ActorDead, AskCycle, AskTimeout, BlockingCallError

WAIT = 10.0


def make_echo(base: Any) -> Any:
    """An actor class that answers with what it is sent, and calls what can be called."""

    class Echo(base):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        def on_receive(self, message: Any) -> Any:
            self.seen.append(message)
            return message() if callable(message) else message

    return Echo


@pytest.fixture
def echo(base: Any) -> Any:
    """The reference of a running actor."""
    return make_echo(base).start()


class Opaque:
    """A message of no particular kind."""


@pytest.mark.parametrize("message", ["text", 1, None, {"a": 1}, ("a", "tuple"), Opaque(), Opaque])
def test_any_object_is_a_message_and_it_is_not_copied(echo: Any, message: Any) -> None:
    echo.tell(message)
    assert echo.proxy().seen.get()[0] is message


def test_tell_returns_at_once_with_nothing(echo: Any, gate: Any) -> None:
    assert echo.tell(gate.pass_through) is None
    assert echo.tell("behind it") is None


def test_ask_waits_for_the_answer(echo: Any) -> None:
    assert echo.ask("hello") == "hello"
    assert echo.ask(lambda: None) is None


def test_ask_without_blocking_returns_a_future_at_once(echo: Any, gate: Any) -> None:
    future = echo.ask(gate.pass_through, block=False)
    assert isinstance(future, pykka.Future)
    gate.set()
    assert future.get(timeout=WAIT) is None


def test_ask_gives_up_when_its_time_is_over_and_the_message_is_handled_all_the_same(echo: Any, gate: Any) -> None:
    with pytest.raises(pykka.Timeout):
        echo.ask(gate.pass_through, timeout=0.01)
    gate.set()
    assert echo.proxy().seen.get() == [gate.pass_through]


def test_ask_gives_up_on_a_future_of_its_own(echo: Any, gate: Any) -> None:
    future = echo.ask(gate.pass_through, block=False)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0.01)
    gate.set()
    assert future.get(timeout=WAIT) is None


def test_an_actor_is_alive_from_its_start_to_its_end(echo: Any) -> None:
    assert echo.is_alive()
    echo.stop()
    assert not echo.is_alive()


def test_stop_says_whether_it_was_this_call_that_stopped_the_actor(echo: Any) -> None:
    assert echo.stop() is True
    assert echo.stop() is False
    assert echo.stop(block=False).get(timeout=WAIT) is False


def test_stops_at_the_same_time_have_all_stopped_it(echo: Any, gate: Any) -> None:
    echo.tell(gate.pass_through)
    stops = [echo.stop(block=False) for _ in range(3)]
    gate.set()
    assert [stop.get(timeout=WAIT) for stop in stops] == [True, True, True]


def test_stop_gives_up_when_its_time_is_over_and_the_actor_ends_all_the_same(echo: Any, gate: Any) -> None:
    echo.tell(gate.pass_through)
    with pytest.raises(pykka.Timeout):
        echo.stop(timeout=0.01)
    gate.set()
    assert echo.actor_stopped.wait(WAIT)


def test_an_actor_that_has_ended_answers_every_ask_with_an_error(echo: Any) -> None:
    echo.stop()
    with pytest.raises(pykka.ActorDeadError):
        echo.ask("anybody?")
    future = echo.ask("anybody?", block=False)
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=WAIT)
    with pytest.raises(pykka.ActorDeadError):
        echo.tell("anybody?")


def test_a_reference_names_class_and_urn(echo: Any) -> None:
    assert str(echo) == f"Echo ({echo.actor_urn})"
    assert repr(echo) == f"<ActorRef for Echo ({echo.actor_urn})>"
    assert echo.actor_class.__name__ == "Echo"


def test_a_reference_equals_itself_and_no_other_and_can_be_a_key(base: Any) -> None:
    first, second = make_echo(base).start(), make_echo(base).start()
    assert {first: 1, second: 2}[first] == 1
    assert first != second
    assert first.ask(lambda: first) is first


def test_actors_find_each_other_by_references_in_messages(base: Any) -> None:
    class Forwarder(base):
        def on_receive(self, message: Any) -> Any:
            to, what = message
            return to.ask(what)

    echo = make_echo(base).start()
    assert Forwarder.start().ask((echo, "hello")) == "hello"


def test_proxy_calls_can_be_sent_as_messages_of_their_own(echo: Any) -> None:
    echo.ask(pykka.messages.ProxySetAttr(("seen",), ["set"]))
    assert echo.ask(pykka.messages.ProxyGetAttr(("seen",))) == ["set"]
    assert echo.ask(pykka.messages.ProxyCall(("on_receive",), ("called",), {})) == "called"


# What is ours, and not pykka's


@pytest.fixture
def ours() -> Any:
    """The reference of a running actor on our base class."""
    return make_echo(Actor).start()


def test_the_errors_are_pykkas_and_everacts_and_pythons(ours: Any, gate: Any) -> None:
    with pytest.raises(AskTimeout) as late:
        ours.ask(gate.pass_through, timeout=0.01)
    assert isinstance(late.value, pykka.Timeout | TimeoutError | everact.EverActError)
    assert isinstance(late.value, TimeoutError)
    assert (late.value.actor, late.value.seconds) == (str(ours), 0.01)
    gate.set()
    ours.stop()
    with pytest.raises(ActorDead, match="has stopped; start or spawn it again") as dead:
        ours.tell("anybody?")
    assert isinstance(dead.value, pykka.ActorDeadError)


def test_an_ask_gives_up_after_30_seconds_unless_the_class_says_otherwise(ours: Any, gate: Any) -> None:
    assert ours.ask("hello", block=False)._deadline == 30.0

    class Impatient(make_echo(Actor)):  # type: ignore[misc]
        ask_timeout = 0.01

    ref = Impatient.start()
    with pytest.raises(AskTimeout, match=r"0\.01 seconds passed without a reply from Impatient"):
        ref.ask(gate.pass_through)
    with pytest.raises(AskTimeout):
        ref.ask("behind it", block=False).get()
    with pytest.raises(AskTimeout):
        ref.proxy().seen = []
    with pytest.raises(AskTimeout):
        ref.stop()


def test_a_class_may_let_asks_wait_for_ever() -> None:
    class Patient(make_echo(Actor)):  # type: ignore[misc]
        ask_timeout = None

    assert Patient.start().ask("hello", block=False)._deadline is None


def test_an_actor_that_asks_itself_is_told_so_instead_of_hanging(ours: Any) -> None:
    with pytest.raises(AskCycle, match="this ask would wait for itself: Echo .* -> Echo"):
        ours.ask(lambda: ours.ask("myself"))
    assert ours.ask("still there") == "still there"


def test_an_actor_that_waits_for_its_own_stop_is_told_so_and_stops(ours: Any) -> None:
    with pytest.raises(AskCycle):
        ours.ask(ours.stop)
    assert ours.actor_stopped.wait(WAIT)


def test_a_cycle_of_asks_is_told_with_its_path() -> None:
    first, second, third = (make_echo(Actor).start() for _ in range(3))
    with pytest.raises(AskCycle) as caught:
        first.ask(lambda: second.ask(lambda: third.ask(lambda: first.ask("round"))))
    assert caught.value.path == tuple(str(ref) for ref in (third, first, second, third))


def test_a_chain_of_asks_that_does_not_come_back_is_no_cycle() -> None:
    first, second, third = (make_echo(Actor).start() for _ in range(3))
    assert first.ask(lambda: (second.ask(lambda: third.ask(1)), third.ask(2))) == (1, 2)


def test_an_async_actor_that_waits_for_two_at_once_is_in_no_cycle_with_one_that_it_waits_for_no_more() -> None:
    class Asking(Actor):
        async def on_receive(self, message: Any) -> Any:
            if callable(message):
                return await message()
            return message

    asker, slow, quick = (Asking.start() for _ in range(3))
    given_up = asyncio.Event()
    answers: list[Any] = []

    async def ask_back() -> None:
        await given_up.wait()
        answers.append(await asker.ask("hello", block=False))

    async def answer() -> None:
        await asyncio.sleep(0)

    async def wait_for_both() -> None:
        first = asyncio.ensure_future(slow.ask(ask_back, block=False))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(quick.ask(answer, block=False))
        await asyncio.sleep(0)
        first.cancel()
        await second

    asker.ask(wait_for_both, timeout=WAIT)

    async def let_go() -> None:
        given_up.set()

    quick.ask(let_go, timeout=WAIT)
    assert slow.ask(answer, timeout=WAIT) is None
    assert answers == ["hello"]
    assert asker._cell.waits_for == []


def test_a_reply_that_somebody_else_has_set_does_not_hurt_the_actor(ours: Any, gate: Any) -> None:
    reply = ours.ask(gate.pass_through, block=False)
    reply.set("cancelled")
    gate.set()
    assert reply.get() == "cancelled"
    assert ours.ask("still there", timeout=WAIT) == "still there"


def test_a_blocking_call_on_everacts_loop_is_refused_before_anything_is_sent(ours: Any) -> None:
    class Careless(Actor):
        async def on_receive(self, message: str) -> str:
            try:
                getattr(ours, message)(*(["sent"] if message == "ask" else []))
            except BlockingCallError as error:
                return str(error)
            return "went through"

    careless = Careless.start()
    assert "ActorRef.ask() blocks, and was called on everact's event loop thread" in careless.ask("ask")
    assert "ActorRef.stop() blocks" in careless.ask("stop")
    assert ours.proxy().seen.get() == []
    assert ours.is_alive()


def test_a_reference_belongs_to_its_process(ours: Any) -> None:
    with pytest.raises(TypeError, match="is an address inside this process"):
        pickle.dumps(ours)
    with pytest.raises(TypeError, match="is an address inside this process"):
        copy.deepcopy(ours)


@pytest.mark.parametrize("pinned", [True, False])
def test_every_ask_is_answered_whatever_it_meets_while_the_actor_stops(*, pinned: bool) -> None:
    """Pykka's ask looks at the flag, then puts: one that comes in between waits for ever. See test_mailbox."""

    class Brief(Actor):
        def on_receive(self, message: Any) -> Any:
            return message

    Brief.pinned = pinned
    answered = refused = 0
    for _ in range(100):
        ref = Brief.start()
        futures: list[Any] = []
        ready = threading.Barrier(2)

        def ask(ref: Any = ref, futures: list[Any] = futures, ready: threading.Barrier = ready) -> None:
            ready.wait()
            futures.extend(ref.ask(number, block=False) for number in range(20))

        thread = threading.Thread(target=ask)
        thread.start()
        ready.wait()
        ref.stop()
        thread.join()
        for number, future in enumerate(futures):
            try:
                assert future.get(timeout=WAIT) == number
                answered += 1
            except ActorDead:
                refused += 1
    assert answered + refused == 2000


def test_a_timeout_of_nothing_asks_whether_the_reply_is_there(ours: Any, gate: Any) -> None:
    future = ours.ask(gate.pass_through, block=False)
    started = time.monotonic()
    with pytest.raises(AskTimeout):
        future.get(timeout=0)
    assert time.monotonic() - started < WAIT
