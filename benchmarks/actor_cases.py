"""The cases of actors: everact's, standing alone and spawned in a system, beside stock pykka's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pykka

from benchmarks.figures import Figures
from benchmarks.watch import resident_bytes
from everact import Actor, ActorSystem, Backoff, ChildSpec, Intensity, Supervisor

WAIT = 120.0


class Counting:
    """Counts what it is told, and says how much that was when it is asked."""

    count = 0

    def on_receive(self, _message: Any) -> int:
        """Count."""
        self.count += 1
        return self.count


class Stock(Counting, pykka.ThreadingActor):
    """On pykka as it is."""

    use_daemon_thread = True


class Alone(Counting, Actor):
    """On everact, standing alone: a drop-in for the one above."""

    use_daemon_thread = True


class Pooled(Counting, Actor):
    """On everact, on the threads that actors share."""

    pinned = False


class Failing(Actor):
    """Fails with everything, and says how often it was made."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1

    def on_receive(self, message: Any) -> int:
        """Fail, unless asked."""
        if message == "made":
            return type(self).made
        raise ValueError(message)


Start = Callable[[], Any]


@contextmanager
def starting(kind: str) -> Iterator[Start]:
    """A function that starts one actor of a kind."""
    if kind == "pykka":
        yield Stock.start
    elif kind == "alone":
        yield Alone.start
    else:
        with ActorSystem("bench") as system:
            yield lambda: system.spawn(Pooled)


def lives(count: int, kind: str) -> Figures:
    """Start so many actors, have each answer once, and stop them."""
    with starting(kind) as start:
        start().ask("first")
        before = resident_bytes()
        begun = time.perf_counter()
        refs = [start() for _ in range(count)]
        started = time.perf_counter()
        for ref in refs:
            ref.ask("hello")
        asked = time.perf_counter()
        memory, threads = resident_bytes() - before, threading.active_count()
        stopping = time.perf_counter()
        for ref in refs:
            ref.stop()
        stopped = time.perf_counter()
    return {
        "start us/actor": (started - begun) / count * 1e6,
        "first ask us/actor": (asked - started) / count * 1e6,
        "stop us/actor": (stopped - stopping) / count * 1e6,
        "all, seconds": started - begun + stopped - stopping,
        "bytes/actor": memory / count,
        "threads": threads,
    }


def messages(count: int, kind: str) -> Figures:
    """One sender and one actor: tells until all are handled, and asks one by one."""
    with starting(kind) as start:
        ref = start()
        ref.ask("first")
        begun, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            ref.tell(number)
        ref.ask("last")
        told, used = time.perf_counter() - begun, time.process_time() - cpu
        begun = time.perf_counter()
        for number in range(count // 10):
            ref.ask(number)
        asked = time.perf_counter() - begun
        ref.stop()
    return {
        "tells/s": count / told,
        "cpu us/tell": used / count * 1e6,
        "ask round trip us": asked / (count // 10) * 1e6,
    }


def restarts(count: int) -> Figures:
    """One actor that fails with every message, restarted without a backoff."""
    logging.getLogger("everact").setLevel(logging.CRITICAL)
    spec = ChildSpec(backoff=Backoff(0, most=0, jitter=0))
    with ActorSystem("bench") as system:
        top = system.spawn(lambda: Supervisor(intensity=Intensity(None)))
        ref = system.spawn(Failing, spec=spec, under=top)
        begun, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            ref.tell(number)
        made = ref.ask("made", block=True, timeout=WAIT)
        seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    assert made == count + 1
    return {"restarts/s": count / seconds, "cpu us/restart": used / count * 1e6}
