"""asyncio on virtual time: waits cost nothing, a seed is a history, and a kill leaves neither noise nor a thread."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from everact.testing import virtual_loop
from everact.testing.refusal import NotSimulated, refusals
from everact.testing.seeded import Deadlock, SeededRuntime

Log = list[Any]


def run(main: Callable[[], Coroutine[Any, Any, Any]], seed: int = 0) -> Any:
    loop = SeededRuntime(seed).event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Collects what Python says of coroutines, tasks and threads that were left alone."""
    noise: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: noise.append(repr(args.exc_value)))
    monkeypatch.setattr("threading.excepthook", lambda args: noise.append(repr(args.exc_value)))
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_, **__: noise.append(str(message)))
    warnings.simplefilter("always")
    caplog.set_level(logging.WARNING)

    def heard() -> list[str]:
        gc.collect()
        return noise + [record.getMessage() for record in caplog.records]

    return heard


def test_years_of_sleep_take_no_time() -> None:
    async def main() -> float:
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(asyncio.sleep(86_400 * days) for days in range(0, 400, 40)))
        return asyncio.get_running_loop().time() - started

    began = time.monotonic()
    assert run(main) == pytest.approx(86_400 * 360)
    assert time.monotonic() - began < 30


def test_timers_fire_in_order_and_at_their_time() -> None:
    log: Log = []

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def note(delay: float) -> None:
            log.append((delay, loop.time()))

        for delay in (3.0, 1.0, 2.0, 1.0):
            loop.call_later(delay, note, delay)
        await asyncio.sleep(5)

    run(main)
    assert log == [(1.0, 1.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


def test_a_deadline_that_floats_cannot_hit_is_not_waited_for_for_ever() -> None:
    async def main() -> int:
        for _ in range(200):
            await asyncio.sleep(1e7 + 0.1)
            await asyncio.sleep(1e-7)
        return 200

    assert run(main) == 200


def test_callbacks_run_first_in_first_out_under_every_seed() -> None:
    async def main() -> Log:
        log: Log = []
        for number in range(10):
            asyncio.get_running_loop().call_soon(log.append, number)
        await asyncio.sleep(0)
        return log

    assert all(run(main, seed) == list(range(10)) for seed in range(10))


def test_timers_that_are_due_together_fire_in_the_order_in_which_they_were_made() -> None:
    async def main() -> Log:
        log: Log = []

        async def nap(number: int) -> None:
            await asyncio.sleep(5)
            log.append(number)

        await asyncio.gather(*map(nap, range(50)))
        return log

    assert run(main) == list(range(50))


def test_timeouts_and_wait_for_count_virtual_seconds() -> None:
    async def main() -> Log:
        loop, log = asyncio.get_running_loop(), []
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(3600), 60)
        log.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        log.append(loop.time())
        done, pending = await asyncio.wait([loop.create_task(asyncio.sleep(n)) for n in (1, 2, 9)], timeout=5)
        for task in pending:
            task.cancel()
        return [*log, loop.time(), len(done)]

    assert run(main) == pytest.approx([60, 90, 95, 2])


def cancelled_in_order() -> Callable[[], Coroutine[Any, Any, Log]]:
    """Twenty siblings of one that fails say in which order they are cancelled."""

    async def main() -> Log:
        log: Log = []

        async def sleeper(number: int) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                log.append(number)

        async def failing() -> None:
            await asyncio.sleep(1)
            raise OSError

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                ballast.append([tasks.create_task(sleeper(number)) for number in range(20)])
                tasks.create_task(failing())

        with pytest.raises(ExceptionGroup):
            await group()
        return log

    ballast: list[Any] = []
    return main


def test_a_task_group_cancels_its_tasks_in_one_order() -> None:
    assert run(cancelled_in_order()) == run(cancelled_in_order()) == list(range(20))


def test_the_order_of_stock_tasks_in_a_set_would_be_that_of_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without numbers of their own, tasks are cancelled in an order that no seed decides."""
    monkeypatch.setattr(virtual_loop._Ordered, "__hash__", object.__hash__)
    assert run(cancelled_in_order()) != list(range(20))


def test_tasks_have_the_same_names_in_every_run() -> None:
    async def main() -> list[str]:
        task = asyncio.get_running_loop().create_task(asyncio.sleep(0))
        named = asyncio.get_running_loop().create_task(asyncio.sleep(0), name="mine")
        return [task.get_name(), named.get_name()]

    assert run(main) == run(main)
    assert run(main)[1] == "mine"


def test_another_fiber_wakes_the_loop() -> None:
    runtime = SeededRuntime(1)
    loop = runtime.event_loop()
    woken = loop.create_future()

    def other() -> None:
        runtime.gate().wait(7.0)
        loop.call_soon_threadsafe(woken.set_result, "woken")

    runtime.spawn(other, "other")
    assert loop.run_until_complete(asyncio.wait_for(woken, 60)) == "woken"
    assert loop.time() == 7.0
    loop.close()


def test_a_loop_that_nobody_can_wake_is_a_deadlock() -> None:
    loop = SeededRuntime(0).event_loop()
    with pytest.raises(Deadlock):
        loop.run_until_complete(loop.create_future())
    loop.close()


@pytest.mark.parametrize(
    ("called", "attempt"),
    [
        ("run_in_executor", lambda _: asyncio.to_thread(print)),
        ("create_connection", lambda _: asyncio.open_connection("127.0.0.1", 9)),
        ("getaddrinfo", lambda loop: loop.getaddrinfo("localhost", 9)),
        ("sock_connect", lambda loop: loop.sock_connect(None, ("127.0.0.1", 9))),
        ("create_server", lambda _: asyncio.start_server(print, port=0)),
        ("subprocess_exec", lambda _: asyncio.create_subprocess_exec("true")),
        ("subprocess_shell", lambda _: asyncio.create_subprocess_shell("true")),
        ("add_signal_handler", lambda loop: loop.add_signal_handler(15, print)),
        ("add_reader", lambda loop: loop.add_reader(0, print)),
    ],
)
def test_what_leaves_the_simulation_is_refused_with_the_remedy(called: str, attempt: Callable[[Any], Any]) -> None:
    async def main() -> None:
        with pytest.raises(NotSimulated, match=rf"called loop\.{called} in a simulation; .*\."):
            await attempt(asyncio.get_running_loop())

    found: list[NotSimulated] = []
    refusals.collect(found)
    try:
        run(main)
    finally:
        refusals.forget(found)
    assert [error.call for error in found] == [f"loop.{called}"]


def test_a_loop_that_was_left_behind_goes_without_noise(loud: Callable[[], list[str]]) -> None:
    def leave_one_behind() -> None:
        runtime = SeededRuntime(0)

        async def numbers() -> AsyncIterator[int]:
            for number in range(10):
                try:
                    yield number
                finally:
                    await asyncio.sleep(1)

        async def stubborn() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(1000)

        async def failing() -> None:
            raise OSError

        async def main() -> None:
            loop = asyncio.get_running_loop()
            kept.extend(loop.create_task(each()) for each in (stubborn, failing))
            async with asyncio.TaskGroup() as group:
                group.create_task(stubborn())
                async for _ in numbers():
                    await asyncio.sleep(1)
                    loop.create_task(stubborn())  # noqa: RUF006 - not even begun when the kill comes
                    runtime.gate().wait(100)

        def serve() -> None:
            loop = runtime.event_loop()
            kept: list[Any] = [loop.create_task(main())]
            loop.run_forever()
            assert loop.is_closed()
            del kept

        kept: list[Any] = []
        runtime.spawn(serve, "loop")
        runtime.gate().wait(50)
        runtime.end()

    before = set(threading.enumerate())
    leave_one_behind()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
    assert loud() == []


def test_a_loop_that_is_merely_forgotten_is_heard_of(loud: Callable[[], list[str]]) -> None:
    """The control: the same ears hear a task that is destroyed while it waits."""

    def forget() -> None:
        loop = SeededRuntime(0).event_loop()
        task = loop.create_task(asyncio.sleep(10))
        loop.call_later(1, loop.stop)
        loop.run_forever()
        loop.close()
        del task

    forget()
    assert any("Task was destroyed" in each for each in loud())
