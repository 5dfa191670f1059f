"""What a small simulated run costs, beside the same run on a real system: milliseconds each, the median of some."""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from everact import ActorSystem, Settings, TaskContext, task
from everact.storage.sqlite import SqliteStorage
from everact.testing import Simulation
from everact.testing.fresh_file import database, fresh_folder


@task(name="Charge")
def charge(ctx: TaskContext, n: int) -> int:
    ctx.dispatch(ship.task(n))
    return n


@task(name="Ship")
def ship(n: int) -> None:
    """Nothing: the engine is what is measured."""


def simulated(storage: str) -> int:
    with Simulation([charge, ship], storage=storage) as sim:
        sim.dispatch(charge.task(1))
        sim.run()
        return sim.steps


def checked() -> int:
    with Simulation([charge, ship], storage="memory") as sim:
        sim.dispatch(charge.task(1))
        sim.run()
        sim.check_all()
        return sim.steps


def real(storage: str) -> int:
    folder = fresh_folder()
    kept = SqliteStorage(database(folder), "process") if storage == "sqlite" else "memory://"
    with ActorSystem(handlers=[charge, ship], storage=kept, settings=Settings(metrics=False)) as system:
        system.dispatch(charge.task(1))
        system.wait_idle(10)
    shutil.rmtree(folder)
    return 0


def milliseconds(run: Callable[[], int], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


if __name__ == "__main__":
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"steps of the scheduler: {simulated('memory')}")
    for storage in ("memory", "sqlite"):
        there = milliseconds(partial(simulated, storage), times)
        print(f"{storage}: simulated {there:.1f} ms, real {milliseconds(partial(real, storage), times):.1f} ms")
    print(f"memory, with all checkers: {milliseconds(checked, times):.1f} ms")
