"""Workflows under way in a file of schema 2, which had no rows for them."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from everact.storage import migrations
from everact.storage.protocol import Batch, Outcome, Selection, Storage
from everact.storage.sqlite import SqliteStorage
from everact.tasks.record import Record
from everact.tasks.status import COMPLETED, FAILED, QUEUED, SCHEDULED
from everact.tasks.unwinding import Part, WorkflowRow
from everact.tasks.workflow import WorkflowState

NOW = 1_700_000_000_000_000
CELLS = "seq, id, type, status, owner, priority, due, created, queue, kind, payload, workflow, finished"


def old_file(path: Path, tasks: Sequence[tuple[int, int]]) -> None:
    """Make a file as the version before made it: (workflow, status) for each task; the first one is its root."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for number, text in migrations.scripts()[:2]:
            for statement in migrations._statements(text):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
        roots: set[int] = set()
        for seq, (workflow, status) in enumerate(tasks, 100):
            is_root = workflow not in roots
            roots.add(workflow)
            id, whole = (bytes([workflow]) * 16, None) if is_root else (bytes([seq]) * 16, bytes([workflow]) * 16)
            values = (seq, id, "t", status, 1, 0, NOW, NOW, "default", "task", b"{}", whole)
            row = (*values, NOW if status >= COMPLETED else None)
            connection.execute(f"INSERT INTO task ({CELLS}) VALUES ({','.join('?' * 13)})", row)  # noqa: S608


def migrate(tasks: Sequence[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        old_file(Path(folder, "t.db"), tasks)
        storage = SqliteStorage(Path(folder, "t.db"), "process")
        storage.open(NOW)
        expected = {}
        for workflow in {workflow for workflow, _ in tasks}:
            statuses = [status for each, status in tasks if each == workflow]
            if open_ := sum(status < COMPLETED for status in statuses):
                id = bytes([workflow]) * 16
                expected[id] = WorkflowRow(id=id, created=NOW, open=open_, forward=open_)
                if len(statuses) == 1:
                    del expected[id]  # alone in its workflow, it has no row
        assert {row.id: row for row in storage.workflows(None, bytes(16), 1000)} == expected
        for id, row in expected.items():
            rows = storage.select(Selection(workflow=id))
            assert {record.workflow for record in rows if record.status < COMPLETED} == {id}
            _end_all(storage, rows, row)
        storage.close()


def _end_all(storage: Storage, rows: Sequence[Record], row: WorkflowRow) -> None:
    outcomes = [
        Outcome(
            id=record.id,
            seq=record.seq,
            owner=1,
            expected=0,
            status=COMPLETED,
            attempt=1,
            due=NOW,
            finished=NOW,
            part=Part(workflow=row.id),
        )
        for record in rows
        if record.status < COMPLETED
    ]
    storage.commit(Batch(NOW, outcomes=outcomes, in_workflows=True))
    ended = storage.workflow(row.id)
    assert ended is not None
    assert (ended.state, ended.open, ended.forward) == (WorkflowState.COMPLETED, 0, 0)


old_tasks = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([SCHEDULED, QUEUED, QUEUED, COMPLETED, FAILED])), max_size=10
)


@settings(max_examples=40, deadline=None)
@given(tasks=old_tasks)
def test_workflows_under_way_in_an_older_file_are_counted_and_go_on(tasks: Sequence[tuple[int, int]]) -> None:
    migrate(tasks)


def test_finished_tasks_that_are_counted_as_open_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    counts_what_has_ended(monkeypatch)

    @settings(max_examples=200, phases=[Phase.generate], derandomize=True, database=None, deadline=None)
    @given(tasks=old_tasks)
    def search(tasks: Sequence[tuple[int, int]]) -> None:
        migrate(tasks)

    with pytest.raises((AssertionError, ExceptionGroup)):
        search()


def counts_what_has_ended(patch: pytest.MonkeyPatch) -> None:
    known = migrations.scripts()
    third = known[2][1].replace("FROM task WHERE status < 3 AND workflow", "FROM task WHERE workflow")
    patch.setattr(migrations, "scripts", lambda: [*known[:2], (3, third), *known[3:]])
