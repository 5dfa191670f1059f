"""Orders, some as a saga, in simulations whose faults are drawn from the seed. As a program it prints their hashes."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import Any

from everact import Retry, Saga, Settings, Step, StorageError, TaskContext, TaskHandler, WorkflowState, task
from everact.testing import Faults, NotAtRest, Simulation, after, at, attempt, before, between, commit, drained

ROUNDS = 30


@dataclass(frozen=True)
class Reserve:
    n: int


class ReserveHandler(TaskHandler[Reserve]):
    task_name = "Reserve"
    concurrency = 2
    retry = Retry(attempts=5, delay=0.3)

    def handle(self, task: Reserve, ctx: TaskContext) -> int:
        ctx.cancellation.wait(0.5)
        return task.n

    def compensate(self, task: Reserve, ctx: TaskContext) -> None:
        ctx.cancellation.wait(0.1)


@task(name="Charge", retry=Retry(attempts=3, delay=1, jitter=0.5))
def charge(ctx: TaskContext, n: int) -> int:
    ctx.compensate_with(refund.task(n))
    if n % 7 == 3:
        raise ValueError(n)
    ctx.dispatch(ship.task(n), delay=5 if n % 2 else None)
    return n


@task(name="Refund")
def refund(ctx: TaskContext, n: int) -> None:
    ctx.cancellation.wait(0.2)


@task(name="Ship", retry=Retry(attempts=2, delay=2))
def ship(ctx: TaskContext, n: int) -> None:
    ctx.cancellation.wait(1.0)
    if n % 5 == 2:
        raise OSError(n)


order = Saga(
    "Order",
    Step(Reserve, name="Reserve"),
    Step(lambda n, results: charge.task(n), name="Charge"),
    Step(lambda n, results: ship.task(n), name="Ship"),
    input=int,
)
HANDLERS: list[Any] = [ReserveHandler, charge, refund, ship, order]


def drawn_faults(chance: random.Random) -> Faults:
    def some(share: float, *faults: Any) -> list[Any]:
        return [fault for fault in faults if chance.random() < share]

    moment = at(chance.choice([0.1, 1, 3]))
    deaths: list[Any] = [
        chance.choice([before, after])(chance.randint(1, 15)) for _ in range(chance.choice([0, 0, 1, 2]))
    ]
    return Faults(
        fail=some(0.3, ("Charge", attempt(1), TimeoutError), ("Reserve", attempt(1), OSError)),
        fail_after=some(0.2, ("Ship", attempt(1), ConnectionError)),
        delay=some(0.1, ("Ship", 3)),
        duplicate=some(0.1, "Refund"),
        crash_at=deaths,
        crash=some(0.2, ("node-1", moment)),
        pause=some(0.1, ("node-1", moment, 10)),
        jump=some(0.1, ("node-1", moment, chance.choice([-100, 100]))),
        busy=some(0.2, commit(chance.randint(1, 10))),
        disk_full=some(0.1, between(0.6, 5)),
        commit_unknown=some(0.2, commit(chance.randint(1, 10))),
        commit_lost=some(0.2, commit(chance.randint(1, 10))),
        cancel=some(0.1, *[(name, chance.randint(1, 150)) for name in ("Order", "Ship", "Charge")]),
        cancel_workflow=some(0.2, ("Order", chance.randint(1, 150))),
    )


def play(seed: int, faults: Faults | None = None, patience: float = 3000, **options: Any) -> Simulation:
    """Let some orders come to their end, and hold what happened to the promises."""
    chance = random.Random(seed)
    nodes = chance.choice([1, 1, 2])
    options = {"seed": seed, "nodes": nodes, "storage": "sqlite" if nodes > 1 else "memory", **options}
    faults = drawn_faults(chance) if faults is None else faults
    with Simulation(HANDLERS, faults=faults, settings=Settings(grace=1.0), **options) as sim:
        for _ in range(chance.randint(1, 4)):
            kind: Any = chance.choice([order, charge.task])
            try:
                sim.dispatch(kind(chance.randint(1, 30)))
            except StorageError:
                continue  # there was no room
        try:
            see_to_the_end(sim, patience)
        except NotAtRest:
            sim.check_all()  # it says more
            raise
        sim.check_all()
    return sim


def see_to_the_end(sim: Simulation, patience: float) -> None:
    for _ in range(ROUNDS):
        sim.run(until=drained, timeout=patience)
        stuck = sim.system.workflows(state=WorkflowState.STUCK)
        if not stuck:
            return
        for workflow in stuck:
            sim.resume(workflow.id)
    raise AssertionError("a workflow is stuck again and again")


if __name__ == "__main__":
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        print(number, play(number).history.hash)
