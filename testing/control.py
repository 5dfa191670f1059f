"""What user code in a simulation gets for each function that would leave it."""

from __future__ import annotations

import _thread
import asyncio
import asyncio.events
import asyncio.tasks
import datetime as dt
import os
import queue
import random
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from everact.testing.refusal import NETWORK, PROCESS, THREAD, refusals
from everact.testing.residents import World
from everact.testing.strays import Strays, asker, controlled, entered
from everact.testing.substitution import Substitution

SECOND_NS = 1_000_000_000
GREGORIAN = 0x01B21DD213814000
"""Steps of 100 ns between the calendar of a UUIDv1 and the Unix epoch."""


def install(into: Substitution) -> None:
    """Replace all of them."""
    for group in (_clocks, _chance, _waits, _refusals):
        group(into)
    into.replace_imported()


# -- clocks ------------------------------------------------------------------------------------------------


def _clocks(into: Substitution) -> None:
    for owner, name, virtual in (
        (time, "time", lambda _, world: world.now() / 1e6),
        (time, "time_ns", lambda _, world: world.now() * 1000),
        *((time, name, lambda _, world: world.monotonic()) for name in ("monotonic", "perf_counter")),
        *((time, name, _nanoseconds) for name in ("monotonic_ns", "perf_counter_ns")),
        *((owner, name, lambda _, world: world.monotonic()) for owner, name in ((threading, "_time"), (queue, "time"))),
        *((time, name, _of_now(getattr(time, name))) for name in ("localtime", "gmtime", "ctime")),
        (time, "strftime", _strftime(time.strftime, time.localtime)),
    ):
        into.replace(owner, name, controlled(getattr(owner, name), virtual))
    methods: list[tuple[type, str, Callable[..., Any]]] = [
        (dt.datetime, "now", lambda _, world, cls, tz=None: cls.fromtimestamp(world.now() / 1e6, tz)),
        (dt.datetime, "utcnow", _utcnow),
        (dt.date, "today", lambda _, world, cls: cls.fromtimestamp(world.now() / 1e6)),
    ]
    for kind, name, virtual in methods:
        method = kind.__dict__[name]

        def real(cls: Any, *args: Any, method: Any = method, **kwargs: Any) -> Any:
            return method.__get__(None, cls)(*args, **kwargs)

        into.replace_builtin(kind, name, classmethod(controlled(real, virtual)))


def _nanoseconds(_: Strays, world: World) -> int:
    return int(world.monotonic() * SECOND_NS)


