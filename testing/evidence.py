"""What the checkers look at: the history of a run, and what is in storage at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from everact.tasks.record import Record
from everact.tasks.registration import HandlerSpec
from everact.tasks.unwinding import Entry, WorkflowRow
from everact.testing.faults import Faults
from everact.testing.history import ENDS, Event, History, What


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise that was broken.

    Attributes:
        promise: Its number, "P2" or "C6".
        text: What happened, in the names of the application's tasks.
        event: The number of the event at which it shows; -1 if it shows in storage only.
    """

    promise: str
    text: str
    event: int = -1

    def __str__(self) -> str:
        return f"{self.promise}: {self.text}"


@dataclass(frozen=True)
class Evidence:
    """Everything that is known about a run.

    Attributes:
        history: What happened.
        records: All rows.
        workflows: Those of more than one task, or with something to undo.
        logs: The undo log of each.
        specs: The handlers, by stored name.
        faults: What was planned to go wrong.
        at_rest: Whether nothing was queued, running or waiting for a retry.
        errors: What threads of the engine have ended with, by thread.
        resident: For each life of a node how many tasks were in memory at the most, and may be.
        time: Virtual seconds at the end.
        events: Whether somebody was subscribed to events.
    """

    history: History
    records: Sequence[Record] = ()
    workflows: Sequence[WorkflowRow] = ()
    logs: Mapping[bytes, Sequence[Entry]] = field(default_factory=dict)
    specs: Mapping[str, HandlerSpec] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    at_rest: bool = True
    errors: Sequence[tuple[str, BaseException]] = ()
    resident: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    time: float = 0.0
    events: bool = True

    @cached_property
    def rows(self) -> dict[str, Record]:
        """The rows by the names of their tasks."""
        return {self.history.known(record.id): record for record in self.records}

    @cached_property
    def by_task(self) -> dict[str, list[Event]]:
        """The events of each task."""
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self.history:
            if event.task:
                found[event.task].append(event)
        return dict(found)

    @cached_property
    def ends(self) -> dict[str, Event]:
        """How each task ended, the first time that one did."""
        found: dict[str, Event] = {}
        for event in self.history:
            if event.what in ENDS:
                found.setdefault(event.task, event)
        return found

    @cached_property
    def broken_off(self) -> dict[str, Event]:
        """When each life of a node ended."""
        return {event.node: event for event in self.history.of(What.CRASHED, What.NODE_STOPPED)}

    def lives(self, node: str, moment: Event) -> bool:
        """Whether a life of a node has not ended before something happened."""
        end = self.broken_off.get(node)
        return end is None or end.number > moment.number

    def spec(self, task: str) -> HandlerSpec | None:
        """The handler of a task."""
        row = self.rows.get(task)
        return None if row is None else self.specs.get(row.type)
