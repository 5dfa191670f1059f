"""The cancellation token: who wins, who is woken, who is called back; with real threads and the runtime's gates."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from everact.actors.runtime import ThreadRuntime
from everact.tasks.cancellation import CancellationToken, CancelOutcome, CancelReason, Gate, outranks
from everact.tasks.errors import CancelRequested

USER, TIMEOUT, SHUTDOWN, WORKFLOW = CancelReason
PATIENCE = 10.0
"""Seconds until a test gives up on a thread; none waits that long unless it fails."""
ROUNDS = 300


class ReportingGate:
    """A real gate that says of everybody that has come to it."""

    def __init__(self, machine: "Machine") -> None:
        self._gate = ThreadRuntime().gate()
        self._machine = machine

    def wait(self, timeout: float | None = None) -> bool:
        self._machine.arrivals.release()
        return self._gate.wait(timeout)

    def open(self) -> None:
        self._machine.opened += 1
        self._gate.open()


class Machine:
    """The runtime of a token: real gates, and a callback thread that is the caller's own."""

    def __init__(self) -> None:
        self.arrivals = threading.Semaphore(0)
        self.called_back = 0
        self.opened = 0

    def gate(self) -> Gate:
        return ReportingGate(self)

    def call_back(self, fn: Callable[[], object]) -> None:
        self.called_back += 1
        fn()

    def somebody_waits(self, patience: float = PATIENCE) -> bool:
        """Whether one more thread has come to a gate since the last call."""
        return self.arrivals.acquire(timeout=patience)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def in_thread(run: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(run()), daemon=True)
    thread.start()
    return thread, answers


# Reasons


@pytest.mark.parametrize("new", CancelReason)
@pytest.mark.parametrize("old", CancelReason)
def test_the_first_reason_wins_except_that_user_replaces_shutdown(old: CancelReason, new: CancelReason) -> None:
    token = CancellationToken(Machine())
    replaces = (new, old) == (USER, SHUTDOWN)
    assert token._fire(old)
    assert outranks(new, old) == token._fire(new) == replaces
    assert token.reason is (new if replaces else old)


@pytest.mark.parametrize("reason", CancelReason)
def test_a_fresh_token_takes_any_reason_and_then_says_so(reason: CancelReason) -> None:
    token = CancellationToken()
    assert (token.cancelled, token.reason, token.wait(0)) == (False, None, False)
    token.raise_if_cancelled()
    token._fire(reason)
    assert (token.cancelled, token.reason, token.wait(0)) == (True, reason, True)
    with pytest.raises(CancelRequested, match=f"^{reason.value}$"):
        token.raise_if_cancelled()


def test_except_exception_in_a_handler_does_not_swallow_the_request() -> None:
    token = CancellationToken()
    token._fire(USER)
    with pytest.raises(CancelRequested):
        try:
            token.raise_if_cancelled()
        except Exception:  # noqa: S110 - what careless handlers do
            pass


@pytest.mark.parametrize("other", [USER, WORKFLOW])
def test_of_two_reasons_at_the_same_moment_exactly_one_stands(other: CancelReason) -> None:
    """A cancel by the journal and a timeout by the timer come from two threads, and both believe the answer."""
    interposed: list[tuple[threading.Thread, list[Any]]] = []

    class Interrupted(CancellationToken, dict=True):
        """Lets another thread fire when this one has decided that its reason stands, and before it says so."""

        @property  # type: ignore[misc]
        def _reason(self) -> CancelReason | None:
            return self.__dict__.get("reason")

        @_reason.setter
        def _reason(self, reason: CancelReason | None) -> None:
            if reason is not None and not interposed:
                interposed.append(in_thread(lambda: self._fire(other)))
                interposed[0][0].join(0.2)  # it may have to wait for us, if there is a lock
            self.__dict__["reason"] = reason

    token = Interrupted(Machine())
    assert token._fire(TIMEOUT)
    thread, answers = interposed[0]
    thread.join(PATIENCE)
    assert answers == [False]
    assert token.reason is TIMEOUT


# Waiting


def test_a_wait_ends_early_when_another_thread_fires(machine: Machine) -> None:
    token = CancellationToken(machine)
    thread, answers = in_thread(lambda: token.wait(PATIENCE * 6))
    assert machine.somebody_waits()
    token._fire(SHUTDOWN)
    thread.join(PATIENCE)
    assert answers == [True]


def test_a_wait_for_no_time_at_all_does_not_block(machine: Machine) -> None:
    token = CancellationToken(machine)
    assert not token.wait(0)
    assert not token.wait(-1)
    assert machine.somebody_waits(0)


def test_a_wait_after_firing_returns_without_a_gate(machine: Machine) -> None:
    token = CancellationToken(machine)
    token._fire(TIMEOUT)
    assert token.wait(PATIENCE * 6)
    assert not machine.somebody_waits(0)


def test_a_wait_is_not_missed_by_a_firing_that_comes_while_its_gate_is_made() -> None:
    class Untimely(Machine):
        def gate(self) -> Gate:
            token._fire(USER)
            return super().gate()

    token = CancellationToken(Untimely())
    thread, answers = in_thread(lambda: token.wait(PATIENCE * 6))
    thread.join(PATIENCE)
    assert answers == [True]


def test_waits_that_are_over_leave_nothing_behind(machine: Machine) -> None:
    """A handler may poll with short waits for days; firing then opens no gates of long ago."""
    token = CancellationToken(machine)
    for _ in range(100):
        token.wait(0)
    token._fire(USER)
    assert machine.opened <= 1


