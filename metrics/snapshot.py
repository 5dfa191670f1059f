"""What is the case in a system at one moment, and where that comes from."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from everact.metrics.tally import Tally


@dataclass(slots=True)
class TaskState:
    """How the tasks of one type are.

    Attributes:
        task, queue: Labels.
        started: Attempts begun.
        ready, scheduled, running, depth: See the catalogue.
        oldest: Seconds that the oldest ready task has been due.
    """

    task: str
    queue: str
    started: int = 0
    ready: int = 0
    scheduled: int = 0
    running: int = 0
    depth: int = 0
    oldest: float = 0.0


@dataclass(slots=True)
class Snapshot:
    """How a system is.

    Attributes:
        tasks: By type.
        alive: Actors by kind.
        unhandled, suspended, stuck, abandoned: See the catalogue.
        full: Whether new tasks are refused for want of room.
        dead_letters, dropped_events: Counted since the start.
    """

    tasks: list[TaskState] = field(default_factory=list)
    alive: dict[str, int] = field(default_factory=dict)
    unhandled: int = 0
    suspended: int = 0
    stuck: int = 0
    abandoned: int = 0
    full: bool = False
    dead_letters: int = 0
    dropped_events: int = 0


class Source(Protocol):
    """A running system, as the exposition sees it.

    Attributes:
        name: The label `system`.
        version: everact's.
        tally: What has happened.
    """

    name: str
    version: str
    tally: Tally

    def snapshot(self) -> Snapshot:
        """How it is now, as far as that is known without reading storage; never blocks."""
        ...

    def healthy(self) -> bool:
        """Whether nothing in it is broken."""
        ...


class Sources:
    """The running systems of this process.

    Two systems of one name are told apart by a number after it: two series with the same labels would make every
    scrape fail. A system that was given up without a stop is not kept alive here.
    """

    def __init__(self) -> None:
        self._sources: dict[str, weakref.ref[Source]] = {}

    def add(self, source: Source) -> Callable[[], None]:
        """Expose a system from now on.

        Returns:
            A function that ends that.
        """
        label, number, own = source.name, 2, weakref.ref(source)
        # setdefault is one step: of two systems that start together only one gets a label.
        while (holder := self._sources.setdefault(label, own)) is not own:
            if holder() is None:
                self._sources.pop(label, None)
            else:
                label, number = f"{source.name}-{number}", number + 1

        def remove() -> None:
            self._sources.pop(label, None)

        return remove

    def all(self) -> list[tuple[str, Source]]:
        """Labels and systems."""
        found = [(label, ref()) for label, ref in list(self._sources.items())]
        return [(label, source) for label, source in found if source is not None]


SOURCES = Sources()
"""All systems of this process that have their metrics on."""
