"""Threads that come with work that blocks, and do not come for work that does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from everact.actors import elastic_executor
from everact.actors.elastic_executor import AT_ONCE, LATE, PACE_SECONDS, PATIENCE, ElasticExecutor
from everact.actors.runtime import ThreadRuntime

WAIT = 30.0


class Bench:
    """An executor whose timer is the test, and turns that block until they are let go."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.time = 0.0
        runtime = ThreadRuntime()
        runtime.monotonic = lambda: self.time
        self.executor = ElasticExecutor(runtime, "bench")
        self.executor.call_after = lambda seconds, fn: self.calls.append(fn)
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()
        self.ended = threading.Semaphore(0)

    async def block(self) -> None:
        self.begun.release()
        self.release.wait(WAIT)
        self.ended.release()

    async def pass_by(self) -> None:
        self.ended.release()

    def submit(self, count: int) -> None:
        for _ in range(count):
            self.executor.submit(self.block)

    def have_begun(self, count: int) -> bool:
        return all(self.begun.acquire(timeout=WAIT) for _ in range(count))

    def have_ended(self, count: int) -> bool:
        return all(self.ended.acquire(timeout=WAIT) for _ in range(count))

    def look(self, late: float = 1.0) -> None:
        """What the timer does after `PACE_SECONDS`, or `late` times that."""
        self.time += late * PACE_SECONDS
        self.calls.pop()()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.release.set()
    made.executor.close()


def test_a_few_turns_that_block_get_a_thread_each_at_once(bench: Bench) -> None:
    bench.submit(AT_ONCE)
    assert bench.have_begun(AT_ONCE)
    assert bench.calls == []


def test_more_get_a_thread_when_those_that_are_there_do_not_get_on(bench: Bench) -> None:
    bench.submit(AT_ONCE + 5)
    assert bench.have_begun(AT_ONCE)
    assert not bench.begun.acquire(blocking=False)
    begun = 0
    while bench.calls:
        bench.look()
        assert bench.have_begun(min(2, 5 - begun))  # a quarter of eight, so long as there are any
        begun += 2
    assert not bench.executor._waiting


def test_where_the_processor_is_what_turns_wait_for_threads_come_seldom(bench: Bench) -> None:
    bench.submit(AT_ONCE + 5)
    assert bench.have_begun(AT_ONCE)
    for _ in range(PATIENCE - 1):
        bench.look(late=2 * LATE)
    assert len(bench.executor._threads) == AT_ONCE
    bench.look(late=2 * LATE)
    assert bench.have_begun(2)
    bench.look()
    assert bench.have_begun(2)


def test_a_thousand_short_turns_are_done_by_a_few_threads(bench: Bench) -> None:
    for _ in range(1000):
        bench.executor.submit(bench.pass_by)
    assert bench.have_ended(1000)
    assert len(bench.executor._threads) <= AT_ONCE


def test_turns_that_wait_are_given_to_threads_that_have_become_free(bench: Bench) -> None:
    bench.submit(AT_ONCE + 20)
    bench.release.set()
    assert bench.have_ended(AT_ONCE + 20)
    bench.look()
    assert len(bench.executor._threads) <= AT_ONCE


def test_a_closed_executor_leaves_no_turn_waiting(bench: Bench) -> None:
    bench.submit(AT_ONCE + 3)
    bench.executor.close()
    assert bench.have_begun(AT_ONCE + 3)


def test_a_thread_with_nothing_to_do_lets_go_what_is_kept_back(bench: Bench) -> None:
    told = threading.Event()
    bench.executor.keeps_back = lambda: not told.is_set()
    bench.executor.let_go = told.set
    bench.executor.submit(bench.pass_by)
    assert told.wait(WAIT)


def test_a_thread_that_goes_on_with_what_waits_lets_go_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic_executor, "HOLD_SECONDS", WAIT)
    bench.submit(AT_ONCE + 1)
    assert bench.have_begun(AT_ONCE)
    told = threading.Event()
    bench.executor.let_go = told.set
    bench.release.set()
    assert told.wait(WAIT)
