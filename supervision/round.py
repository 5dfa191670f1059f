"""A round of a supervisor: some children are stopped one by one, a while passes, some are started one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from everact.actors.cell import Cell
from everact.supervision.child_spec import ChildSpec
from everact.tasks.errors import ActorStartFailed

if TYPE_CHECKING:
    from everact.actors.future import Future


@dataclass(slots=True, eq=False)
class Child:
    """A child as its supervisor knows it.

    Attributes:
        name: Its name below the supervisor.
        spec: How it is treated.
        cell: The child itself.
        failures: Failures without a longer success between, for the backoff.
        started: When it was last started (monotonic); None if it never was.
        spawned: Where the one who spawned it waits for its first start.
        playing: The round that has still to do with it, if any.
        leaving: Whether it is not to be started again, whatever round it is in.
    """

    name: str
    spec: ChildSpec
    cell: Cell
    failures: int = 0
    started: float | None = None
    spawned: Future[Any] | None = None
    playing: Round | None = None
    leaving: bool = False

    def let_down(self, why: str) -> None:
        """Tell the one who waits for its first start, if anybody does, that there will be none."""
        spawned, self.spawned = self.spawned, None
        if spawned is not None:
            spawned.fail(ActorStartFailed(self.cell.path, why))


@dataclass(slots=True, eq=False)
class Round:
    """What a supervisor is about to do with some of its children, one after the other.

    Attributes:
        stopping: Still to be stopped, in this order; the first one has been told.
        delay: Seconds to wait after that.
        starting: Still to be started, in this order; the first one has been told.
        done: Called at the end.
        told: Whether the first one of the list at hand has been told.
        due: When to wait no longer (monotonic): for the one that was told, or for the delay to pass.
    """

    stopping: deque[Child] = field(default_factory=deque)
    delay: float = 0.0
    starting: deque[Child] = field(default_factory=deque)
    done: Callable[[], object] = lambda: None
    told: bool = False
    due: float | None = None

    @property
    def at_hand(self) -> Child | None:
        """The child whose report the round waits for; None while it waits for the delay to pass."""
        children = self.stopping or self.starting
        return children[0] if self.told and children else None

    @property
    def members(self) -> list[Child]:
        """Whom it has still to do with."""
        return [*self.stopping, *self.starting]

    def drop(self, child: Child) -> None:
        """Leave a child out that has gone."""
        if self.at_hand is child:
            self.told, self.due = False, None
        for children in (self.stopping, self.starting):
            if child in children:
                children.remove(child)
