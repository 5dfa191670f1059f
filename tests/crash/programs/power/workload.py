"""A system at work, to be recorded: `python -m power.workload FOLDER VARIANT`.

Several threads dispatch single tasks, whole groups in one commit, and tasks for later that they cancel; half of the
tasks complete with a follow-up, and some are retried. All of that twice: the second life finds the first one's file.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from everact import ActorSystem, CancelOutcome, Retry, TaskContext, TaskHandler, bind
from everact.storage import connections
from power.ledger import CANCELLED, ENDED, STORED, Ledger

CALLERS = 3
ROUNDS = 16
GROUP = 40
WAIT = 30.0
CHECKPOINT_PAGES = 60  # instead of 2,000, so that the log has checkpoints in it
VARIANTS = {
    "power": "what `sqlite:///tasks.db` promises",
    "process": "the control for losses: `?durability=process` does not promise to survive a power cut",
    "no-sync": "the control for damage: SQLite is told not to sync at all",
    "split": "the control for torn transactions: the follow-up is committed before the completion it belongs to",
}


@dataclass(frozen=True)
class PackOrder:
    number: int
    group: int
    note: str


@dataclass(frozen=True)
class ShipOrder:
    number: int


class PackOrderHandler(TaskHandler[PackOrder]):
    retry = Retry(attempts=2, delay=0.01)
    concurrency = 2

    def __init__(self, *, split: bool = False) -> None:
        self.split = split

    def handle(self, task: PackOrder, ctx: TaskContext) -> int:
        if task.number % 7 == 0 and ctx.attempt == 1:
            msg = "no box"
            raise RuntimeError(msg)
        return task.number

    def on_completed(self, ctx: TaskContext) -> None:
        follow_up = ShipOrder(ctx.task.number)
        if self.split:
            ctx.system.dispatch(follow_up)
        else:
            ctx.dispatch(follow_up)


class ShipOrderHandler(TaskHandler[ShipOrder]):
    def handle(self, task: ShipOrder, ctx: TaskContext) -> None:
        pass


def system_on(folder: Path, variant: str = "power") -> ActorSystem:
    """Make the system of a variant."""
    suffix = "?durability=process" if variant in {"process", "no-sync"} else ""
    if variant == "no-sync":
        connections._SYNCHRONOUS["process"] = "OFF"
    connections.CHECKPOINT_PAGES = CHECKPOINT_PAGES
    pack = bind(PackOrderHandler, lambda: PackOrderHandler(split=variant == "split"))
    return ActorSystem("shop", handlers=[pack, ShipOrderHandler], storage=f"sqlite:///{folder / 'tasks.db'}{suffix}")


def call(system: ActorSystem, ledger: Ledger, first: int) -> None:
    """What one caller does: every promise goes into the ledger as soon as everact has made it."""
    for number in range(first, first + ROUNDS):
        order = system.dispatch(PackOrder(number, group=0, note="x" * (number % 50) * 20))
        ledger.write(STORED, [order.id])
        if number % 3 == 0:
            assert order.result(WAIT) == number
            ledger.write(ENDED, [order.id])
        if number % 4 == 0:
            later = system.dispatch(ShipOrder(-1), delay=3600)
            ledger.write(STORED, [later.id])
            assert later.cancel() is CancelOutcome.CANCELLED
            ledger.write(CANCELLED, [later.id])
        if number % 8 == 0:
            group = system.dispatch_many(PackOrder(-7, number, "y" * 100) for _ in range(GROUP))
            ledger.write(STORED, [each.id for each in group])


def live(folder: Path, variant: str, ledger: Ledger, first: int) -> None:
    """One start of the system, with all its callers."""
    starts = range(first, first + CALLERS * ROUNDS, ROUNDS)
    with system_on(folder, variant) as system, ThreadPoolExecutor(CALLERS) as callers:
        for done in [callers.submit(call, system, ledger, start) for start in starts]:
            done.result()


def main(folder: str, variant: str) -> None:
    ledger = Ledger(Path(folder))
    for first in (1, 1001):
        live(Path(folder), variant, ledger, first)


if __name__ == "__main__":
    main(*sys.argv[1:])
