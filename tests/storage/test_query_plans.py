"""Which indexes the large queries use: a backlog of millions must cost no more than its next page."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from everact.storage import sqlite_adoption, sqlite_backlog, sqlite_workflows
from everact.storage.protocol import Batch
from everact.storage.sqlite import SqliteStorage
from everact.storage.sqlite_backlog import Clock
from everact.storage.sqlite_workflows import SqliteWorkflows
from everact.tasks.record import Record
from everact.tasks.unwinding import EntryState
from everact.tasks.workflow import WorkflowState

ID = bytes(16)
NOW = 1_700_000_000_000_000


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[SqliteStorage]:
    opened = SqliteStorage(tmp_path / "tasks.db", "process")
    opened.open(NOW)
    yield opened
    opened.close()


def records(count: int) -> list[Record]:
    return [
        Record(id=bytes([n]) * 16, type="t", payload=b"{}", due=NOW, created=NOW, seq=n, owner=1) for n in range(count)
    ]


class Explained:
    """A connection that tells the plan of each query instead of running it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def execute(self, query: str, parameters: Any = ()) -> sqlite3.Cursor:
        rows = self._connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall()
        plans = [row[3].replace("COVERING ", "") for row in rows]
        self.plans += [plan for plan in plans if any(table in plan for table in ("task", "workflow", "undo"))]
        return self._connection.execute(query, parameters)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda c: sqlite_backlog.ready(c, 1, ["t"], Clock(NOW, NOW), {1}, 9), "task_waiting"),
        (lambda c: sqlite_backlog.scheduled(c, 1, ["t"], NOW, {1}, 9), "task_scheduled"),
        (lambda c: sqlite_backlog.retrying(c, 1, ["t"]), "task_retrying"),
        (lambda c: sqlite_workflows.asked(c, 1, ["t"]), "task_asked"),
        (lambda c: sqlite_workflows.unowned(c, ["t"]), "SEARCH task USING INDEX task_waiting (owner=?)"),
        (lambda c: sqlite_workflows.workflow(c, ID), "SEARCH workflow USING PRIMARY KEY"),
        (lambda c: sqlite_workflows.workflows(c, [WorkflowState.STUCK], b"", 9), "workflow_open"),
        (lambda c: sqlite_workflows.undo_log(c, ID), "SEARCH undo USING PRIMARY KEY"),
        (
            lambda c: SqliteWorkflows(c).entries(ID, EntryState.PENDING),
            "SEARCH undo USING PRIMARY KEY",
        ),
        (lambda c: SqliteWorkflows(c).waiting(ID), "task_child"),
        (lambda c: sqlite_adoption.unfinished(c, {1}), "SEARCH task USING INDEX task_waiting (owner=? AND type>?)"),
    ],
    ids=[
        "ready",
        "scheduled",
        "retrying",
        "asked",
        "unowned",
        "workflow",
        "workflows",
        "undo_log",
        "entries",
        "sagas",
        "unfinished",
    ],
)
def test_what_is_asked_of_a_large_backlog_is_one_stretch_of_an_index(
    storage: SqliteStorage, ask: Callable[[Any], object], index: str
) -> None:
    storage.commit(Batch(NOW, inserts=records(10)))
    with storage._opened().reader() as reader:
        explained = Explained(reader)
        ask(explained)
    assert any(index in plan for plan in explained.plans), explained.plans
    scans = [plan for plan in explained.plans if plan.startswith(("SCAN task", "SCAN workflow", "SCAN undo"))]
    assert all("INDEX" in scan for scan in scans), explained.plans
