"""Actors that stand alone: what pykka's documentation says holds for both base classes; what is ours follows it."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from everact import Actor, ActorDead, ActorSystem, Backoff, ChildSpec, ConfigurationError, Restart

WAIT = 10.0


def make_diarist(base: Any) -> Any:
    """An actor class that writes down what happens to it, and in which thread."""

    class Diarist(base):
        def __init__(self, diary: list[Any], *, fails_in: str = "") -> None:
            super().__init__()
            self.diary = diary
            self.fails_in = fails_in
            self.write("init")

        def write(self, entry: Any) -> None:
            self.diary.append((entry, threading.current_thread()))
            if entry == self.fails_in:
                msg = f"failed in {entry}"
                raise ValueError(msg)

        def on_start(self) -> None:
            self.write("on_start")

        def on_stop(self) -> None:
            self.write("on_stop")

        def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
            self.failure = (exception_type, exception_value, traceback)
            self.write("on_failure")

        def on_receive(self, message: Any) -> Any:
            if callable(message):
                return message()
            self.write(message)
            return message

    return Diarist


def entries(diary: list[Any]) -> list[Any]:
    return [entry for entry, _ in diary]


def ended(ref: Any) -> bool:
    """Wait for the end of an actor, its last hook included: for whoever waits for its thread."""
    stopped = bool(ref.actor_stopped.wait(WAIT))
    thread = next((each for each in threading.enumerate() if each.name.startswith(ref.actor_class.__name__)), None)
    if thread is not None:
        thread.join(WAIT)
    return stopped


# The start


def test_init_runs_in_the_thread_that_starts_the_actor_and_all_the_rest_in_the_actors_own(base: Any) -> None:
    diary: list[Any] = []
    ref = make_diarist(base).start(diary)
    ref.ask("message")
    ref.stop()
    ended(ref)
    assert entries(diary) == ["init", "on_start", "message", "on_stop"]
    first, *rest = [thread for _, thread in diary]
    assert first is threading.current_thread()
    assert len(set(rest)) == 1
    assert rest[0] is not first


def test_the_arguments_of_start_are_those_of_init(base: Any) -> None:
    class Greeter(base):
        def __init__(self, greeting: str, *, mark: str = ".") -> None:
            super().__init__()
            self.greeting = greeting + mark

        def on_receive(self, message: Any) -> str:
            return str(self.greeting)

    assert Greeter.start("Good morning", mark="!").ask("anything") == "Good morning!"


def test_the_init_of_the_base_takes_whatever_arguments(base: Any) -> None:
    class Passing(base):
        def __init__(self) -> None:
            super().__init__(1, 2, three=3)

    assert Passing.start().is_alive()


def test_what_init_raises_reaches_the_starter_and_nothing_is_started(base: Any) -> None:
    with pytest.raises(ValueError, match="failed in init"):
        make_diarist(base).start([], fails_in="init")
    assert pykka.ActorRegistry.get_all() == []


def test_an_actor_may_be_made_of_two_whose_inits_both_call_that_of_the_base(base: Any) -> None:
    class Left(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.left = self.actor_urn

    class Right(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.right = self.actor_urn

    class Both(Left, Right):
        def __init__(self) -> None:
            Left.__init__(self)
            Right.__init__(self)

        def on_receive(self, message: Any) -> Any:
            return message

    assert Both.start().ask("one actor") == "one actor"


def test_an_actor_may_start_others_in_its_init(base: Any) -> None:
    class Inner(base):
        def on_receive(self, message: Any) -> Any:
            return f"inner {message}"

    class Outer(base):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner.start()

        def on_receive(self, message: Any) -> Any:
            return self.inner.ask(message)

    assert Outer.start().ask("hello") == "inner hello"


def test_on_start_runs_once_the_actor_is_registered_and_before_its_first_message(base: Any, gate: Any) -> None:
    seen: list[Any] = []

    class Slow(base):
        def on_start(self) -> None:
            seen.append(pykka.ActorRegistry.get_by_urn(self.actor_urn) is self.actor_ref)
            gate.pass_through()
            seen.append("on_start")

        def on_receive(self, message: Any) -> None:
            seen.append(message)

    ref = Slow.start()
    ref.tell("first")
    gate.set()
    ref.stop()
    assert seen == [True, "on_start", "first"]


def test_messages_that_init_sends_to_the_actor_are_handled_after_on_start(base: Any) -> None:
    class Eager(base):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []
            self.actor_ref.tell("from init")

        def on_start(self) -> None:
            self.seen.append("on_start")

        def on_receive(self, message: Any) -> Any:
            self.seen.append(message)
            return self.seen

    assert Eager.start().ask("later") == ["on_start", "from init", "later"]


def test_a_failing_on_start_ends_the_actor_without_another_hook(base: Any, logs: pytest.LogCaptureFixture) -> None:
    diary: list[Any] = []
    ref = make_diarist(base).start(diary, fails_in="on_start")
    assert ended(ref)
    assert entries(diary) == ["init", "on_start"]
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is None
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("anything")
    (record,) = [each for each in logs.records if each.levelno == logging.ERROR]
    assert record.getMessage().startswith("Unhandled exception in Diarist (urn:uuid:")
    assert "failed in on_start" in (logs.text)


def test_an_actor_may_stop_itself_in_on_start_before_its_first_message(base: Any) -> None:
    seen: list[Any] = []

    class Brief(base):
        def on_start(self) -> None:
            self.stop()

        def on_receive(self, message: Any) -> None:
            seen.append(message)

    ref = Brief.start()
    assert ended(ref)
    assert seen == []


# Messages


def test_messages_are_handled_one_at_a_time_in_order_of_arrival(base: Any) -> None:
    class Adder(base):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        def on_receive(self, message: Any) -> Any:
            if message == "all":
                return self.seen
            self.seen.append(message)
            return None

    ref = Adder.start()
    for number in range(500):
        ref.tell(number)
    assert ref.ask("all") == list(range(500))


def test_a_message_without_a_handler_is_logged_and_answered_with_none(
    base: Any, logs: pytest.LogCaptureFixture
) -> None:
    class Silent(base):
        pass

    ref = Silent.start()
    assert ref.ask("hello?") is None
    (record,) = [each for each in logs.records if each.levelno == logging.WARNING]
    assert (record.name, record.getMessage()) == ("pykka", f"Unexpected message received by {ref}: hello?")


def test_what_an_ask_makes_fail_goes_to_who_asked_and_the_actor_goes_on(
    base: Any, logs: pytest.LogCaptureFixture
) -> None:
    diary: list[Any] = []
    ref = make_diarist(base).start(diary, fails_in="bad")
    with pytest.raises(ValueError, match="failed in bad"):
        ref.ask("bad")
    assert ref.ask("good") == "good"
    assert entries(diary) == ["init", "on_start", "bad", "good"]
    (record,) = [each for each in logs.records if each.levelno == logging.INFO]
    assert record.getMessage() == f"Exception returned from {ref} to caller:"


def test_what_a_tell_makes_fail_ends_the_actor_through_on_failure(base: Any, logs: pytest.LogCaptureFixture) -> None:
    diary: list[Any] = []
    told: list[Any] = []

    class Failing(make_diarist(base)):  # type: ignore[misc]
        def on_failure(self, *args: Any) -> None:
            told.append((*args, self.actor_ref.is_alive(), pykka.ActorRegistry.get_all()))

    ref = Failing.start(diary, fails_in="bad")
    ref.tell("bad")
    assert ended(ref)
    ((kind, error, traceback, was_alive, registered),) = told
    assert (kind, str(error), was_alive, registered) == (ValueError, "failed in bad", False, [])
    assert traceback is error.__traceback__
    assert entries(diary) == ["init", "on_start", "bad"]
    (record,) = [each for each in logs.records if each.levelno == logging.ERROR]
    assert record.getMessage() == f"Unhandled exception in {ref}:"


def test_after_a_failure_no_message_is_handled_and_who_asked_is_told(base: Any, gate: Any) -> None:
    diary: list[Any] = []
    ref = make_diarist(base).start(diary, fails_in="bad")
    ref.tell(gate.pass_through)
    ref.tell("bad")
    ref.tell("never")
    asked = ref.ask("never either", block=False)
    gate.set()
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=WAIT)
    assert "never" not in entries(diary)
    assert "never either" not in entries(diary)
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("too late")


@pytest.mark.parametrize("hook", ["on_stop", "on_failure"])
def test_what_the_last_hook_raises_is_logged_and_the_actor_has_ended(
    base: Any, hook: str, logs: pytest.LogCaptureFixture
) -> None:
    class Clumsy(base):
        def on_stop(self) -> None:
            msg = "no way to stop"
            raise RuntimeError(msg)

        def on_failure(self, *args: Any) -> None:
            msg = "no way to fail"
            raise RuntimeError(msg)

        def on_receive(self, message: Any) -> None:
            raise KeyError(message)

    ref = Clumsy.start()
    if hook == "on_stop":
        ref.stop()
    else:
        ref.tell("fail")
    assert ended(ref)
    assert not ref.is_alive()
    errors = [each for each in logs.records if each.levelno == logging.ERROR]
    assert {each.getMessage() for each in errors} == {f"Unhandled exception in {ref}:"}
    assert "no way to" in str(errors[-1].exc_info)


# The end


def test_on_stop_runs_after_the_last_message_when_the_actor_counts_as_stopped(base: Any) -> None:
    seen: list[Any] = []

    class Tidy(base):
        def on_stop(self) -> None:
            seen.append(("on_stop", self.actor_stopped.is_set(), pykka.ActorRegistry.get_all()))

        def on_receive(self, message: Any) -> None:
            seen.append(message)

    ref = Tidy.start()
    ref.tell("last")
    ref.stop()
    assert seen == ["last", ("on_stop", True, [])]


def test_an_actor_handles_what_it_has_before_its_own_stop_takes_effect(base: Any, gate: Any) -> None:
    diary: list[Any] = []

    class Quitter(make_diarist(base)):  # type: ignore[misc]
        def quit(self) -> None:
            gate.pass_through()
            self.stop()

    ref = Quitter.start(diary)
    ref.tell(ref._actor_weakref().quit)
    ref.tell("in time")
    gate.set()
    assert ended(ref)
    assert entries(diary) == ["init", "on_start", "in time", "on_stop"]


def test_an_actor_may_stop_itself_more_than_once(base: Any) -> None:
    class Insistent(base):
        def on_receive(self, message: Any) -> None:
            self.stop()
            self.stop()

    ref = Insistent.start()
    ref.tell("go")
    assert ended(ref)


def test_what_is_sent_before_a_stop_is_handled_and_what_is_sent_after_it_is_refused(base: Any, gate: Any) -> None:
    diary: list[Any] = []
    ref = make_diarist(base).start(diary)
    ref.tell(gate.pass_through)
    before = ref.ask("before", block=False)
    stopped = ref.stop(block=False)
    after = ref.ask("after", block=False)
    gate.set()
    assert before.get(timeout=WAIT) == "before"
    assert stopped.get(timeout=WAIT) is True
    with pytest.raises(pykka.ActorDeadError):
        after.get(timeout=WAIT)
    assert "after" not in entries(diary)


def test_a_message_told_after_the_end_raises(base: Any) -> None:
    ref = make_diarist(base).start([])
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("anybody?")


# The registry


def test_an_actor_is_in_the_registry_from_its_start_to_its_end(base: Any) -> None:
    class Superclass(base):
        pass

    class Listed(Superclass):
        pass

    registry: Any = pykka.ActorRegistry
    ref = Listed.start()
    for found in (registry.get_all(), registry.get_by_class(Superclass), registry.get_by_class_name("Listed")):
        assert found == [ref]
    assert registry.get_by_urn(ref.actor_urn) is ref
    ref.stop()
    assert registry.get_all() == []
    assert registry.get_by_urn(ref.actor_urn) is None


def test_a_broadcast_reaches_the_actors_of_a_class(base: Any) -> None:
    first, second = (make_diarist(base).start(list[Any]()) for _ in range(2))
    pykka.ActorRegistry.broadcast("to all")
    pykka.ActorRegistry.broadcast("to these", first.actor_class)
    pykka.ActorRegistry.broadcast("to those", "Diarist")
    assert entries(first.proxy().diary.get())[2:] == ["to all", "to these", "to those"]
    assert entries(second.proxy().diary.get())[2:] == ["to all", "to those"]


def test_stop_all_stops_the_last_started_first(base: Any) -> None:
    order: list[int] = []

    class Numbered(base):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def on_stop(self) -> None:
            order.append(self.number)

    for number in range(3):
        Numbered.start(number)
    assert pykka.ActorRegistry.stop_all() == [True, True, True]
    assert order == [2, 1, 0]


def test_an_actor_of_a_system_is_not_in_pykkas_registry() -> None:
    with ActorSystem() as system:
        system.spawn(Actor, name="hidden")
        assert pykka.ActorRegistry.get_all() == []


# The instance


def test_every_actor_has_a_urn_of_its_own_and_is_called_by_class_and_urn(base: Any) -> None:
    class Named(base):
        pass

    first, second = Named.start(), Named.start()
    assert first.actor_urn.startswith("urn:uuid:")
    assert first.actor_urn != second.actor_urn
    assert str(first) == str(first._actor_weakref()) == f"Named ({first.actor_urn})"


def test_an_actor_made_by_hand_can_be_tried_out_without_being_started(base: Any) -> None:
    class Doubler(base):
        def on_receive(self, message: int) -> int:
            return 2 * message

    threads = threading.active_count()
    actor = Doubler()
    assert actor.on_receive(21) == 42
    assert actor.actor_ref.is_alive()
    assert actor.actor_ref.actor_class is Doubler
    assert not actor.actor_stopped.is_set()
    assert actor.actor_inbox.empty()
    actor.actor_ref.tell("into the mailbox, where it stays")
    actor.stop()
    assert threading.active_count() == threads
    assert pykka.ActorRegistry.get_all() == []


def test_starts_and_ends_are_logged_for_those_who_debug(base: Any, logs: pytest.LogCaptureFixture) -> None:
    ref = make_diarist(base).start([])
    ref.stop()
    told = [each.getMessage() for each in logs.records if each.levelno == logging.DEBUG]
    assert told == [f"{what} {ref}" for what in ("Registered", "Starting", "Unregistered", "Stopped")]


# Threads


@pytest.mark.parametrize("is_daemon", [False, True])
def test_the_thread_is_called_after_the_class_and_is_a_daemon_if_that_says_so(base: Any, *, is_daemon: bool) -> None:
    class Threaded(base):
        use_daemon_thread = is_daemon

        def on_receive(self, message: Any) -> Any:
            thread = threading.current_thread()
            return thread.name, thread.daemon

    name, daemon = Threaded.start().ask("who?")
    assert name.startswith("Threaded-")
    assert daemon is is_daemon


PROGRAM = """
import time
from {module} import {name} as Base

