"""What is in the database file when all is over, read without everact."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from everact import TaskStatus
from orders.life import ORDER
from orders.shop import STEP_OF

HELD, PENDING, PLAYED, SKIPPED = 0, 1, 3, 4
STATES = ("held", "pending", "playing", "played", "skipped", "stuck")


@dataclass(frozen=True, slots=True)
class Task:
    """One record; `type` is the last part of its name."""

    type: str
    kind: str
    status: TaskStatus
    started: int | None

    @property
    def step(self) -> str | None:
        """The step that it does, if it does one."""
        return STEP_OF.get(self.type) if self.kind == "task" else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the undo log."""

    step: str
    state: int
    outcome: str
    note: str


@dataclass(frozen=True, slots=True)
class Found:
    """The order's workflow; `entries` are in the order in which their steps ended."""

    state: str
    tasks: list[Task]
    entries: list[Entry]
    events: list[tuple[int, str, str]]

    def when(self, event: str) -> int | None:
        """When something was first written into the history, in microseconds."""
        return next((at for at, name, _ in self.events if name == event), None)


def look(path: Path) -> Found:
    """Read it."""
    with closing(sqlite3.connect(path)) as connection:
        states = connection.execute("SELECT state FROM workflow WHERE id = ?", (ORDER.bytes,)).fetchone()
        tasks = connection.execute("SELECT type, kind, status, started FROM task ORDER BY seq").fetchall()
        entries = connection.execute(
            "SELECT task.type, undo.state, outcome, note FROM undo JOIN task ON task.id = undo.step ORDER BY position"
        ).fetchall()
        events = connection.execute("SELECT at, event, detail FROM history WHERE task = ? ORDER BY at", (ORDER.bytes,))
        return Found(
            states[0] if states else "not there",
            [Task(_short(name), kind, TaskStatus(status), started) for name, kind, status, started in tasks],
            [Entry(STEP_OF[_short(name)], *others) for name, *others in entries],
            events.fetchall(),
        )


def _short(name: str) -> str:
    return name.rpartition(".")[2]