def _of_now(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _, world, seconds=None: real(world.now() / 1e6 if seconds is None else seconds)


def _strftime(real: Callable[..., str], localtime: Callable[..., Any]) -> Callable[..., str]:
    return lambda _, world, form, t=None: real(form, localtime(world.now() / 1e6) if t is None else t)


def _utcnow(_: Strays, world: World, cls: Any) -> Any:
    return cls.fromtimestamp(world.now() / 1e6, dt.UTC).replace(tzinfo=None)


# -- chance ------------------------------------------------------------------------------------------------


def _chance(into: Substitution) -> None:
    for name in random.__all__:
        if name[0].islower() and name != "seed":
            into.replace(random, name, controlled(getattr(random, name), _drawn(name)))
    into.replace(random, "seed", controlled(random.seed, _seed))
    into.replace(random.Random, "seed", controlled(random.Random.seed, _seed_one(random.Random.seed)))
    # `secrets`, `SystemRandom` and `uuid4` look these up when they are called, so it does not matter who imported them.
    into.replace(random, "_urandom", controlled(os.urandom, _random_bytes))
    into.replace(os, "urandom", controlled(os.urandom, _random_bytes))
    if getattr(uuid, "_generate_time_safe", None) is not None:
        into.replace(uuid, "_generate_time_safe", controlled(uuid._generate_time_safe, _uuid1))  # type: ignore[attr-defined]


def _drawn(name: str) -> Callable[..., Any]:
    return lambda strays, world, *args, **kwargs: getattr(strays.chance(world), name)(*args, **kwargs)


def _random_bytes(strays: Strays, world: World, size: int) -> bytes:
    return strays.chance(world).randbytes(size)


def _seed(strays: Strays, world: World, a: Any = None, version: int = 2) -> None:
    if a is not None:  # without, it stays what the simulation's seed has made of it
        strays.chance(world).seed(a, version)


def _seed_one(real: Callable[..., None]) -> Callable[..., None]:
    def seed(strays: Strays, world: World, chance: Any, a: Any = None, version: int = 2) -> None:
        real(chance, strays.chance(world).getrandbits(128) if a is None else a, version)

    return seed


def _uuid1(strays: Strays, world: World) -> tuple[bytes, None]:
    stamp = strays.last_stamp = max(strays.last_stamp + 1, world.now() * 10 + GREGORIAN)
    fields = (stamp & 0xFFFFFFFF, stamp >> 32 & 0xFFFF, stamp >> 48 & 0x0FFF, 0, 0, 1 << 40)
    return uuid.UUID(fields=fields, version=1).bytes, None


# -- waits -------------------------------------------------------------------------------------------------


def _waits(into: Substitution) -> None:
    into.replace(time, "sleep", controlled(time.sleep, _sleep))
    # Event, Semaphore, Barrier and queue.Queue wait on a Condition.
    into.replace(threading.Condition, "wait", controlled(threading.Condition.wait, _wait))
    for owner in (asyncio, asyncio.events):
        into.replace(owner, "new_event_loop", controlled(asyncio.new_event_loop, lambda _, world: world.event_loop()))
    for owner in (asyncio, asyncio.tasks):
        into.replace(owner, "as_completed", controlled(asyncio.as_completed, _as_completed(asyncio.as_completed)))


def _sleep(_: Strays, world: World, seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    world.wait(lambda: False, seconds)


def _wait(_: Strays, world: World, condition: Any, timeout: float | None = None) -> bool:
    """What `Condition.wait` does, with a wait of the simulation's in the middle."""
    if not condition._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    waiter = _thread.allocate_lock()
    waiter.acquire()
    condition._waiters.append(waiter)
    state = condition._release_save()
    try:
        notified = world.wait(lambda: not waiter.locked(), timeout)
    finally:
        condition._acquire_restore(state)
    if not notified and waiter in condition._waiters:
        condition._waiters.remove(waiter)
    return notified


def _as_completed(real: Callable[..., Any]) -> Callable[..., Any]:
    """A set of the coroutines is what asyncio makes, and starts them in the order of their addresses."""

    def as_completed(_: Strays, __: World, fs: Iterable[Any], *, timeout: float | None = None) -> Any:
        return real([asyncio.ensure_future(each) for each in fs], timeout=timeout)

    return as_completed


# -- refusals ----------------------------------------------------------------------------------------------


def _refusals(into: Substitution) -> None:
    for owner, name, call, instead in (
        *((socket.socket, name, f"socket.{name}", NETWORK) for name in ("connect", "connect_ex", "bind", "sendto")),
        *((socket, name, f"socket.{name}", NETWORK) for name in ("getaddrinfo", "gethostbyname")),
        (subprocess.Popen, "__init__", "subprocess.Popen", PROCESS),
        *((os, name, f"os.{name}", PROCESS) for name in ("system", "fork", "posix_spawn") if hasattr(os, name)),
        (_thread, "start_new_thread", "_thread.start_new_thread", THREAD),
    ):
        into.replace(owner, name, controlled(getattr(owner, name), _refused(call, instead)))
    into.replace(threading.Thread, "start", _start_of(threading.Thread.start))


def _refused(call: str, instead: str) -> Callable[..., NoReturn]:
    return lambda *_, **__: refusals.refuse(call, instead)


def _start_of(real: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start(thread: threading.Thread) -> None:
        if asker() is not None:
            refusals.refuse(f"Thread.start of {thread.name!r}", THREAD)
        real(thread)
        for strays in entered():
            strays.started(thread)

    return start
