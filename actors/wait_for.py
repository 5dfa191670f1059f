"""Who waits for whom: the graph in which an ask that would wait for itself is found before it blocks.

Every actor handles one message at a time, so there is at most one edge from it: to the actor whose reply it waits
for. Following the edges from the one that is about to be asked finds a cycle, if there is one, in as many steps as
it has actors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from everact.tasks.errors import AskCycle


class Reply(Protocol):
    """A reply that somebody may wait for."""

    @property
    def target(self) -> Asker | None:
        """The actor that it must come from."""
        ...

    @property
    def opened(self) -> bool:
        """Whether it is there."""
        ...


class Asker(Protocol):
    """An actor, seen as a node of the graph.

    Attributes:
        waits_for: The reply that it waits for now, if any.
    """

    waits_for: Reply | None

    @property
    def path(self) -> str:
        """Its name."""
        ...


current_actor: ContextVar[Asker | None] = ContextVar("current_actor", default=None)
"""The actor whose code runs here; None outside of actors."""


@contextmanager
def waiting_for(reply: Reply) -> Iterator[None]:
    """Enter the edge from the current actor while it waits.

    Raises:
        AskCycle: It would wait for itself.
    """
    asker = current_actor.get()
    if asker is None or reply.target is None:
        yield
        return
    # Entered before it is followed: of two actors that ask each other at once, at least one sees the other's edge.
    outer, asker.waits_for = asker.waits_for, reply
    try:
        path = cycle(asker, reply)
        if path is not None:
            raise AskCycle(path)
        yield
    finally:
        asker.waits_for = outer


def cycle(asker: Asker, reply: Reply) -> tuple[str, ...] | None:
    """The path by which a wait would come back to the one who waits, if it does.

    An edge whose reply has come counts no more, though its owner may not have woken up yet.
    """
    path = [asker.path]
    passed: set[int] = set()
    edge: Reply | None = reply
    while edge is not None and not edge.opened:
        target = edge.target
        if target is None or id(target) in passed:
            return None  # the end, or a cycle of others, who have been told themselves
        passed.add(id(target))
        path.append(target.path)
        if target is asker:
            return tuple(path)
        edge = target.waits_for
    return None
