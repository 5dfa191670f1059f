"""A latch opens once, whoever opens it, and calls each callback once, whoever comes first."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from everact.actors.latch import Latch
from everact.actors.runtime import ThreadRuntime

WAIT = 10.0
gate = ThreadRuntime().gate


def test_it_is_closed_until_it_is_opened_and_stays_open() -> None:
    latch = Latch()
    assert not latch.opened
    latch.open()
    latch.open()
    assert latch.opened


def test_a_callback_is_called_when_it_opens_or_at_once_if_it_has() -> None:
    latch = Latch()
    called: list[Any] = []
    latch.on_open(lambda: called.append("before"))
    assert called == []
    latch.open()
    assert called == ["before"]
    latch.on_open(lambda: called.append("after"))
    latch.open()
    assert called == ["before", "after"]


def test_callbacks_are_called_in_order() -> None:
    latch = Latch()
    called: list[Any] = []
    for number in range(5):
        latch.on_open(partial(called.append, number))
    latch.open()
    assert called == [0, 1, 2, 3, 4]


def test_waiting_ends_when_it_opens() -> None:
    latch = Latch()
    waited: list[bool] = []
    threads = [threading.Thread(target=lambda: waited.append(latch.wait(gate, WAIT))) for _ in range(3)]
    for thread in threads:
        thread.start()
    latch.open()
    for thread in threads:
        thread.join()
    assert waited == [True, True, True]


@pytest.mark.parametrize("timeout", [0.0, 0.01])
def test_waiting_in_vain_leaves_nothing_behind(timeout: float) -> None:
    latch = Latch()
    assert latch.wait(gate, timeout) is False
    assert latch._callbacks == []


def test_waiting_for_an_open_one_makes_no_gate() -> None:
    latch = Latch()
    latch.open()

    def no_gate() -> None:
        msg = "a gate costs a lock"
        raise AssertionError(msg)

    assert latch.wait(no_gate) is True  # type: ignore[arg-type]


class Hasty(Latch):
    """A planted bug: it looks at the flag before the callback is in the list."""

    def on_open(self, fn: Callable[[], object]) -> None:
        opened = self._opened
        time.sleep(0.0005)
        if opened:
            fn()
        else:
            self._callbacks.append(fn)


class Careless(Latch):
    """A planted bug: it calls a callback before it takes it out of the list."""

    def _call_back(self) -> None:
        while self._callbacks:
            fn = self._callbacks[0]
            fn()
            time.sleep(0.0005)
            if fn in self._callbacks:
                self._callbacks.remove(fn)


def race(make: Callable[[], Latch], rounds: int) -> tuple[int, int]:
    """Register from two threads while two more open it; how many callbacks were not called, and how many twice."""
    missed = doubled = 0
    for _ in range(rounds):
        latch = make()
        called: list[int] = []
        ready = threading.Barrier(4)

        def register(
            first: int, latch: Latch = latch, called: list[int] = called, ready: threading.Barrier = ready
        ) -> None:
            ready.wait()
            for number in range(first, first + 10):
                latch.on_open(partial(called.append, number))

        def open_it(latch: Latch = latch, ready: threading.Barrier = ready) -> None:
            ready.wait()
            while not latch._callbacks and not latch.opened:
                time.sleep(0)
            latch.open()

        threads = [threading.Thread(target=register, args=(first,)) for first in (0, 10)]
        threads += [threading.Thread(target=open_it) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        missed += 20 - len(set(called))
        doubled += len(called) - len(set(called))
    return missed, doubled


@pytest.fixture
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
def test_every_callback_is_called_exactly_once_whoever_comes_first() -> None:
    assert race(Latch, 300) == (0, 0)


@pytest.mark.usefixtures("_switching_often")
def test_the_race_finds_a_latch_that_misses_callbacks_or_calls_them_twice() -> None:
    assert race(Hasty, 20)[0] > 0
    assert race(Careless, 20)[1] > 0
