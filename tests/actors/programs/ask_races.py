"""Two races of pykka, forced: how often does an ask get no answer, and how often is an actor dead that says it lives?

    python ask_races.py --asks 1000000

Late asks: an actor is asked while it stops. pykka looks whether the actor lives, then puts the message in; if it has
stopped and emptied its inbox in between, the future is never set. Foreign sets: somebody else sets the future of an
ask, to call it off. pykka's actor fails to set it, fails to set that error, and its thread dies; the actor stays
registered and alive, and every later ask hangs.

Each race has as many asks as the command line says, of everact's actors and of stock pykka's by turns, with a switch
interval of a microsecond. Exit code 1 if everact shows one of them, or stock pykka shows no foreign set.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import queue
import sys
import threading
import time
from collections import Counter
from typing import Any

import pykka

import everact

SWITCH_SECONDS = 1e-6
EACH = 25
BEFORE_THE_STOP = 5
CHUNK = 40
ONE_BY_ONE_SECONDS = 0.001
LAST_SECONDS = 1.0
THREAD_SECONDS = 5.0


class Short:
    """Answers, for a short life; says which thread is its own."""

    def __init__(self, threads: list[threading.Thread]) -> None:
        super().__init__()
        self._threads = threads

    def on_start(self) -> None:
        """Say in which thread it runs."""
        self._threads.append(threading.current_thread())

    def on_receive(self, message: Any) -> Any:
        """Answer with the message."""
        return message


class Ours(Short, everact.Actor):
    """On everact."""

    use_daemon_thread = True


class Stock(Short, pykka.ThreadingActor):
    """On pykka as it is."""

    use_daemon_thread = True


KINDS: dict[str, Any] = {"everact": Ours, "pykka": Stock}


def answered(future: Any, seconds: float) -> bool:
    """Whether there is an answer, be it an error."""
    try:
        future.get(timeout=seconds)
    except pykka.Timeout:
        return False
    except Exception:
        return True
    return True


def ask_late(kind: Any, tally: Counter[str]) -> list[Any]:
    """Ask an actor again and again while it stops; returns what has no answer when it has gone."""
    threads: list[threading.Thread] = []
    ref = kind.start(threads)
    asked = [ref.ask(number, block=False) for number in range(BEFORE_THE_STOP)]
    stopped = ref.stop(block=False)
    asked += [ref.ask(number, block=False) for number in range(EACH - BEFORE_THE_STOP)]
    answered(stopped, THREAD_SECONDS)
    threads[0].join(THREAD_SECONDS)
    doubtful = [future for future in asked if not answered(future, 0)]
    tally["late asks"] += len(asked)
    return doubtful


def set_from_outside(kind: Any, tally: Counter[str]) -> None:
    """Set the futures of asks, each as soon as it is there, and see whether the actor lives on."""
    threads: list[threading.Thread] = []
    ref = kind.start(threads)
    for number in range(EACH):
        future = ref.ask(number, block=False)
        try:
            future.set("called off")
            tally["set first"] += 1
        except queue.Full:
            pass
    tally["foreign sets"] += EACH
    if is_zombie(ref, threads):
        tally["zombies"] += 1
        pykka.ActorRegistry.unregister(ref)  # else every later one is looked up behind it
    else:
        answered(ref.stop(block=False), THREAD_SECONDS)


def is_zombie(ref: Any, threads: list[threading.Thread]) -> bool:
    """Whether it says that it lives and has no thread any more, or does not answer."""
    ping = ref.ask("ping", block=False)
    deadline = time.monotonic() + THREAD_SECONDS
    while not answered(ping, ONE_BY_ONE_SECONDS):
        if (threads and not threads[0].is_alive()) or time.monotonic() > deadline:
            return not answered(ping, 0) and bool(ref.is_alive())
    return False


def force(asks: int) -> dict[str, Counter[str]]:
    """Both races with both kinds of actors, by turns."""
    tallies: dict[str, Counter[str]] = {name: Counter() for name in KINDS}
    doubtful: dict[str, list[Any]] = {name: [] for name in KINDS}
    for chunk in range(0, asks // EACH, CHUNK):
        for name, kind in KINDS.items():
            begun = time.perf_counter()
            for _ in range(min(CHUNK, asks // EACH - chunk)):
                doubtful[name] += ask_late(kind, tallies[name])
                set_from_outside(kind, tallies[name])
            tallies[name]["microseconds"] += round((time.perf_counter() - begun) * 1e6)
    time.sleep(LAST_SECONDS)  # an answer that is late is an answer
    for name, futures in doubtful.items():
        tallies[name]["without an answer"] = sum(not answered(future, 0) for future in futures)
    return tallies


def own_threads() -> int:
    """Threads but those of the shared pool, which wait for more to do before they leave."""
    return sum(not thread.name.startswith("everact/actors") for thread in threading.enumerate())


def main() -> None:
    """Read the command line, force the races, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asks", type=int, default=1_000_000)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    threading.excepthook = lambda _: None  # the threads of zombies
    sys.setswitchinterval(SWITCH_SECONDS)
    found = force(options.asks)
    gc.collect()
    deadline = time.monotonic() + THREAD_SECONDS
    while own_threads() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)  # the last actor has ended; its thread is on its way out
    figures = {name: {each: tally[each] for each in FIGURES} for name, tally in found.items()}
    print(json.dumps({**figures, "threads_left": own_threads()}, indent=2))
    ours, stock = found["everact"], found["pykka"]
    sys.exit(1 if ours["without an answer"] or ours["zombies"] or not stock["zombies"] else 0)


FIGURES = ("late asks", "without an answer", "foreign sets", "set first", "zombies", "microseconds")

if __name__ == "__main__":
    main()
