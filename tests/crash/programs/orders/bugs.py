"""Bugs that are planted to be seen, each into one process."""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Any

import msgspec

from everact.actors import ending
from everact.storage.ledger import Ledger
from everact.storage.protocol import Outcome
from everact.storage.sqlite import SqliteStorage
from everact.storage.sqlite_workflows import SqliteWorkflows
from everact.tasks import context
from everact.tasks.record import COMPENSATION, Record
from everact.tasks.unwinding import Entry, EntryState, Part, WorkflowRow


class Bug(enum.Enum):
    """What is wrong with the program."""

    FORWARD = "compensation-in-forward-order"
    FORGOTTEN_ENTRY = "an-entry-is-not-written"
    UNBARRED = "a-follow-up-is-not-barred"
    FORGOTTEN_UNWIND = "a-restart-forgets-the-unwinding"
    UNMARKED = "an-entry-is-not-marked-as-played"
    CERTAIN = "a-death-leaves-no-doubt"
    LOST_ALERT = "an-alert-is-taken-for-a-step"


def plant(bug: Bug, life: int) -> None:
    """Have everact behave wrongly in this process.

    Args:
        bug: How.
        life: The number of the process.
    """
    if bug is not Bug.FORGOTTEN_UNWIND or life > 1:
        _PLANTS[bug]()


def _forward() -> None:
    entries = SqliteWorkflows.entries

    def reversed_entries(self: SqliteWorkflows, workflow: bytes, state: EntryState) -> list[Entry]:
        return entries(self, workflow, state)[::-1]

    SqliteWorkflows.entries = reversed_entries  # type: ignore[method-assign]


def _forgotten_entry() -> None:
    promise = Ledger._promise

    def forgetful(self: Ledger, row: WorkflowRow, part: Part, outcome: Outcome) -> None:
        kept = [] if row.placed == 1 else part.entries  # the second one
        promise(self, row, msgspec.structs.replace(part, entries=kept), outcome)

    Ledger._promise = forgetful  # type: ignore[method-assign]


def _unbarred() -> None:
    def admitted(self: Ledger, row: WorkflowRow, record: Record) -> Record:
        self._arrivals.append((row, record))
        return record

    Ledger._barred = admitted  # type: ignore[method-assign]


def _forgotten_unwind() -> None:
    ready = SqliteStorage.ready

    def blind(self: SqliteStorage, types: Collection[str], now: int, skip: Collection[int], limit: int) -> list[Record]:
        return [record for record in ready(self, types, now, skip, limit) if record.kind != COMPENSATION]

    SqliteStorage.ready = blind  # type: ignore[method-assign]


def _unmarked() -> None:
    move = Ledger._move_entry

    def lazy(self: Ledger, row: WorkflowRow, part: Part, state: EntryState) -> None:
        if state is not EntryState.PLAYED:
            move(self, row, part, state)

    Ledger._move_entry = lazy  # type: ignore[method-assign]


def _certain() -> None:
    def certain(delivery: Any) -> bool:
        return False

    ending.is_uncertain = certain


def _lost_alert() -> None:
    def careless(record: Record) -> None:
        record.flow = None

    context.as_cleanup = careless


_PLANTS = {
    Bug.FORWARD: _forward,
    Bug.FORGOTTEN_ENTRY: _forgotten_entry,
    Bug.UNBARRED: _unbarred,
    Bug.FORGOTTEN_UNWIND: _forgotten_unwind,
    Bug.UNMARKED: _unmarked,
    Bug.CERTAIN: _certain,
    Bug.LOST_ALERT: _lost_alert,
}
