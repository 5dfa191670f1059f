"""What is in an actor's mailbox: a message, and where the reply goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everact.actors.actor import Actor
    from everact.actors.cell import Cell
    from everact.actors.future import Future
    from everact.actors.ref import ActorRef


class Envelope:
    """A message on its way.

    Attributes:
        message: What was told or asked.
        reply_to: Where the reply goes; None if nobody asked.
    """

    __slots__ = ("message", "reply_to")

    def __init__(self, message: Any, reply_to: Future[Any] | None = None) -> None:
        self.message = message
        self.reply_to = reply_to

    def __repr__(self) -> str:
        return f"Envelope({self.message!r}, reply_to={self.reply_to!r})"


@dataclass(frozen=True, slots=True)
class Terminated:
    """Told once to each actor that watches one that has ended for good; a restart is not an end.

    Attributes:
        ref: The actor that has ended.
        cause: What it failed with; None if it ended without a failure.
    """

    ref: ActorRef[Any]
    cause: BaseException | None = None


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Somebody outside wants the actor to stop, after what is in its mailbox now."""


@dataclass(frozen=True, slots=True)
class EndOfSelf:
    """The actor has called its own `stop`; what follows from that is for its restart type to say.

    Attributes:
        instance: Who has called it. It speaks for itself only, not for who is there after a restart.
    """

    instance: Actor


@dataclass(frozen=True, slots=True)
class Notice:
    """A `Terminated` in the mailbox of a watcher, which may call the watch off until it comes to it."""

    cell: Cell
    watch: object
    terminated: Terminated


ORDERS = (StopOrder, EndOfSelf, Notice)
"""Messages of everact's own that share the user's lane: they keep their place in it and count for no bound."""
