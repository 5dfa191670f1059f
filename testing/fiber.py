"""The threads of a simulation, the nodes that they belong to, and what can be raised in them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from everact.tasks.errors import EverActError


class Deadlock(EverActError):
    """Nobody can run and nobody waits for a time: the system under test would hang for ever."""


class Endless(EverActError):
    """The simulation goes on and on; something in it does not come to an end, or its steps are more than expected."""


class Over(BaseException):
    """Raised in the threads that a simulation has left, so that they leave too."""


class NodeDied(EverActError):
    """The node that a call was made to has died meanwhile; what came of the call is not known."""


class Group:
    """The threads of one node.

    Attributes:
        name: The node's.
        until: None of them runs before this time; it is paused.
    """

    def __init__(self, name: str) -> None:
        self.name, self.until = name, 0.0


def always() -> bool:
    """Ready, whenever it is asked."""
    return True


class Fiber:
    """A thread that runs only while it holds the baton.

    Attributes:
        label: Its name, with a number if there are several of that name.
        ready: Whether it can go on.
        deadline: When it goes on in any case.
        calls: The node that it makes a call to from outside.
        thrown: What it is to raise instead of going on.
    """

    def __init__(self, name: str, label: str, role: str | None, group: Group) -> None:
        self.name, self.label, self.role, self.group = name, label, role, group
        self.baton = threading.Lock()
        self.baton.acquire()
        self.ready: Callable[[], object] = always
        self.deadline: float | None = None
        self.ended = False
        self.calls: Group | None = None
        self.thrown: BaseException | None = None
        self.thread: threading.Thread | None = None
