"""A thread for one cell: whatever is submitted is run, by one thread at a time, and the thread leaves at the end."""

import threading
from typing import Any

import pytest

from everact.actors.executor import PinnedExecutor
from everact.actors.runtime import ThreadRuntime

WAIT = 10.0


class Turns:
    """Turns that count themselves and name the thread that they ran in."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self._ran = threading.Semaphore(0)

    async def turn(self) -> None:
        self.threads.append(threading.get_ident())
        self._ran.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self._ran.acquire(timeout=WAIT)


@pytest.fixture
def turns() -> Turns:
    return Turns()


def alive(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_a_turn_that_comes_after_the_end_is_run_and_its_thread_leaves(turns: Turns) -> None:
    executor = PinnedExecutor(ThreadRuntime(), "pinned-late")
    executor.submit(turns.turn)
    turns.wait_for(1)
    executor.close()
    for thread in alive("pinned-late"):
        thread.join(WAIT)
    executor.submit(turns.turn)
    turns.wait_for(1)
    for thread in alive("pinned-late"):
        thread.join(WAIT)
    assert not alive("pinned-late")


def test_no_turn_is_lost_between_two_ends(turns: Turns) -> None:
    executor = PinnedExecutor(ThreadRuntime(), "pinned-race")
    for _ in range(200):
        executor.submit(turns.turn)
        executor.close()
    turns.wait_for(200)


def test_two_who_submit_at_once_start_one_thread(turns: Turns) -> None:
    class Slow(ThreadRuntime):
        def spawn(self, *args: Any, **options: Any) -> Any:
            # Somebody else submits while the thread is being started.
            other = threading.Thread(target=executor.submit, args=(turns.turn,))
            if not turns.threads and not nested:
                nested.append(other)
                other.start()
                other.join(WAIT)
            return super().spawn(*args, **options)

    nested: list[threading.Thread] = []
    executor = PinnedExecutor(Slow(), "pinned-once")
    executor.submit(turns.turn)
    turns.wait_for(2)
    assert len(set(turns.threads)) == 1
    assert len(alive("pinned-once")) == 1
    executor.close()


def test_a_thread_that_cannot_be_started_leaves_no_turn_behind(turns: Turns) -> None:
    class Out(ThreadRuntime):
        def spawn(self, *args: Any, **options: Any) -> Any:
            if out:
                msg = "can't start new thread"
                raise RuntimeError(msg)
            return super().spawn(*args, **options)

    out = [True]
    executor = PinnedExecutor(Out(), "pinned-out")
    with pytest.raises(RuntimeError, match="can't start"):
        executor.submit(turns.turn)
    out.clear()
    executor.submit(turns.turn)
    turns.wait_for(1)
    executor.close()
    assert len(turns.threads) == 1
