"""The tasks of an order, and the world outside that its steps change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from everact import Retry, TaskContext, TaskHandler
from orders.diary import ALERTED, BEGAN, DID, MENDED, UNDID, UNDOING
from orders.script import CHARGE, RECEIPT, RESERVE, SHIP, Ending, Script, Undoing

T = TypeVar("T")
ATTEMPTS = 2


@dataclass(frozen=True)
class Reserve:
    order: int


@dataclass(frozen=True)
class Release:
    order: int


@dataclass(frozen=True)
class Charge:
    order: int


@dataclass(frozen=True)
class Refund:
    order: int


@dataclass(frozen=True)
class Ship:
    order: int


@dataclass(frozen=True)
class Recall:
    order: int


@dataclass(frozen=True)
class Receipt:
    order: int


@dataclass(frozen=True)
class SendAlert:
    order: int
    step: str


class Refused(Exception):
    """The world says no."""


class Notes(Protocol):
    """Where facts are written down."""

    def write(self, word: str, step: str) -> None:
        """Write one down."""
        ...

    def has(self, word: str) -> bool:
        """Whether one was written down, by this process or an earlier one."""
        ...


class Shop:
    """Does what the script says, and writes it down."""

    def __init__(self, script: Script, notes: Notes) -> None:
        self._script = script
        self._notes = notes

    def work(self, step: str, ctx: TaskContext) -> None:
        """A step."""
        self._notes.write(BEGAN, step)
        script = self._script
        troubled = step == script.step
        self._refuse(step, step == script.flaky and ctx.attempt == 1)
        self._refuse(step, troubled and script.ending is Ending.FAILS and not self._notes.has(MENDED))
        if troubled and script.ending is Ending.ABORTS:
            ctx.abort_workflow(f"{step} will not have it")
        self._notes.write(DID, step)

    def undo(self, step: str, ctx: TaskContext) -> None:
        """The undo of a step."""
        self._notes.write(UNDOING, step)
        once = self._script.undoing is Undoing.ONCE
        broken = ctx.attempt == 1 if once else not self._notes.has(MENDED)
        self._refuse(step, step == self._script.undo and broken)
        self._notes.write(UNDID, step)

    def alert(self, step: str) -> None:
        """Somebody is told that a step has failed."""
        self._notes.write(ALERTED, step)

    def _refuse(self, step: str, refused: bool) -> None:
        if refused:
            raise Refused(step)


class Desk(TaskHandler[T]):
    """Where one kind of task is done."""

    retry = Retry(attempts=ATTEMPTS, delay=0.001)
    step: ClassVar[str]

    def __init__(self, shop: Shop) -> None:
        self.shop = shop


class StepDesk(Desk[T]):
    def handle(self, task: T, ctx: TaskContext) -> None:
        self.shop.work(self.step, ctx)

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(SendAlert(ctx.task.order, self.step))


class UndoDesk(Desk[T]):
    def handle(self, task: T, ctx: TaskContext) -> None:
        self.shop.undo(self.step, ctx)


class ReleaseHandler(UndoDesk[Release]):
    step = RESERVE


class RefundHandler(UndoDesk[Refund]):
    step = CHARGE


class RecallHandler(UndoDesk[Recall]):
    step = SHIP


class SendAlertHandler(Desk[SendAlert]):
    def handle(self, task: SendAlert, ctx: TaskContext) -> None:
        self.shop.alert(task.step)


STEP_OF = {"Reserve": RESERVE, "Charge": CHARGE, "Ship": SHIP, "Receipt": RECEIPT}
"""The step that a task type does."""
