"""An order whose second step kills its process whenever it runs: `poisoned_order.py FOLDER handlers|saga`.

The process is started again after each death, until it ends by itself. Prints how each one ended. What the steps and
the undos do is written into the diary in FOLDER.
"""

import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from everact import ActorSystem, Saga, Step, TaskContext, TaskHandler, bind
from forking import exit_code, fork
from orders.diary import BEGAN, DID, UNDID, Diary
from orders.life import ORDER, database

MOST_STARTS = 7
PATIENCE = 30.0


@dataclass(frozen=True)
class Pack:
    order: int


@dataclass(frozen=True)
class Explode:
    order: int


@dataclass(frozen=True)
class Send:
    order: int


@dataclass(frozen=True)
class Undo:
    step: str


class PackHandler(TaskHandler[Pack]):
    def __init__(self, diary: Diary, *, by_hand: bool) -> None:
        self.diary = diary
        self.by_hand = by_hand

    def handle(self, task: Pack, ctx: TaskContext) -> None:
        self.diary.write(DID, "pack")
        if self.by_hand:
            ctx.compensate_with(Undo("pack"))
            ctx.dispatch(Explode(task.order))


class ExplodeHandler(TaskHandler[Explode]):
    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def handle(self, task: Explode, ctx: TaskContext) -> None:
        self.diary.write(BEGAN, "explode")
        os.kill(os.getpid(), signal.SIGKILL)


class ExplodeByHand(ExplodeHandler):
    def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Send(ctx.task.order))

    def compensate(self, task: Explode, ctx: TaskContext) -> None:
        self.diary.write(UNDID, f"explode-{ctx.outcome}")


class SendHandler(TaskHandler[Send]):
    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def handle(self, task: Send, ctx: TaskContext) -> None:
        self.diary.write(DID, "send")


class UndoHandler(TaskHandler[Undo]):
    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def handle(self, task: Undo, ctx: TaskContext) -> None:
        self.diary.write(UNDID, f"{task.step}-{ctx.outcome}")


ORDERED = Saga(
    "poisoned",
    Step(Pack, undo=lambda order: Undo("pack")),
    Step(Explode, undo=lambda order: Undo("explode")),
    Step(Send),
    input=int,
)


def live(folder: Path, form: str, number: int) -> None:
    """One start of the process."""
    diary, by_hand = Diary(folder, number), form == "handlers"
    explode = ExplodeByHand if by_hand else ExplodeHandler
    handlers = [
        bind(PackHandler, lambda: PackHandler(diary, by_hand=by_hand)),
        bind(explode, lambda: explode(diary)),
        bind(SendHandler, lambda: SendHandler(diary)),
        bind(UndoHandler, lambda: UndoHandler(diary)),
        ORDERED,
    ]
    with ActorSystem("post", handlers=handlers, storage=f"sqlite:///{database(folder)}") as system:
        system.dispatch(Pack(7) if by_hand else ORDERED(7), id=ORDER)
        system.wait_workflow(ORDER, PATIENCE)


def main(folder: str, form: str) -> None:
    for number in range(1, MOST_STARTS + 1):
        code = exit_code(fork(partial(live, Path(folder), form, number)))
        print(code, flush=True)
        if code == 0:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
