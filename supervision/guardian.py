"""The top of the tree of a system's spawned actors: above it there is only the system, which stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from everact.actors.cell import Cell
from everact.actors.environment import Environment
from everact.actors.future import Future
from everact.actors.latch import Latch
from everact.actors.lifecycle import CellState, Down, Failed, Gone, Report, Start, Started, StartFailed, TakeDown
from everact.supervision.child_spec import ChildSpec
from everact.supervision.supervisor import AddChild, Supervisor
from everact.tasks.events import ActorAbandoned

logger = logging.getLogger("everact.supervision")
LAST_SECONDS = 1.0
"""How long all that is still there has to end together, once the time of the whole stop is over."""


class Guardian:
    """Starts and stops the supervisor of spawned actors, and hears it when it gives up.

    It stands where that supervisor's supervisor would be, and is no actor itself.

    Args:
        environment: Where the actors live.
        path: The supervisor's path.
        escalate: Called with the cause when it has failed, at most once, in a thread of the pool.
    """

    def __init__(self, environment: Environment, path: str, escalate: Callable[[BaseException], object]) -> None:
        self._environment = environment
        self._escalate = escalate
        self._down = Latch()
        self.cell = Cell(environment, Supervisor, path=path, parent=self, actor_class=Supervisor)
        self.cell.tell_order(Start())

    def tell_order(self, report: Report) -> None:
        """Hear of the supervisor."""
        if isinstance(report, Failed | StartFailed):
            self._escalate(report.error)
        elif isinstance(report, Down):
            self._down.open()
        elif not isinstance(report, Started):
            logger.error("%s was told %r, which it does not expect", self.cell.path, report)

    def spawn(self, spec: ChildSpec, under: Cell | None = None) -> Any:
        """Start an actor, and wait until it is up; see `ActorSystem.spawn`."""
        reply: Future[Any] = Future(self._environment.runtime, under or self.cell, spec.start_timeout + LAST_SECONDS)
        (under or self.cell).tell_order(AddChild(spec, reply))
        return reply.get()

    def stop(self, timeout: float) -> list[str]:
        """Stop all actors, the last started first; when the time is over, all that are left at once.

        Returns:
            The paths of those that had to be left behind.
        """
        self.cell.tell_order(TakeDown(final=True))
        if self._wait(timeout):
            return []
        for cell in self._left():
            if not cell.children:
                cell.tell_order(TakeDown(final=True))
        self._wait(LAST_SECONDS)
        abandoned = [cell for cell in self._left() if not cell.children and self._leave_behind(cell)]
        if not self._wait(LAST_SECONDS):
            # A supervisor whose own code hangs has not heard that those below it are gone.
            abandoned += [cell for cell in self._left() if self._leave_behind(cell)]
            self.cell.close()  # and all below it
        return [cell.path for cell in abandoned]

    def _wait(self, seconds: float) -> bool:
        return self._down.wait(self._environment.runtime.gate, seconds)

    def _left(self) -> list[Cell]:
        return [cell for cell in descendants(self.cell) if cell.state not in (CellState.STOPPED, CellState.DOWN)]

    def _leave_behind(self, cell: Cell) -> bool:
        if was_busy := cell.abandon(final=True):
            logger.error("%s did not stop in time; its thread is left behind", cell.path)
            self._environment.publish(ActorAbandoned(self._environment.runtime.now(), cell.path, "stopping"))
        cell.parent.tell_order(Gone(cell, cell.generation))
        return was_busy


def descendants(cell: Cell) -> Iterator[Cell]:
    """All cells below this one, those that were started last first."""
    for child in reversed(list(cell.children.values())):
        yield from descendants(child)
        yield child
