"""One of several processes on one file: `node.py DATABASE LEDGER LIFE [blind]`, told on standard input what to do.

`dispatch N SECONDS` stores N charges that take so long each, `idle` waits until this node has nothing to do, `fork`
leaves a child behind that sleeps, and prints its process id. Each is answered by a line. It ends with its input.
A blind one takes every other node for dead: a bug that is planted to be seen.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from everact import ActorSystem, TaskContext, TaskHandler, bind
from everact.storage.sqlite import SqliteStorage
from forking import fork
from ledger import Ledger, Started

PATIENCE = 60.0
BATCH = 5


@dataclass(frozen=True)
class Charge:
    """Has a side effect that is seen outside: a line in the ledger."""

    name: str
    seconds: float


class ChargeHandler(TaskHandler[Charge]):
    def __init__(self, ledger: Ledger, life: int) -> None:
        self.ledger = ledger
        self.life = life

    def handle(self, task: Charge, ctx: TaskContext) -> None:
        self.ledger.write(Started(self.life, str(ctx.task_id), ctx.attempt, time.time()))
        time.sleep(task.seconds)


class BlindStorage(SqliteStorage):
    def alive(self, owner: int) -> bool:
        return False


def obey(system: ActorSystem, life: int, command: str) -> str:
    """Do what one line of input says; returns the answer."""
    verb, *arguments = command.split()
    if verb == "dispatch":
        charges = [Charge(f"{life}.{number}", float(arguments[1])) for number in range(int(arguments[0]))]
        for start in range(0, len(charges), BATCH):
            system.dispatch_many(charges[start : start + BATCH])
    elif verb == "idle":
        system.wait_idle(PATIENCE)
    elif verb == "fork":
        return str(fork(lambda: time.sleep(PATIENCE)))
    return str(os.getpid())


def main(database: str, ledger_path: str, number: str, sight: str = "") -> None:
    ledger, life = Ledger(Path(ledger_path)), int(number)
    handler = bind(ChargeHandler, lambda: ChargeHandler(ledger, life))
    storage = (BlindStorage if sight == "blind" else SqliteStorage)(database)
    with ActorSystem(f"node-{life}", handlers=[handler], storage=storage) as system:
        print("started", flush=True)
        for command in sys.stdin:
            print(obey(system, life, command), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
