"""Scripts that are run in a simulation and in reality; quick, since reality takes its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from everact import Retry, Saga, Settings, Step, TaskContext, TaskHandler, parallel, task
from everact.testing import Faults, Script, after, at, attempt


@dataclass(frozen=True)
class Reserve:
    n: int


class ReserveHandler(TaskHandler[Reserve]):
    task_name = "Reserve"
    retry = Retry(attempts=3, delay=0.02)

    def handle(self, task: Reserve, ctx: TaskContext) -> int:
        ctx.cancellation.wait(0.02)
        return task.n

    def compensate(self, task: Reserve, ctx: TaskContext) -> None:
        """Takes no time."""


@task(name="Charge", retry=Retry(attempts=3, delay=0.02, jitter=0.5))
def charge(ctx: TaskContext, n: int) -> int:
    ctx.dispatch(note.task(n))
    return n


@task(name="Refund")
def refund(n: int) -> None:
    """Takes no time."""


@task(name="Note")
def note(n: int) -> int:
    return n


@task(name="Ship", retry=Retry(attempts=2, delay=0.02))
def ship(n: int) -> int:
    if n < 0:
        raise ValueError(n)
    return n


@task(name="Long")
def long(ctx: TaskContext) -> None:
    if ctx.cancellation.wait(30):
        raise InterruptedError


@dataclass(frozen=True)
class Slow:
    n: int


class SlowHandler(TaskHandler[Slow]):
    """Each attempt is slow enough that a kill in time meets it."""

    task_name = "Slow"
    retry = Retry(attempts=2, delay=0.02)

    def handle(self, task: Slow, ctx: TaskContext) -> int:
        ctx.cancellation.wait(0.5)
        return task.n


order = Saga(
    "Order",
    parallel(Step(Reserve), Step(charge.task, undo=refund.task, name="Charge")),
    Step(ship.task, name="Ship"),
    input=int,
)
HANDLERS: list[Any] = [ReserveHandler, SlowHandler, charge, refund, note, ship, long, order]
SETTINGS = Settings(grace=1.0)


def orders_and_kills() -> Script:
    """Two orders, one of which must be undone; three kills."""
    plan = Faults(fail=[("Charge", attempt(1), TimeoutError)], crash_at=[2, after(5), 9])
    script = Script(HANDLERS, faults=plan, settings=SETTINGS)
    script.dispatch(order(1))
    script.dispatch(order(-1))
    script.dispatch(note.task(5), delay=0.2)
    return script


def cancels() -> Script:
    """A task that runs, one that waits for its time, and an order are cancelled."""
    script = Script(HANDLERS, settings=SETTINGS)
    running = script.dispatch(long.task())
    waiting = script.dispatch(note.task(1), delay=60)
    placed = script.dispatch(order(3))
    script.wait(0.3)
    for number in (running, waiting):
        script.cancel(number, "no more")
    script.cancel_workflow(placed)
    return script


def a_kill_in_time() -> Script:
    """While a task runs; an undo fails first."""
    plan = Faults(
        crash=[("node-1", at(0.2))],
        fail=[("UndoReserve", attempt(1), OSError)],
        fail_after=[("Slow", attempt(1), ConnectionError)],
    )
    script = Script(HANDLERS, faults=plan, settings=SETTINGS)
    script.dispatch(Slow(1))
    script.dispatch(order(-2))
    return script


def a_pause() -> Script:
    """What no process can be told to have."""
    return Script(HANDLERS, faults=Faults(pause=[("node-1", at(1), 2)]))


def a_failing_charge() -> Script:
    """One that is retried."""
    script = Script(HANDLERS, faults=Faults(fail=[("Charge", attempt(1), TimeoutError)]), settings=SETTINGS)
    script.dispatch(charge.task(1))
    return script
