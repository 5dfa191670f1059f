"""A task that kills its process is set aside, and the tasks beside it are not."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from everact import TaskStatus
from orders.diary import read_diary
from rows import read_rows
from tests.crash.conftest import Launch

pytestmark = pytest.mark.crash
COUNTED_CRASHES = 3
MOST_DEATHS = 4
"""The first death may leave nothing on disk that says what ran."""


@pytest.mark.parametrize(("poison", "death"), [("exit", 7), ("segfault", -signal.SIGSEGV), ("kill", -signal.SIGKILL)])
def test_a_task_that_kills_its_process_is_quarantined_and_twenty_beside_it_complete(
    tmp_path: Path, launch: Launch, poison: str, death: int
) -> None:
    _, printed, complained = launch("poison.py", tmp_path / "tasks.db", poison).finish()
    *deaths, last = map(int, printed.split())
    assert last == 0, f"it was still dying after {len(deaths)} deaths:\n{complained}"
    assert set(deaths) == {death}
    assert COUNTED_CRASHES <= len(deaths) <= MOST_DEATHS
    rows = {row.name: row for row in read_rows(tmp_path / "tasks.db")}
    poisonous = rows.pop("poison")
    assert (poisonous.status, poisonous.crashes) == (TaskStatus.QUARANTINED, COUNTED_CRASHES)
    assert [row.status for row in rows.values()] == [TaskStatus.COMPLETED] * 20


@pytest.mark.parametrize("form", ["handlers", "saga"])
def test_an_order_with_a_step_that_kills_its_process_is_undone_once_that_is_quarantined(
    tmp_path: Path, launch: Launch, form: str
) -> None:
    _, printed, complained = launch("poisoned_order.py", tmp_path, form).finish()
    *deaths, last = map(int, printed.split())
    assert last == 0, f"it was still dying after {len(deaths)} deaths:\n{complained}"
    assert set(deaths) == {-signal.SIGKILL}
    assert COUNTED_CRASHES <= len(deaths) <= MOST_DEATHS
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
        assert connection.execute("SELECT state FROM workflow").fetchall() == [("compensated",)]
        assert connection.execute("SELECT outcome FROM undo ORDER BY position").fetchall() == [
            ("completed",),
            ("unknown",),
        ]
    steps = {row.kind: row for row in reversed(read_rows(tmp_path / "tasks.db"))}  # an undo of that type comes later
    assert steps["Pack"].status is TaskStatus.COMPLETED
    assert (steps["Explode"].status, steps["Explode"].crashes) == (TaskStatus.QUARANTINED, COUNTED_CRASHES)
    assert "Send" not in steps
    told = [(line.word, line.step) for line in read_diary(tmp_path)]
    assert told[-2:] == [("undid", "explode-unknown"), ("undid", "pack-completed")]
    assert sum(word == "undid" for word, _ in told) == 2
    assert ("did", "send") not in told
