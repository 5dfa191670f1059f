"""A thread of its own for one cell: there is never a second one."""

import threading
from collections.abc import Callable

from everact.actors.executor import PinnedExecutor
from everact.actors.runtime import Thread, ThreadRuntime

WAIT = 10.0


class SlowToReturn(ThreadRuntime):
    """Starts a thread, and comes back only when that has had time to work off what there is for it."""

    def __init__(self) -> None:
        super().__init__()
        self.started = 0
        self.worked = threading.Event()

    def spawn(self, run: Callable[[], None], name: str, role: str | None = None, *, daemon: bool = True) -> Thread:
        self.started += 1
        thread = super().spawn(run, name, role, daemon=daemon)
        self.worked.wait(0.05)
        return thread


def test_turns_that_follow_each_other_while_the_thread_starts_run_on_one_thread() -> None:
    runtime = SlowToReturn()
    executor, threads, over = PinnedExecutor(runtime, "own"), [], threading.Event()

    async def first() -> None:
        threads.append(threading.get_ident())
        executor.submit(second)
        runtime.worked.set()

    async def second() -> None:
        threads.append(threading.get_ident())
        over.set()

    executor.submit(first)
    assert over.wait(WAIT)
    executor.close()
    assert runtime.started == 1
    assert len(set(threads)) == 1
