"""What user code does in a simulation comes from the seed, or is refused by name; nobody else notices."""

# ruff: noqa: DTZ002, DTZ003, DTZ005, DTZ007, DTZ011, PLW0108, S605 - users write such things; and each name is looked up late

from __future__ import annotations

import _thread
import asyncio
import datetime as dt
import logging
import os
import queue
import random
import secrets
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from random import choice
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import pytest

from everact import ActorSystem, Retry, TaskContext, TaskHandler, TaskStatus, task
from everact.testing.refusal import NotSimulated
from everact.testing.seeded import EPOCH, SeededRuntime
from everact.testing.strays import Strays

REAL = {"sleep": sleep, "now": datetime.now, "urandom": os.urandom, "choice": choice, "start": threading.Thread.start}
WINDOW = 1e6
"""Seconds from the epoch of the virtual clock; the real clock is elsewhere."""


def in_a_fiber(code: Callable[[], Any], seed: int = 0, watch: Strays | None = None) -> Any:
    """Run user code on a thread of a simulation."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(code())
        except Exception as error:
            results.append(error)

    runtime = SeededRuntime(seed)
    with watch or Strays(seed):
        runtime.spawn(run, "handler's thread").join()
        runtime.end()
    return results[0]


CLOCKS: dict[str, Callable[[], float]] = {
    "time.time": lambda: time.time(),
    "time.time_ns": lambda: time.time_ns() / 1e9,
    "datetime.now": lambda: datetime.now().timestamp(),
    "datetime.now, aware": lambda: datetime.now(dt.UTC).timestamp(),
    "datetime.utcnow": lambda: datetime.utcnow().replace(tzinfo=dt.UTC).timestamp(),
    "datetime.today": lambda: datetime.today().timestamp(),
    "time.localtime": lambda: time.mktime(time.localtime()),
    "time.gmtime": lambda: datetime(*time.gmtime()[:6], tzinfo=dt.UTC).timestamp(),
    "date.today": lambda: datetime.combine(dt.date.today(), dt.time(12)).timestamp(),
    "time.strftime": lambda: datetime.strptime(time.strftime("%Y-%m-%d"), "%Y-%m-%d").timestamp(),
    "a log record": lambda: logging.LogRecord("", 0, "", 0, "", (), None).created,
}


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")
@pytest.mark.parametrize("name", CLOCKS)
def test_user_code_reads_the_virtual_clock(name: str) -> None:
    assert abs(in_a_fiber(CLOCKS[name]) - EPOCH / 1e6) < WINDOW
    assert abs(CLOCKS[name]() - EPOCH / 1e6) > WINDOW


@pytest.mark.parametrize("nap", [lambda: time.sleep(3600), lambda: sleep(3600)], ids=["time.sleep", "sleep"])
@pytest.mark.parametrize("read", [lambda: time.monotonic(), lambda: monotonic(), lambda: time.perf_counter()])
def test_sleeping_takes_virtual_time_however_it_was_imported(
    nap: Callable[[], None], read: Callable[[], float]
) -> None:
    def code() -> float:
        before = read()
        nap()
        return read() - before

    assert in_a_fiber(code) == 3600


DRAWS: dict[str, Callable[[], Any]] = {
    "random": lambda: (random.random(), random.randint(0, 10**9), random.sample(range(100), 5), random.gauss()),
    "from random import choice": lambda: [choice(range(1000)) for _ in range(9)],
    "random.Random()": lambda: random.Random().random(),
    "random.seed()": lambda: (random.seed(), random.random()),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "secrets": lambda: (secrets.token_hex(), secrets.randbelow(10**9), secrets.choice(range(1000))),
    "os.urandom": lambda: os.urandom(8),
    "uuid4": lambda: (uuid4(), uuid.uuid4()),
    "uuid1": lambda: (uuid.uuid1(), uuid.uuid1()),
}


@pytest.mark.parametrize("name", DRAWS)
def test_user_code_draws_from_the_seed(name: str) -> None:
    draw = DRAWS[name]
    assert in_a_fiber(draw, seed=1) == in_a_fiber(draw, seed=1)
    assert draw() != draw()
    if name != "uuid1":
        assert in_a_fiber(draw, seed=1) != in_a_fiber(draw, seed=2)
    if name.startswith("uuid"):
        one, other = in_a_fiber(draw)
        assert (one.version, one.variant) == (int(name[-1]), uuid.RFC_4122)
        assert one != other


def test_a_seed_that_user_code_sets_itself_holds() -> None:
    def code() -> float:
        random.seed(7)
        return random.random()

    assert in_a_fiber(code) == random.Random(7).random()


def test_events_conditions_and_queues_wait_in_virtual_time() -> None:
    def code() -> list[Any]:
        event, box = threading.Event(), queue.Queue[int]()
        answers: list[Any] = [event.wait(60), time.monotonic()]
        with pytest.raises(queue.Empty):
            box.get(timeout=600)
        answers.append(time.monotonic())
        event.set()
        box.put(5)
        return [*answers, event.wait(60), box.get(timeout=5), threading.Semaphore(0).acquire(timeout=1)]

    assert in_a_fiber(code) == [False, 60, 660, True, 5, False]


def test_one_handler_wakes_another_one_through_an_event() -> None:
    runtime = SeededRuntime(0)
    log: list[Any] = []
    event = threading.Event()

    def waiter() -> None:
        log.append(event.wait(1000))
        log.append(time.monotonic())

    def setter() -> None:
        time.sleep(7)
        event.set()

    with Strays():
        threads = [runtime.spawn(waiter, "waiter"), runtime.spawn(setter, "setter")]
        for thread in threads:
            thread.join()
    assert log == [True, 7]


def test_asyncio_run_in_a_sync_handler_is_on_virtual_time() -> None:
    async def main() -> tuple[float, list[int]]:
        async def nap(number: int) -> int:
            await asyncio.sleep(100)
            return number

        loop = asyncio.get_running_loop()
        return loop.time(), [await each for each in asyncio.as_completed([nap(number) for number in range(30)])]

    assert in_a_fiber(lambda: asyncio.run(main())) == (0, list(range(30)))


REFUSED: dict[str, Callable[[], Any]] = {
    "Thread.start": lambda: threading.Thread(target=print, name="stray").start(),
    "Thread.start of 'ThreadPoolExecutor": lambda: ThreadPoolExecutor().submit(print),
    "Thread.start of 'Thread-": lambda: threading.Timer(1, print).start(),
    "_thread.start_new_thread": lambda: _thread.start_new_thread(print, ()),
    "socket.getaddrinfo": lambda: urllib.request.urlopen("http://localhost:9/"),
    "socket.connect": lambda: connect("connect"),
    "socket.connect_ex": lambda: connect("connect_ex"),
    "subprocess.Popen": lambda: subprocess.run(["true"], check=True),
    "os.system": lambda: os.system("true"),
    "os.fork": lambda: os.fork(),
}


def connect(how: str) -> None:
    with socket.socket() as own:
        getattr(own, how)(("127.0.0.1", 9))


@pytest.mark.parametrize("call", REFUSED)
def test_what_cannot_be_simulated_is_refused_by_name(call: str) -> None:
    watch = Strays()
    error = in_a_fiber(REFUSED[call], watch=watch)
    assert isinstance(error, NotSimulated)
    assert error.call.startswith(call)
    assert str(error).startswith(f'what runs on thread "handler\'s thread" called {call}')
    assert "in a simulation;" in str(error)
    assert watch.found == [error]
    with pytest.raises(NotSimulated):
        watch.check()


def test_what_is_around_a_simulation_does_not_notice_it() -> None:
    runtime = SeededRuntime(0)
    with Strays():
        runtime.spawn(lambda: time.sleep(1e6), "sleeper").join()
        assert abs(time.time() - EPOCH / 1e6) > WINDOW
        assert time.perf_counter() < 1e6 + time.monotonic()
        assert random.Random(3).random() == random.Random(3).random()
        assert secrets.token_hex() != secrets.token_hex()
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        subprocess.run(["true"], check=True)
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
            pass


def test_everything_is_put_back_even_if_the_simulation_failed() -> None:
    with pytest.raises(ZeroDivisionError), Strays():
        assert time.sleep is not REAL["sleep"]
        assert globals()["sleep"] is not REAL["sleep"]
        raise ZeroDivisionError
    assert time.sleep is sleep is REAL["sleep"]
    assert datetime.now == REAL["now"]
    assert os.urandom is random._urandom is REAL["urandom"]  # type: ignore[attr-defined]
    assert random.choice is choice is REAL["choice"]
    assert threading.Thread.start is REAL["start"]
    assert "connect" not in vars(socket.socket)
    assert time.monotonic is monotonic is vars(queue)["time"] is vars(threading)["_time"]


def test_a_simulation_inside_another_ends_without_ending_that() -> None:
    with Strays():
        with Strays():
            pass
        assert time.sleep is not REAL["sleep"]
    assert time.sleep is REAL["sleep"]


# -- with a system around it -------------------------------------------------------------------------------


class Worlds:
    """Starts systems on one seeded runtime."""

    def __init__(self, seed: int = 0) -> None:
        self.runtime = SeededRuntime(seed)

    def run(self, handlers: list[Any], tasks: list[Any], watch: Strays | None = None) -> list[Any]:
        runtime = self.runtime

        class Seeded(ActorSystem):
            _make_runtime = staticmethod(lambda: runtime)

        with watch or Strays(), Seeded("world", handlers=handlers) as system:
            handles = [system.dispatch(each) for each in tasks]
            system.wait_idle(1e6)
            records = [handle.record() for handle in handles]
        runtime.end()
        return records


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_that_uses_a_socket_is_named_with_its_task(kind: str) -> None:
    @task(name="charge", retry=Retry(attempts=1))
    def charge(n: int) -> None:
        connect("connect")

    @task(name="charge", retry=Retry(attempts=1))
    async def charge_async(n: int) -> None:
        await asyncio.sleep(1)
        connect("connect")

    watch, handler = Strays(), charge if kind == "sync" else charge_async
    (record,) = Worlds().run([handler], [handler.task(1)], watch)
    assert record.status is TaskStatus.FAILED
    assert record.error.text.startswith(f"handler 'charge' (task {record.id}, attempt 1) called socket.connect in")
    assert [str(error) for error in watch.found] == [record.error.text]


def test_what_a_handler_swallows_is_found_all_the_same() -> None:
    @task(name="quiet")
    async def quiet(n: int) -> str:
        try:
            await asyncio.to_thread(print)
        except Exception:
            return "never mind"
        return "printed"

    watch = Strays()
    (record,) = Worlds().run([quiet], [quiet.task(1)], watch)
    assert record.status is TaskStatus.COMPLETED
    with pytest.raises(NotSimulated, match=r"handler 'quiet' .* called loop\.run_in_executor"):
        watch.check()


HOOKS = ("on_actor_start", "on_started", "on_completed", "on_retry", "on_error", "on_actor_stop")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_hooks_factories_and_child_tasks_are_user_code_too(kind: str) -> None:
    stamps: dict[str, float] = {}

    def note(name: str) -> None:
        stamps[name] = time.time()

    @task(name="ping")
    def ping(n: int) -> None: ...

    class Handler(TaskHandler[ping.task]):  # type: ignore[name-defined]
        retry = Retry(attempts=2, delay=1)

        def __init__(self) -> None:
            note("__init__")

    def hook(name: str) -> Callable[..., Any]:
        if kind == "async":

            async def noted(*_: object) -> None:
                await asyncio.sleep(0)
                note(name)

            return noted
        return lambda *_: note(name)

    async def child() -> None:
        await asyncio.sleep(1)
        note("child")

    async def handle_async(self: object, task: Any, ctx: TaskContext) -> None:
        await asyncio.gather(child(), asyncio.sleep(2))
        asyncio.get_running_loop().call_soon(note, "callback")
        handle(self, task, ctx)

    def handle(self: object, task: Any, ctx: TaskContext) -> None:
        note("handle")
        if task.n:
            raise OSError

    for name in HOOKS:
        setattr(Handler, name, hook(name))
    Handler.handle = handle_async if kind == "async" else handle  # type: ignore[method-assign]
    Worlds().run([Handler], [ping.task(0), ping.task(1)])
    expected = {"__init__", "handle", *HOOKS} | ({"child", "callback"} if kind == "async" else set())
    assert set(stamps) == expected
    assert {name for name, stamp in stamps.items() if abs(stamp - EPOCH / 1e6) > WINDOW} == set()


def test_a_thread_that_was_started_behind_our_back_is_found() -> None:
    """By a function that was bound where nobody looks, as C code would start one."""
    begun, stop = threading.Event(), threading.Event()

    def stray() -> None:
        begun.set()
        stop.wait()

    def code(start: Any = _thread.start_new_thread) -> None:
        start(stray, ())

    runtime = SeededRuntime(0)
    try:
        with Strays() as watch:
            runtime.spawn(code, "handler's thread").join()
            begun.wait()
        with pytest.raises(NotSimulated, match="something that has left thread"):
            watch.check()
    finally:
        stop.set()
