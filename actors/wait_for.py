"""Who waits for whom: the graph in which an ask that would wait for itself is found before it blocks.

Every actor handles one message at a time, so as long as its code waits for a reply it answers nobody. There is an edge
from it to the actor that the reply must come from; code on an event loop may wait for several replies at once. An
ask that closes a circle of edges could never end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol, Self

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

    def withdraw(self, error: AskCycle) -> None:
        """Have the message that it answers not be handled, if nobody has begun with it."""
        ...


class Wait(NamedTuple):
    """An edge of the graph.

    Attributes:
        message: What the actor was handling when it began to wait. A task of an async actor may outlive its message;
            then it keeps nobody waiting any more.
        reply: What is waited for.
    """

    message: object
    reply: Reply


class Asker(Protocol):
    """An actor, seen as a node of the graph.

    Attributes:
        waits_for: What its code waits for now.
        current: The message at hand; None in hooks.
    """

    waits_for: list[Wait]

    @property
    def current(self) -> object:
        """See above."""
        ...

    @property
    def path(self) -> str:
        """Its name."""
        ...

    def step_aside(self) -> Callable[[], object]:
        """Its code is about to block its thread; another actor may have the place that it has in a pool.

        Returns:
            What to call when its code goes on.
        """
        ...


current_actor: ContextVar[Asker | None] = ContextVar("current_actor", default=None)
"""The actor whose code runs here; None outside of actors."""
current_message: ContextVar[object] = ContextVar("current_message", default=None)
"""The message that async code belongs to, also in tasks that it has started."""


class waiting_for:  # noqa: N801 - used as a statement
    """Enter the edge from the current actor while it waits.

    Raises:
        AskCycle: It would wait for itself. The message is withdrawn: handled later, for nobody, in a ring of
            actors it would go round for ever.
    """

    __slots__ = ("_asker", "_reply", "_wait")

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._asker: Asker | None = None if reply.target is None else current_actor.get()

    def __enter__(self) -> Self:
        asker = self._asker
        if asker is None:
            return self
        self._wait = Wait(current_message.get() or asker.current, self._reply)
        # Entered before it is followed: of two actors that ask each other at once, at least one sees the other's edge.
        asker.waits_for.append(self._wait)
        try:
            self.follow()
        except AskCycle:
            asker.waits_for.remove(self._wait)
            raise
        return self

    def follow(self) -> None:
        """Follow the edge once more: the actor that the reply must come from is another one now."""
        asker = self._asker
        path = None if asker is None else cycle(asker, self._reply)
        if path is not None:
            error = AskCycle(path)
            self._reply.withdraw(error)
            raise error

    def __exit__(self, *_: object) -> None:
        if self._asker is not None:
            self._asker.waits_for.remove(self._wait)


@contextmanager
def stepping_aside() -> Iterator[None]:
    """Let another actor have the place of the current one in a pool, while its code blocks the thread."""
    asker = current_actor.get()
    if asker is None:
        yield
        return
    step_back = asker.step_aside()
    try:
        yield
    finally:
        step_back()


def cycle(asker: Asker, reply: Reply) -> tuple[str, ...] | None:
    """The path by which a wait would come back to the one who waits, if it does.

    An edge whose reply has come counts no more, though its owner may not have woken up yet; nor does one whose
    message has been handled. A cycle of others is none of this asker's: they have been told themselves.
    """
    passed: set[int] = set()
    ahead: list[tuple[Reply, _Step]] = [(reply, (asker, None))]
    while ahead:
        edge, behind = ahead.pop()
        target = edge.target
        if target is None or edge.opened or id(target) in passed:
            continue
        passed.add(id(target))
        here = (target, behind)
        if target is asker:
            return _names(here)
        message = target.current
        ahead.extend((wait.reply, here) for wait in tuple(target.waits_for) if wait.message is message)
    return None


_Step = tuple[Asker, "_Step | None"]
"""An actor, and how it was come to."""


def _names(step: _Step | None) -> tuple[str, ...]:
    names: list[str] = []
    while step is not None:
        names.append(step[0].path)
        step = step[1]
    return tuple(reversed(names))
