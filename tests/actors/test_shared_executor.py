"""The threads that actors share: no turn is lost, none starves behind others that block, and threads leave again."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from everact import Actor, ActorRef, ActorSystem
from everact.actors import shared_executor
from everact.actors.runtime import Thread, ThreadRuntime
from everact.actors.shared_executor import THREADS, SharedExecutor

PATIENCE = 60.0
IDLE = 20_000 if "EVERACT_LONG_TESTS" in os.environ else 4_000  # make long


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for what threads do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.002)


def threads_of(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


class Link(Actor):
    """Asks on along a chain; counts the actors of it."""

    ask_timeout = PATIENCE

    def __init__(self, following: ActorRef[Any] | None) -> None:
        super().__init__()
        self.following = following

    def on_receive(self, message: Any) -> int:
        return 1 if self.following is None else 1 + int(self.following.ask(message, block=True))


class Blocking(Actor):
    """Blocks in a way that nobody knows of, until it is let go."""

    def on_receive(self, message: Any) -> None:
        arrived, release = message
        arrived.append(None)
        release.wait(PATIENCE)


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("crowd") as running:
        yield running


def chain(system: ActorSystem, length: int) -> ActorRef[Any]:
    first: ActorRef[Any] | None = None
    for _ in range(length):
        first = system.spawn(partial(Link, first))
    assert first is not None
    return first


# -- no starvation -------------------------------------------------------------------------------------------------


def test_a_chain_of_a_hundred_blocking_asks_comes_through(system: ActorSystem) -> None:
    first = chain(system, 100)
    assert [first.ask("count") for _ in range(3)] == [100] * 3


def test_blocking_asks_do_not_need_the_lookout(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_executor, "STALL_SECONDS", PATIENCE)
    assert chain(system, 5 * THREADS).ask("count", timeout=PATIENCE / 2) == 5 * THREADS


def test_without_spare_threads_the_same_chain_starves(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_executor, "STALL_SECONDS", PATIENCE)
    monkeypatch.setattr(SharedExecutor, "step_aside", lambda _: None)
    monkeypatch.setattr(SharedExecutor, "step_back", lambda _: None)
    stuck = chain(system, 5 * THREADS).ask("count", block=False)
    with pytest.raises(TimeoutError):
        stuck.get(timeout=0.3)
    system._running().environment.shared._permits.extend([None] * 5 * THREADS)  # type: ignore[attr-defined]
    chain(system, 1).ask("count")


def test_an_actor_with_a_thread_of_its_own_that_is_left_behind_in_an_ask_takes_no_place_of_the_pool(
    system: ActorSystem,
) -> None:
    class Deaf(Link):
        pinned = True

    shared = system._running().environment.shared
    assert isinstance(shared, SharedExecutor)
    release = threading.Event()
    blocked = system.spawn(Blocking)
    deaf = system.spawn(partial(Deaf, blocked))
    arrived: list[None] = []
    deaf.tell((arrived, release))
    until(lambda: bool(arrived), "it asks")
    deaf._cell.abandon(final=True)
    thread = next(thread for thread in threading.enumerate() if thread.name.startswith("Deaf"))
    release.set()
    thread.join(PATIENCE)
    assert not shared._debts
    until(lambda: len(shared._permits) + threads_of(shared._name) == THREADS, "every place is there")


def test_two_hundred_actors_that_block_at_once_all_get_a_thread(system: ActorSystem) -> None:
    refs = [system.spawn(Blocking) for _ in range(200)]
    arrived: list[None] = []
    release = threading.Event()
    for ref in refs:
        ref.tell((arrived, release))
    until(lambda: len(arrived) == 200, "all of them run")
    release.set()


def test_a_thousand_askers_of_one_actor_are_all_answered(system: ActorSystem) -> None:
    last = system.spawn(lambda: Link(None))
    askers = [system.spawn(lambda: Link(last)) for _ in range(1000)]
    answers = [asker.ask("count", block=False) for asker in askers]
    assert {answer.get(timeout=PATIENCE) for answer in answers} == {2}
    # Usually far fewer; where the one that all wait for comes last, one for each that waits.
    assert threads_of("crowd/actors") <= len(askers) + THREADS


# -- no explosion --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_message_to_each_of_thousands_of_idle_actors_starts_no_crowd_of_threads(system: ActorSystem) -> None:
    refs = [system.spawn(lambda: Link(None)) for _ in range(IDLE)]
    most = 0
    answers = []
    for number, ref in enumerate(refs):
        answers.append(ref.ask("count", block=False))
        if number % 1000 == 0:
            most = max(most, threads_of("crowd/actors"))
    assert sum(answer.get(timeout=PATIENCE) for answer in answers) == IDLE
    assert max(most, threads_of("crowd/actors")) <= 4 * THREADS


def test_threads_that_were_added_leave_when_nobody_blocks_any_more(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_executor, "IDLE_SECONDS", 0.2)
    refs = [system.spawn(Blocking) for _ in range(100)]
    arrived: list[None] = []
    release = threading.Event()
    for ref in refs:
        ref.tell((arrived, release))
    until(lambda: len(arrived) == 100, "all of them run")
    assert threads_of("crowd/actors") >= 100
    release.set()
    until(lambda: threads_of("crowd/actors") <= THREADS + 1, "those that were added have left")


def test_threads_leave_after_a_chain_though_there_is_always_something_to_do(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_executor, "IDLE_SECONDS", 0.2)
    chain(system, 50).ask("count")
    single = system.spawn(lambda: Link(None))

    def few() -> bool:
        single.ask("count")
        return threads_of("crowd/actors") <= THREADS + 1

    until(few, "those that the chain needed have left")


def test_no_place_is_lost_or_made_by_blocking_asks(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_executor, "IDLE_SECONDS", 0.2)
    shared: Any = system._running().environment.shared
    first = chain(system, 30)
    for _ in range(20):
        first.ask("count")
    single = system.spawn(lambda: Link(None))

    def settled() -> bool:
        single.ask("count")
        regulars = threads_of("crowd/actors")
        return regulars + len(shared._permits) - len(shared._debts) == THREADS and not shared._debts

    until(settled, "as many places as at first")


# -- the executor by itself ------------------------------------------------------------------------------------------


def turns_on(executor: SharedExecutor, count: int, work: Callable[[], object]) -> Callable[[], bool]:
    """Submit so many turns; returns whether all were run."""
    done: list[None] = []

    async def turn() -> None:
        work()
        done.append(None)

    for _ in range(count):
        executor.submit(turn)
    return lambda: len(done) == count


def test_every_turn_is_run_once_whoever_submits_it() -> None:
    executor = SharedExecutor(ThreadRuntime(), "alone", threads=3)
    ran: list[int] = []

    def submit(start: int) -> None:
        for number in range(start, start + 2000):

            async def turn(number: int = number) -> None:
                ran.append(number)

            executor.submit(turn)

    submitters = [threading.Thread(target=submit, args=(start,)) for start in range(0, 8000, 2000)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    until(lambda: len(ran) >= 8000, "all were run")
    executor.close()
    assert sorted(ran) == list(range(8000))


def test_turns_that_come_one_by_one_find_a_thread_also_while_threads_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_executor, "IDLE_SECONDS", 0.0)  # every thread leaves as soon as it is idle
    executor = SharedExecutor(ThreadRuntime(), "leaving", threads=2)
    for _ in range(2000):
        done = threading.Event()

        async def turn(done: threading.Event = done) -> None:
            done.set()

        executor.submit(turn)
        assert done.wait(PATIENCE)
    until(lambda: threads_of("leaving") == 0, "all have left")
    assert len(executor._permits) == 2


def test_closing_lets_idle_threads_go_and_runs_what_waits() -> None:
    executor = SharedExecutor(ThreadRuntime(), "closing", threads=2)
    release = threading.Event()
    all_ran = turns_on(executor, 50, lambda: release.wait(PATIENCE))
    executor.close()
    release.set()
    until(all_ran, "all were run")
    until(lambda: threads_of("closing") == 0, "all have left")


def test_a_turn_that_comes_after_the_close_is_still_run() -> None:
    executor = SharedExecutor(ThreadRuntime(), "closed", threads=2)
    executor.close()
    until(turns_on(executor, 10, lambda: None), "all were run")
    until(lambda: threads_of("closed") == 0, "all have left")


def test_a_busy_processor_is_no_stall() -> None:
    executor = SharedExecutor(ThreadRuntime(), "busy", threads=4)

    def compute() -> None:
        deadline = time.thread_time() + 0.02
        while time.thread_time() < deadline:
            pass

    all_ran = turns_on(executor, 60, compute)
    most = 0

    def finished() -> bool:
        nonlocal most
        most = max(most, threads_of("busy"))
        return all_ran()

    until(finished, "all were run")
    executor.close()
    assert most <= 20


# -- when no thread can be started -----------------------------------------------------------------------------------


class Poor(ThreadRuntime):
    """Can start only so many threads."""

    left = 0

    def spawn(self, run: Callable[[], None], name: str, role: str | None = None, *, daemon: bool = True) -> Thread:
        if self.left <= 0:
            msg = "can't start new thread"
            raise RuntimeError(msg)
        self.left -= 1
        return super().spawn(run, name, role, daemon=daemon)


def test_what_waits_is_run_by_the_threads_that_are_there_if_no_more_can_be_started() -> None:
    runtime = Poor()
    runtime.left = 2
    executor = SharedExecutor(runtime, "poor", threads=2)
    until(turns_on(executor, 30, lambda: time.sleep(0.001)), "all were run")
    executor.close()
    until(lambda: threads_of("poor") == 0, "all have left")


def test_a_turn_that_cannot_be_run_is_refused_and_costs_no_place() -> None:
    runtime = Poor()
    executor = SharedExecutor(runtime, "none", threads=2)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        turns_on(executor, 1, lambda: None)
    runtime.left = 1
    until(turns_on(executor, 1, lambda: None), "it was run")
    executor.close()


def test_an_actor_that_finds_no_thread_gets_to_its_message_when_there_are_threads_again(
    system: ActorSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everact.actors.cell.RETRY_SECONDS", 0.02)
    engine: Any = system._running()
    ref = system.spawn(lambda: Link(None))
    turnstile = ref._cell._turnstile
    while not turnstile.take():  # the turn in which it was started is on its way out
        time.sleep(0.001)
    turnstile.give_back()
    refused = threading.Event()
    submit = engine.environment.shared.submit

    def refuse(_: Any) -> None:
        refused.set()
        msg = "can't start new thread"
        raise RuntimeError(msg)

    monkeypatch.setattr(engine.environment.shared, "submit", refuse)
    answer = ref.ask("count", block=False)
    assert refused.is_set()
    monkeypatch.setattr(engine.environment.shared, "submit", submit)
    assert answer.get(timeout=PATIENCE) == 1
