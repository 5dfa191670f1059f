"""Where the microseconds go: the stages of a dispatch on memory://, timed one by one."""

from __future__ import annotations

import timeit
from collections.abc import Callable

from benchmarks import raw
from benchmarks.figures import Figures
from benchmarks.systems import noop, system
from everact import access


def stages(count: int) -> Figures:
    """The best of five timings of each stage."""

    def best(call: Callable[[], object]) -> float:
        return min(timeit.repeat(call, number=count, repeat=5)) / count * 1e6

    one = noop.task(1, 2)
    with system("memory") as running:
        engine = running._running()
        codec = engine.node.dispatcher.pools[type(one)].codec
        tickets = iter([access.prepare(engine, one, {}) for _ in range(count * 5)])
        engine.node.pools[0].suspended = True
        return {
            "clock us": best(engine.node.runtime.now),
            "id us": best(engine.node.runtime.new_id),
            "encode us": best(lambda: codec.encode(one, b"")),
            "decode us": best(lambda: codec.decode(raw.PAYLOAD, b"", None)),
            "prepare us": best(lambda: access.prepare(engine, one, {})),
            "store us": best(lambda: access.store(engine, [next(tickets)])),
            "dispatch us": best(lambda: running.dispatch(one)),
        }
