"""The baton: every waiter is woken, whoever leaves early; with real threads and gates, and no sleeping."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from everact.actors import baton
from everact.actors.baton import AnyWaiter, LoopWaiter, Waiter, release
from everact.actors.runtime import ThreadRuntime
from everact.tasks.cancellation import Gate

PATIENCE = 10.0
"""Seconds until a test gives up on a thread; none waits that long unless it fails."""
Kind = Literal["waits", "timed out", "left before", "comes later", "gate being made"]


@pytest.fixture(autouse=True, scope="module")
def long_slices() -> Iterator[None]:
    """A lost baton costs one slice; make it so long that it shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baton, "SLICE_SECONDS", PATIENCE * 6)
        yield


class ReportingGate:
    """A real gate that says when its waiter has come to it, and counts how often it was opened."""

    def __init__(self) -> None:
        self._gate = ThreadRuntime().gate()
        self.entered = threading.Event()
        self.opened = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.entered.set()
        return self._gate.wait(timeout)

    def open(self) -> None:
        self.opened += 1
        self._gate.open()


class Caller:
    """A waiter with the thread that waits in it."""

    def __init__(self, kind: Kind, number: int = 0) -> None:
        self.kind = kind
        self.number = number
        self.gate = ReportingGate()
        self.making = threading.Event()
        self.made = threading.Event()
        self.waiter = Waiter(self._make_gate)
        self.answers: list[bool] = []
        self._thread = threading.Thread(target=self.call, daemon=True)
        if kind == "waits":
            self.made.set()
            self._thread.start()
            assert self.gate.entered.wait(PATIENCE)
        elif kind == "timed out":
            self.made.set()
            assert not self.waiter.wait(0.0)
        elif kind == "gate being made":
            self._thread.start()
            assert self.making.wait(PATIENCE)

    def _make_gate(self) -> Gate:
        self.making.set()
        self.made.wait(PATIENCE)
        return self.gate

    def call(self) -> None:
        self.answers.append(self.waiter.wait(PATIENCE * 6))

    def settle(self) -> None:
        self.waiter.settle(self.number)
        if self.kind == "left before":
            self.call()

    def come_home(self) -> None:
        """What is left to do once everybody was released."""
        if self.kind == "comes later":
            self.call()
        elif self.kind == "gate being made":
            self.made.set()

    def home(self) -> bool:
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
        return self.kind == "timed out" or (self.answers == [True] and self.waiter.answer == self.number)


KINDS: st.SearchStrategy[Kind] = st.sampled_from(
    ["waits", "waits", "timed out", "left before", "comes later", "gate being made"]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(KINDS, max_size=6))
@example(["waits"] * 6)
@example(["left before", "waits"])
@example(["timed out", "timed out", "waits"])
@example(["comes later", "waits", "waits"])
@example(["gate being made", "waits"])
@example(["waits", "left before", "comes later", "timed out", "waits"])
def test_every_waiter_is_woken_whoever_has_left_or_has_not_come_yet(kinds: list[Kind]) -> None:
    callers = [Caller(kind, number) for number, kind in enumerate(kinds)]
    for caller in callers:
        caller.settle()
    release([caller.waiter for caller in callers])
    for caller in callers:
        caller.come_home()
    assert [caller.kind for caller in callers if not caller.home()] == []


def test_release_wakes_the_first_and_each_wakes_the_next() -> None:
    """That is the point of a baton: the journal opens one gate, not sixty-four."""
    callers = [Caller("comes later", number) for number in range(4)]
    gates = []
    for caller in callers:
        caller.waiter._gate = caller.gate
        gates.append(caller.gate)
        caller.settle()
    release([caller.waiter for caller in callers])
    assert [gate.opened for gate in gates] == [1, 0, 0, 0]
    callers[0].call()
    assert [gate.opened for gate in gates] == [1, 1, 0, 0]
    callers[1].call()
    assert [gate.opened for gate in gates] == [1, 1, 1, 0]


