"""One actor that is restarted again and again: what is left behind by that?

    python restarts.py --restarts 100000

prints threads, objects and memory before and after, and what has grown. Restarts come as fast as they can: no
backoff, any number of them tolerated. The kinds `leaking-objects` and `leaking-threads` do it on purpose.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from everact import Actor, ActorRef, ActorSystem, Backoff, ChildSpec, Intensity, Supervisor
from everact.actors.shared_executor import THREADS

BATCH = 500
WARM_UP = 1500
"""More than there are dead letters kept, so that their ring is full before the first look."""
ONE_IN = 20
"""Growth by less than an object in so many restarts is taken for noise."""
planted: list[object] = []
released = threading.Event()


class Failing(Actor):
    """Fails with whatever it is told, and says how many came before it when it is asked."""

    instances = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).instances += 1

    def on_receive(self, message: Any) -> int:
        """Fail, unless asked."""
        if message == "instances":
            return type(self).instances
        raise ValueError(message)


class Pinned(Failing):
    """With a thread of its own, which it keeps."""

    pinned = True


class Async(Failing):
    """On the event loop."""

    async def on_receive(self, message: Any) -> int:  # type: ignore[override]
        """As above."""
        return super().on_receive(message)


class KeepingObjects(Failing):
    """The planted leak of objects."""

    def __init__(self) -> None:
        super().__init__()
        planted.append([self])


class KeepingThreads(Failing):
    """The planted leak of threads, by every hundredth instance."""

    def __init__(self) -> None:
        super().__init__()
        if type(self).instances % 100 == 0:
            threading.Thread(target=released.wait, daemon=True).start()


KINDS: dict[str, type[Failing]] = {
    "pooled": Failing,
    "pinned": Pinned,
    "async": Async,
    "leaking-objects": KeepingObjects,
    "leaking-threads": KeepingThreads,
}


@dataclass(frozen=True)
class Look:
    """What there is at one moment."""

    threads: int
    objects: int
    traced_bytes: int
    resident_bytes: int


def look() -> Look:
    """Count, after everything that can be collected was."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    traced = tracemalloc.get_traced_memory()[0]
    return Look(threading.active_count(), len(gc.get_objects()), traced, pages * os.sysconf("SC_PAGE_SIZE"))


def restart(ref: ActorRef[Failing], count: int) -> None:
    """Have it fail so often, and wait until it has been restarted as often."""
    for number in range(count):
        ref.tell(number)
        if number % BATCH == BATCH - 1:
            ref.ask("instances")
    ref.ask("instances")


def grown(before: Look, after: Look, count: int) -> list[str]:
    """What there is more of than noise explains; the threads of the pool come and go."""
    found = []
    if after.threads > before.threads + THREADS:
        found.append("threads")
    if after.objects - before.objects > count / ONE_IN:
        found.append("objects")
    return found


def measure(kind: type[Failing], count: int) -> dict[str, Any]:
    """Restart one actor `count` times in a system of its own."""
    spec = ChildSpec(kind, name="failing", backoff=Backoff(0, most=0, jitter=0))
    with ActorSystem("restarts") as system:
        top = system.spawn(lambda: Supervisor(intensity=Intensity(None)))
        ref = system.spawn(kind, spec=spec, under=top)
        restart(ref, WARM_UP)
        before, instances = look(), int(ref.ask("instances", block=True))
        seconds = timed(lambda: restart(ref, count))
        after, restarts = look(), int(ref.ask("instances", block=True)) - instances
    return {
        "restarts": restarts,
        "restarts_per_second": round(count / seconds),
        "before": asdict(before),
        "after": asdict(after),
        "bytes_per_restart": round((after.resident_bytes - before.resident_bytes) / count, 2),
        "traced_bytes_per_restart": round((after.traced_bytes - before.traced_bytes) / count, 3),
        "grown": grown(before, after, count),
    }


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Read the command line, measure, print; exit 1 if anything has grown or a restart is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=100_000)
    parser.add_argument("--kind", choices=list(KINDS), default="pooled")
    parser.add_argument("--trace", action="store_true", help="trace allocations; slow")
    options = parser.parse_args()
    logging.getLogger("everact").addHandler(logging.NullHandler())
    logging.getLogger("everact").propagate = False
    if options.trace:
        tracemalloc.start()
    figures = measure(KINDS[options.kind], options.restarts)
    print(json.dumps(figures, indent=2))
    sys.exit(1 if figures["grown"] or figures["restarts"] != options.restarts else 0)


if __name__ == "__main__":
    main()
