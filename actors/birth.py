"""How an instance and the cell it is made for find each other."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

import pykka

if TYPE_CHECKING:
    from everact.actors.cell import Cell


class Birth(NamedTuple):
    """The making of one instance.

    Attributes:
        cell: The cell that it is made for.
        fence: Of the turn that makes it. If that has been left behind, the instance comes too late.
    """

    cell: Cell
    fence: int


being_built: ContextVar[Birth | None] = ContextVar("being_built", default=None)
"""What is being made here; the instance claims it in its `__init__`."""


def unfit(instance: object) -> str:
    """Why what a factory has returned cannot live in the cell that it was made for."""
    if isinstance(instance, pykka.Actor) and not hasattr(instance, "_actor_cell"):
        return f"{type(instance).__name__}.__init__ does not call super().__init__(); an actor must, first of all"
    return (
        f"the factory returned {instance!r}, which is not a new everact.Actor; it must make one on every call, "
        "so that a restarted actor starts afresh, and no other actor before that one"
    )