def test_a_waiter_that_left_while_it_held_the_baton_hands_it_on() -> None:
    """Its time is over in the very moment in which it is woken."""
    leaving, staying = Caller("comes later"), Caller("waits")
    leaving.settle()
    staying.settle()
    release([leaving.waiter, staying.waiter])
    leaving.made.set()
    assert leaving.waiter.wait(0.0)
    assert staying.home()


def test_an_interrupted_waiter_hands_the_baton_on() -> None:
    class Interrupted(ReportingGate):
        def wait(self, timeout: float | None = None) -> bool:
            first.settle()
            staying.settle()
            release([first, staying.waiter])
            raise KeyboardInterrupt

    first = Waiter(Interrupted)
    staying = Caller("waits")
    with pytest.raises(KeyboardInterrupt):
        first.wait(PATIENCE)
    assert staying.home()


def test_a_lost_baton_costs_a_slice_and_never_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baton, "SLICE_SECONDS", 0.01)
    caller = Caller("waits", 7)
    caller.settle()  # and nobody releases it
    assert caller.home()


def test_without_an_answer_a_wait_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baton, "SLICE_SECONDS", 0.001)
    slices: list[float | None] = []

    class Closed(ReportingGate):
        def wait(self, timeout: float | None = None) -> bool:
            slices.append(timeout)
            return False

    waiter = Waiter(Closed)
    assert not waiter.wait(0.0035)
    assert slices == pytest.approx([0.001, 0.001, 0.001, 0.0005])


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_a_wait_for_no_time_at_all_returns_at_once(timeout: float) -> None:
    waiter = Waiter(ReportingGate)
    assert not waiter.wait(timeout)
    waiter.settle("answer")
    assert waiter.wait(timeout)


def test_a_waiter_with_an_answer_needs_no_gate() -> None:
    def refuse() -> Gate:
        raise AssertionError

    waiter = Waiter(refuse)
    waiter.settle("answer")
    assert waiter.wait(PATIENCE)
    assert waiter.answer == "answer"


def test_an_answer_is_a_value_or_an_error() -> None:
    waiter, failed = Waiter(ReportingGate), Waiter(ReportingGate)
    assert (waiter.done, waiter.answer, waiter.error) == (False, None, None)
    waiter.settle(7)
    error = OSError("gone")
    failed.settle(error=error)
    assert (waiter.done, waiter.answer, waiter.error) == (True, 7, None)
    assert (failed.done, failed.answer, failed.error) == (True, None, error)


def test_releasing_twice_or_nobody_does_no_harm() -> None:
    release([])
    callers = [Caller("waits", number) for number in range(3)]
    for caller in callers:
        caller.settle()
    release([caller.waiter for caller in callers])
    release([caller.waiter for caller in callers])
    assert all(caller.home() for caller in callers)


def test_no_answer_is_missed_however_settling_races_with_waiting() -> None:
    """Two callers come to wait while the journal settles and releases them, a few hundred times."""
    runtime = ThreadRuntime()
    for _ in range(200):
        waiters = [Waiter(runtime.gate) for _ in range(2)]
        start = threading.Barrier(3)
        answers: list[bool] = []

        def caller(waiter: Waiter, start: threading.Barrier = start, answers: list[bool] = answers) -> None:
            start.wait(PATIENCE)
            answers.append(waiter.wait(PATIENCE * 6))

        threads = [threading.Thread(target=caller, args=(waiter,), daemon=True) for waiter in waiters]
        for thread in threads:
            thread.start()
        start.wait(PATIENCE)
        for waiter in waiters:
            waiter.settle()
        release(waiters)
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == [True, True]


# Event loops


def in_thread(run: Callable[[], Any]) -> None:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)


def test_a_coroutine_is_woken_from_another_thread() -> None:
    async def main() -> tuple[bool, object]:
        waiter = LoopWaiter()
        waiting = asyncio.ensure_future(waiter.wait(PATIENCE * 6))
        await asyncio.sleep(0)
        waiter.settle("answer")
        in_thread(lambda: release([waiter]))
        return await asyncio.wait_for(waiting, PATIENCE), waiter.answer

    assert asyncio.run(main()) == (True, "answer")


