"""A task that kills its process is set aside, and the tasks beside it are not."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from everact import TaskStatus
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
