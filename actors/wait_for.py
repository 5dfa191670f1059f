"""Who waits for whom: the graph in which an ask that would wait for itself is found before it blocks.

Every actor handles one message at a time, so there is one edge from it while it waits: to the actor whose reply it
waits for. An async one may wait for several at once, in tasks of its own. Following the edges from the one that is
about to be asked finds a cycle, if there is one, in as many steps as there are edges.
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
        waits_for: The replies that it waits for now.
    """

    waits_for: list[Reply]

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
    asker.waits_for.append(reply)
    try:
        path = cycle(asker, reply)
        if path is not None:
            raise AskCycle(path)
        yield
    finally:
        asker.waits_for.remove(reply)


def cycle(asker: Asker, reply: Reply) -> tuple[str, ...] | None:
    """The path by which a wait would come back to the one who waits, if it does.

    An edge whose reply has come counts no more, though its owner may not have woken up yet.
    """
    edges: list[tuple[Reply, tuple[str, ...]]] = [(reply, (asker.path,))]
    passed: set[int] = set()
    while edges:
        edge, path = edges.pop()
        target = edge.target
        if edge.opened or target is None or id(target) in passed:
            continue  # an end, or a cycle of others, who have been told themselves
        passed.add(id(target))
        path = (*path, target.path)
        if target is asker:
            return path
        edges += [(each, path) for each in tuple(target.waits_for)]
    return None