def test_a_coroutine_gives_up_when_its_time_is_over() -> None:
    async def main() -> bool:
        return await LoopWaiter().wait(0.0)

    assert not asyncio.run(main())


def test_an_answer_that_is_there_already_is_not_waited_for() -> None:
    async def main() -> bool:
        waiter = LoopWaiter()
        waiter.settle("answer")
        return await waiter.wait(PATIENCE * 6)

    assert asyncio.run(main())


def test_coroutines_of_one_loop_are_woken_by_one_call() -> None:
    async def main() -> tuple[list[bool], int]:
        calls: list[object] = []
        loop: Any = asyncio.get_running_loop()
        usual = loop.call_soon_threadsafe

        def noted(callback: Callable[[], object]) -> object:
            calls.append(callback)
            return usual(callback)

        loop.call_soon_threadsafe = noted
        waiters = [LoopWaiter() for _ in range(5)]
        waiting = [asyncio.ensure_future(waiter.wait(PATIENCE * 6)) for waiter in waiters]
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.settle()
        in_thread(lambda: release(waiters))
        return [await asyncio.wait_for(one, PATIENCE) for one in waiting], len(calls)

    assert asyncio.run(main()) == ([True] * 5, 1)


def test_a_coroutine_that_was_cancelled_leaves_the_others_of_its_loop_woken() -> None:
    complaints: list[object] = []

    async def main() -> list[bool]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        waiters = [LoopWaiter() for _ in range(3)]
        waiting = [asyncio.ensure_future(waiter.wait(PATIENCE * 6)) for waiter in waiters]
        await asyncio.sleep(0)
        waiting[1].cancel()
        for waiter in waiters:
            waiter.settle()
        release(waiters)
        release(waiters)
        await asyncio.sleep(0)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        return [answer is True or isinstance(answer, asyncio.CancelledError) for answer in answers]

    assert asyncio.run(main()) == [True] * 3
    assert complaints == []


def test_threads_and_coroutines_of_several_loops_are_woken_by_one_release() -> None:
    async def main(release_all: Callable[[LoopWaiter], None] | None, mine: list[LoopWaiter]) -> bool:
        waiter = LoopWaiter()
        mine.append(waiter)
        if release_all is not None:
            waiting = asyncio.ensure_future(waiter.wait(PATIENCE * 6))
            await asyncio.sleep(0)
            release_all(waiter)
            return await asyncio.wait_for(waiting, PATIENCE)
        entered.set()
        return await waiter.wait(PATIENCE * 6)

    def release_all(waiter: LoopWaiter) -> None:
        everybody: list[AnyWaiter] = [threads[0].waiter, *others, waiter, threads[1].waiter]
        for one in everybody:
            one.settle(0)
        release(everybody)

    entered, others, answers = threading.Event(), list[LoopWaiter](), list[bool]()
    threads = [Caller("waits"), Caller("waits")]
    other = threading.Thread(target=lambda: answers.append(asyncio.run(main(None, others))), daemon=True)
    other.start()
    assert entered.wait(PATIENCE)
    assert asyncio.run(main(release_all, []))
    other.join(PATIENCE)
    assert answers == [True]
    assert all(caller.home() for caller in threads)


def test_a_loop_that_was_closed_while_somebody_waited_in_it_does_not_stop_the_others() -> None:
    async def leave() -> LoopWaiter:
        return LoopWaiter()

    gone = asyncio.run(leave())
    staying = Caller("waits")

    async def main() -> bool:
        waiter = LoopWaiter()
        waiting = asyncio.ensure_future(waiter.wait(PATIENCE * 6))
        await asyncio.sleep(0)
        for one in (gone, waiter, staying.waiter):
            one.settle(0)
        release([gone, waiter, staying.waiter])
        return await asyncio.wait_for(waiting, PATIENCE)

    assert asyncio.run(main())
    assert staying.home()