def test_all_threads_that_wait_on_one_token_are_woken(machine: Machine) -> None:
    token = CancellationToken(machine)
    token.wait(0)
    waiting = [in_thread(lambda: token.wait(PATIENCE * 6)) for _ in range(4)]
    assert all(machine.somebody_waits() for _ in range(5))
    token._fire(USER)
    for thread, answers in waiting:
        thread.join(PATIENCE)
        assert answers == [True]


def test_two_threads_that_come_to_wait_at_the_same_moment_are_both_woken() -> None:
    """The second comes while the first makes its gate; neither may be left at a gate that nobody opens."""

    class Slow(Machine):
        made = 0

        def gate(self) -> Gate:
            self.made += 1
            if self.made == 1:
                others.append(in_thread(lambda: token.wait(PATIENCE * 6)))
                if self.somebody_waits(0.2):  # it may have to wait for us, if there is a lock
                    self.arrivals.release()
            return super().gate()

    others: list[tuple[threading.Thread, list[Any]]] = []
    slow = Slow()
    token = CancellationToken(slow)
    first = in_thread(lambda: token.wait(PATIENCE * 6))
    assert slow.somebody_waits()
    assert slow.somebody_waits()
    token._fire(USER)
    first[0].join(PATIENCE)
    others[0][0].join(0.5)
    assert (first[1], others[0][1]) == ([True], [True])


@pytest.mark.parametrize("number", range(3))
def test_no_wait_is_missed_however_it_races_with_the_firing(number: int) -> None:
    for _ in range(ROUNDS // 3):
        machine = Machine()
        token = CancellationToken(machine)
        start = threading.Barrier(2)

        def wait(token: CancellationToken = token, start: threading.Barrier = start) -> bool:
            start.wait(PATIENCE)
            return token.wait(PATIENCE * 6)

        thread, answers = in_thread(wait)
        start.wait(PATIENCE)
        for _ in range(number * 20):  # a little later each time
            pass
        token._fire(WORKFLOW)
        thread.join(PATIENCE)
        assert answers == [True]


# Callbacks


def test_callbacks_are_called_in_order_once_when_it_fires(machine: Machine) -> None:
    calls: list[int] = []
    token = CancellationToken(machine)
    for n in range(3):
        token.on_cancel(partial(calls.append, n))
    assert calls == []
    token._fire(TIMEOUT)
    assert calls == [0, 1, 2]


def test_a_callback_after_firing_is_called_at_once_and_through_the_runtime(machine: Machine) -> None:
    calls: list[str] = []
    token = CancellationToken(machine)
    token._fire(USER)
    token.on_cancel(lambda: calls.append("late"))
    assert calls == ["late"]
    assert machine.called_back == 1


def test_a_second_reason_calls_nobody_twice(machine: Machine) -> None:
    calls: list[str] = []
    token = CancellationToken(machine)
    token.on_cancel(lambda: calls.append("once"))
    token._fire(SHUTDOWN)
    token._fire(USER)
    token._fire(TIMEOUT)
    assert calls == ["once"]


def test_a_refused_reason_opens_and_calls_nothing(machine: Machine) -> None:
    token = CancellationToken(machine)
    token._fire(USER)
    assert not token._fire(SHUTDOWN)
    assert machine.called_back == 0


def test_the_same_callback_registered_twice_is_called_twice(machine: Machine) -> None:
    calls: list[str] = []

    def fn() -> None:
        calls.append("called")

    token = CancellationToken(machine)
    token.on_cancel(fn)
    token.on_cancel(fn)
    token._fire(USER)
    assert calls == ["called", "called"]


def test_a_callback_that_registers_another_one_gets_that_called_too(machine: Machine) -> None:
    calls: list[str] = []
    token = CancellationToken(machine)
    token.on_cancel(lambda: token.on_cancel(lambda: calls.append("inner")))
    token._fire(USER)
    assert calls == ["inner"]


def test_registering_while_it_fires_calls_each_callback_exactly_once() -> None:
    """Two threads, a few hundred times: one registers five callbacks, the other fires."""
    with ThreadPoolExecutor(1) as registrar:
        for _ in range(ROUNDS):
            calls: list[int] = []
            token = CancellationToken(Machine())
            start = threading.Barrier(2)

            def register(token: CancellationToken, start: threading.Barrier, calls: list[int]) -> None:
                start.wait(PATIENCE)
                for n in range(5):
                    token.on_cancel(partial(calls.append, n))

            registered = registrar.submit(register, token, start, calls)
            start.wait(PATIENCE)
            token._fire(USER)
            registered.result(PATIENCE)
            assert sorted(calls) == [0, 1, 2, 3, 4]


def test_registering_from_two_threads_at_once_loses_no_callback() -> None:
    with ThreadPoolExecutor(2) as registrars:
        for _ in range(ROUNDS):
            calls: list[int] = []
            token = CancellationToken(Machine())
            start = threading.Barrier(2)

            def register(n: int, token: CancellationToken, start: threading.Barrier, calls: list[int]) -> None:
                start.wait(PATIENCE)
                token.on_cancel(lambda: calls.append(n))

            both = [registrars.submit(register, n, token, start, calls) for n in (1, 2)]
            for one in both:
                one.result(PATIENCE)
            token._fire(USER)
            assert sorted(calls) == [1, 2]


def test_the_words_of_reasons_and_outcomes_are_those_of_the_design() -> None:
    assert [reason.name for reason in CancelReason] == ["USER", "TIMEOUT", "SHUTDOWN", "WORKFLOW"]
    assert {outcome.name for outcome in CancelOutcome} == {
        "CANCELLED",
        "SIGNALLED",
        "ALREADY_FINISHED",
        "NOT_FOUND",
        "SHIELDED",
    }
