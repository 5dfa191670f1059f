"""What a supervisor and the cells of its children say to each other, on the lane before the mailbox.

Orders go down, reports go up. A report carries the generation it speaks of: a supervisor that has replaced that
instance meanwhile ignores it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everact.actors.cell import Cell


class CellState(enum.Enum):
    """Where a cell is in its life."""

    NEW = "new"
    """There has been no instance yet."""
    STARTING = "starting"
    """Its instance is being made, or runs `on_start`."""
    RUNNING = "running"
    """It handles messages."""
    SUSPENDED = "suspended"
    """It has failed and waits for its supervisor's decision. Messages wait in the mailbox."""
    STOPPING = "stopping"
    """Its instance is ending."""
    DOWN = "down"
    """It has no instance and waits to be started again. Messages wait in the mailbox."""
    STOPPED = "stopped"
    """It has ended for good."""


# -- orders ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Run `on_start` of the instance that is there."""


@dataclass(frozen=True, slots=True)
class Start:
    """Make an instance and run its `on_start`."""


@dataclass(frozen=True, slots=True)
class Carry:
    """Go on with the instance that has failed, if it is still this generation's."""

    generation: int


@dataclass(frozen=True, slots=True)
class TakeDown:
    """End the instance; `final` ends the cell as well, else address and mailbox stay."""

    final: bool


class Request:
    """An order that somebody waits for the answer to."""

    __slots__ = ()

    def refuse(self, path: str) -> None:
        """Answer that the cell at `path` cannot do it now."""
        raise NotImplementedError


# -- reports -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """Something that a supervisor is told about a child."""

    cell: Cell
    generation: int


@dataclass(frozen=True, slots=True)
class Started(Report):
    """It is running."""


@dataclass(frozen=True, slots=True)
class StartFailed(Report):
    """Its factory or `on_start` raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Failed(Report):
    """A message made it fail; it is suspended."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class GaveUp(Failed):
    """It is a supervisor that has stopped its children and failed; as it is, it cannot go on."""


@dataclass(frozen=True, slots=True)
class Ended(Report):
    """It has stopped itself; it is down."""


@dataclass(frozen=True, slots=True)
class Down(Report):
    """Its instance has ended, as it was told."""


@dataclass(frozen=True, slots=True)
class Gone(Report):
    """It was stopped from outside and has ended for good."""