class Last(Base):
    use_daemon_thread = {daemon}
    def on_receive(self, message):
        time.sleep(0.2)
        print("handled", flush=True)
        self.stop()

Last.start().tell("go")
print("end of main", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("daemon", "printed"), [(False, ["end of main", "handled"]), (True, ["end of main"])])
def test_a_program_lasts_as_long_as_its_actors_unless_they_are_daemons(
    base: Any, *, daemon: bool, printed: list[str]
) -> None:
    text = PROGRAM.format(module=base.__module__, name=base.__name__, daemon=daemon)
    done = subprocess.run([sys.executable, "-P", "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout.splitlines(), done.stderr) == (printed, "")


@pytest.mark.slow
def test_a_program_ends_though_an_actor_that_was_never_started_has_got_a_message(base: Any) -> None:
    text = f"from {base.__module__} import {base.__name__} as B\nclass A(B): pass\nA().actor_ref.tell(1)"
    subprocess.run([sys.executable, "-P", "-c", text], timeout=60, check=True)


# What is ours, and not pykka's


class Fatal(BaseException):
    """Not an Exception: SystemExit, KeyboardInterrupt and cancellations are of that kind."""


class Reckless(Actor):
    """Raises what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[str] = []

    def on_stop(self) -> None:
        self.hooks.append("on_stop")

    def on_failure(self, *args: Any) -> None:
        self.hooks.append("on_failure")

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return message


FATAL = [Fatal("boom"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_a_base_exception_in_a_tell_ends_this_actor_and_no_other(error: BaseException) -> None:
    class Bystander(Reckless):
        pass

    bystander = Bystander.start()
    ref = Reckless.start()
    hooks = ref.proxy().hooks.get()
    ref.tell(error)
    assert ended(ref)
    assert hooks == ["on_failure"]
    assert bystander.ask("still there") == "still there"


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_a_base_exception_in_an_ask_goes_to_who_asked_and_the_actor_goes_on(error: BaseException) -> None:
    ref = Reckless.start()
    with pytest.raises(type(error)):
        ref.ask(error, timeout=WAIT)
    assert ref.ask("still there") == "still there"


@pytest.mark.parametrize("hook", ["on_start", "on_stop", "on_failure"])
def test_a_base_exception_in_a_hook_leaves_no_zombie(hook: str) -> None:
    def fail(*_: Any) -> None:
        raise SystemExit

    kind: Any = type("Dying", (Reckless,), {hook: fail})
    ref = kind.start()
    if hook == "on_stop":
        ref.stop(block=False)
    elif hook == "on_failure":
        ref.tell(ValueError())
    assert ended(ref)
    with pytest.raises(ActorDead):
        ref.ask("anybody?", timeout=WAIT)


def test_an_init_that_forgets_that_of_the_base_is_told_what_to_do() -> None:
    class Forgetful(Actor):
        def __init__(self) -> None:
            pass

    with pytest.raises(ConfigurationError, match=r"Forgetful.__init__ does not call super\(\).__init__\(\)"):
        Forgetful.start()


@pytest.mark.parametrize("bound", [0, -1, True, 2.5, "many"])
def test_a_bound_that_means_nothing_is_refused_where_the_class_is_defined(bound: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Odd.mailbox_bound={bound!r} must be None or a whole number"):
        type("Odd", (Actor,), {"mailbox_bound": bound})


def test_an_overflow_rule_that_means_nothing_is_refused_where_the_class_is_defined() -> None:
    with pytest.raises(ConfigurationError, match=r"Odd.overflow='block' must be one of \["):
        type("Odd", (Actor,), {"overflow": "block"})


def test_the_urn_is_a_uuid_that_sorts_by_time() -> None:
    first, second = Reckless.start(), Reckless.start()
    assert {first.actor_urn[len("urn:uuid:") + 14], second.actor_urn[len("urn:uuid:") + 14]} == {"7"}


def test_a_message_that_nobody_will_handle_is_logged(gate: Any, logs: pytest.LogCaptureFixture) -> None:
    diary: list[Any] = []
    ref = make_diarist(Actor).start(diary)
    ref.tell(gate.pass_through)
    ref.stop(block=False)
    ref.tell("lost")
    gate.set()
    ended(ref)
    assert f"dead letter for {ref}: 'lost' ({ref} stopped before it came to this message)" in logs.messages


def test_an_actor_without_a_thread_of_its_own_shares_one() -> None:
    class Sharing(Actor):
        pinned = False

        def on_receive(self, message: Any) -> str:
            return threading.current_thread().name

    assert {Sharing.start().ask("where?") for _ in range(20)} == {"everact/actors"}


def test_actors_that_share_threads_may_wait_for_each_other() -> None:
    class Link(Actor):
        pinned = False

        def __init__(self, further: Any) -> None:
            super().__init__()
            self.further = further

        def on_receive(self, message: int) -> int:
            return 1 + (self.further.ask(message) if self.further else message)

    chain: Any = None
    for _ in range(30):  # more than there are threads
        chain = Link.start(chain)
    assert chain.ask(0, timeout=WAIT) == 30


def test_an_async_actor_handles_one_message_at_a_time_and_leaves_the_loop_to_others(gate: Any) -> None:
    seen: list[str] = []

    class Waiting(Actor):
        async def on_start(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            seen.append("on_start")

        async def on_stop(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            seen.append("on_stop")

        async def on_receive(self, message: str) -> str:
            seen.append(f"{message} begins")
            while message == "slow" and not gate.is_set():
                await asyncio.sleep(0.001)
            seen.append(f"{message} ends")
            return threading.current_thread().name

    first, second = Waiting.start(), Waiting.start()
    slow, after = first.ask("slow", block=False), first.ask("after", block=False)
    assert second.ask("other") == "everact/loop"
    gate.set()
    assert slow.get() == after.get() == "everact/loop"
    first.stop()
    messages = [entry for entry in seen if entry.startswith(("slow", "after"))]
    assert messages == ["slow begins", "slow ends", "after begins", "after ends"]
    assert seen.index("other ends") < seen.index("slow ends")
    assert (seen[0], seen[-1]) == ("on_start", "on_stop")


def test_an_async_actor_fails_as_any_other() -> None:
    class Failing(Actor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.sleep(0)
            raise ValueError(message)

    ref = Failing.start()
    with pytest.raises(ValueError, match="asked"):
        ref.ask("asked")
    ref.tell("told")
    assert ref.actor_stopped.wait(WAIT)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_start_actors_of_its_own() -> None:
    class Echo(Actor):
        pinned = False

        def on_receive(self, message: Any) -> Any:
            return message

    assert Echo.start().ask("parent", timeout=WAIT) == "parent"
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if Echo.start().ask("child", timeout=WAIT) == "child" else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Under a supervisor


@pytest.fixture
def spawn() -> Any:
    """Spawns an actor that is restarted at once."""
    with ActorSystem() as system:
        yield lambda factory, restart=Restart.PERMANENT: system.spawn(
            factory, spec=ChildSpec(restart=restart, backoff=Backoff(0.0))
        )


def test_the_same_class_is_restarted_by_a_system_where_it_would_have_ended_alone(
    spawn: Callable[..., Any],
) -> None:
    instances: list[Any] = []
    again = threading.Event()

    class Fragile(Actor):
        def __init__(self) -> None:
            super().__init__()
            instances.append(self)

        def on_start(self) -> None:
            if len(instances) == 2:
                again.set()

        def on_receive(self, message: Any) -> Any:
            if isinstance(message, BaseException):
                raise message
            return len(instances)

    ref = spawn(Fragile)
    urn = ref.actor_urn
    ref.tell(ValueError("told"))
    assert again.wait(WAIT)
    assert ref.ask("how many?") == 2
    assert (ref.is_alive(), ref.actor_urn, instances[1].actor_ref) == (True, urn, ref)


def test_a_supervised_actor_fails_also_by_what_it_was_asked(spawn: Callable[..., Any]) -> None:
    ref = spawn(Reckless)
    with pytest.raises(ValueError, match="asked"):
        ref.ask(ValueError("asked"))
    assert ref.ask("next instance") == "next instance"
    assert ref._cell.generation == 2


def test_a_stop_of_its_own_is_meant_for_the_instance_that_said_it(spawn: Callable[..., Any], gate: Any) -> None:
    said = threading.Event()

    class Insistent(Actor):
        def on_receive(self, message: Any) -> Any:
            if message == "stop":
                self.stop()
                self.stop()
                said.set()
                gate.pass_through()
            return self

    ref = spawn(Insistent)
    ref.tell("stop")
    assert said.wait(WAIT)
    asked = ref.ask("who?", block=False)
    gate.set()
    assert asked.get(timeout=WAIT) is ref.ask("and now?")
    assert ref._cell.generation == 2


@pytest.mark.parametrize(("restart", "comes_again"), [(Restart.PERMANENT, True), (Restart.TRANSIENT, False)])
def test_a_supervised_actors_own_stop_is_a_normal_end(
    spawn: Callable[..., Any], *, restart: Restart, comes_again: bool
) -> None:
    class Quitter(Actor):
        def on_receive(self, message: Any) -> None:
            self.stop()

    ref = spawn(Quitter, restart)
    ref.tell("go")
    assert ref.actor_stopped.wait(0.3 if comes_again else WAIT) is not comes_again


def test_a_stop_from_outside_ends_a_supervised_actor_for_good(spawn: Callable[..., Any]) -> None:
    ref = spawn(Reckless)
    assert ref.stop() is True
    assert not ref.is_alive()
    assert ref.stop() is False


def test_a_factory_that_makes_another_class_at_a_restart_keeps_the_mailbox(
    spawn: Callable[..., Any], gate: Any
) -> None:
    class Bounded(Actor):
        mailbox_bound = 10

        def on_receive(self, message: Any) -> Any:
            if message == "fail":
                gate.pass_through()
                raise ValueError(message)
            return type(self).__name__

    class Another(Bounded):
        pass

    kinds = iter((Bounded, Another))
    ref = spawn(lambda: next(kinds)())  # noqa: PLW0108 - a fresh kind on every call
    ref.tell("fail")
    waiting = ref.ask("who?", block=False)
    gate.set()
    assert waiting.get(timeout=WAIT) == "Another"


def test_names_of_a_users_own_do_not_get_in_the_way() -> None:
    """Whatever everact calls on an actor beyond pykka's names begins with `_actor_`; the rest are settings."""
    new = set(dir(Actor)) - set(dir(pykka.ThreadingActor)) - {"actor_inbox", "actor_stopped", "actor_urn"}
    settings = {"ask_timeout", "has_own_thread", "mailbox_bound", "overflow", "pinned", "unwatch", "watch"}
    assert {name for name in new if not name.startswith("_actor_")} == settings

    class Sheet(Actor):
        def __init__(self) -> None:
            super().__init__()
            self._cell, self._path, self._mailbox = "A1", "/sheet", list[Any]()
            self._set_up()

        def _set_up(self) -> None:
            self.ready = True

        _begin = _unwind = _on_order = _set_up

        def on_receive(self, message: Any) -> Any:
            return self._cell, self.ready

    assert Sheet.start().ask("anything", timeout=WAIT) == ("A1", True)
