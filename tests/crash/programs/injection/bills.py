"""The tasks of the six-task run, and the caller who dispatches them and writes down what it is told."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from everact import ActorSystem, Retry, StorageUnavailable, TaskContext, TaskHandle, TaskHandler, bind
from power.ledger import Ledger

SINGLE, PAIR, RETRIED, CONTINUED = (1, 2), (3, 4), 5, 6
ASKED, STORED, ENDED, RAN, REFUSED, UNKNOWN = "asked", "stored", "ended", "ran", "refused", "unknown"
NOBODY = UUID(int=0)
WAIT = 30.0


@dataclass(frozen=True)
class PayBill:
    number: int


@dataclass(frozen=True)
class SendReceipt:
    number: int


class PayBillHandler(TaskHandler[PayBill]):
    retry = Retry(attempts=2, delay=0.001)

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def handle(self, task: PayBill, ctx: TaskContext) -> int:
        self.ledger.write(RAN, [ctx.task_id])
        if task.number == RETRIED and ctx.attempt == 1:
            msg = "no answer"
            raise ConnectionError(msg)
        return task.number

    def on_completed(self, ctx: TaskContext) -> None:
        if ctx.task.number == CONTINUED:
            ctx.dispatch(SendReceipt(ctx.task.number))


class SendReceiptHandler(TaskHandler[SendReceipt]):
    def handle(self, task: SendReceipt, ctx: TaskContext) -> int:
        return task.number


def system_on(path: Path, ledger: Ledger) -> ActorSystem:
    """Make the system."""
    pay = bind(PayBillHandler, lambda: PayBillHandler(ledger))
    return ActorSystem("bank", handlers=[pay, SendReceiptHandler], storage=f"sqlite:///{path}")


def payload_number(payload: bytes) -> int:
    """Read a stored task."""
    return int(json.loads(payload)["number"])


class Caller:
    """Dispatches the six tasks one after the other.

    Args:
        acknowledge_first: A planted bug: it takes a task for stored before that is so.
        die: The process kills itself when it is told that a write has failed.
    """

    def __init__(self, system: ActorSystem, ledger: Ledger, *, acknowledge_first: bool, die: bool) -> None:
        self._system = system
        self._ledger = ledger
        self._acknowledge_first = acknowledge_first
        self._die = die

    def six_tasks(self) -> None:
        """Two plain ones, two in one commit, one that is retried, one with a follow-up."""
        for number in SINGLE:
            self._see_end(self._dispatch(number))
        for handle in self._dispatch_pair():
            self._see_end(handle)
        for number in (RETRIED, CONTINUED):
            self._see_end(self._dispatch(number))
        self._system.wait_idle(WAIT)

    def _dispatch(self, number: int) -> TaskHandle[int]:
        """Dispatch with an id of its own, which settles a second time what the first could not tell."""
        chosen = uuid4()
        self._ledger.write(STORED if self._acknowledge_first else ASKED, [chosen])
        dispatch = partial(self._system.dispatch, PayBill(number), id=chosen)
        try:
            handle = dispatch()
        except StorageUnavailable as error:
            self._failed(error, chosen)
            handle = dispatch()
        self._ledger.write(STORED, [handle.id])
        return handle

    def _dispatch_pair(self) -> list[TaskHandle[int]]:
        try:
            handles = self._system.dispatch_many(map(PayBill, PAIR))
        except StorageUnavailable as error:
            self._failed(error, NOBODY)
            return []
        self._ledger.write(STORED, [handle.id for handle in handles])
        return handles

    def _see_end(self, handle: TaskHandle[int]) -> None:
        handle.result(WAIT)
        self._ledger.write(ENDED, [handle.id])

    def _failed(self, error: StorageUnavailable, chosen: UUID) -> None:
        self._ledger.write(error.outcome, [chosen])
        if self._die:
            os.kill(os.getpid(), signal.SIGKILL)
