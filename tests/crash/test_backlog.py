"""A backlog larger than memory may hold, in real processes; `make backlog` has two million tasks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "backlog.py"
TASKS = 40_000
MEGABYTES = 150


def run(part: str, url: str, exit_code: int) -> dict[str, Any]:
    command = [sys.executable, str(PROGRAM), part, "--url", url, "--tasks", str(TASKS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=100, check=False)
    assert done.returncode == exit_code
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.crash
def test_a_killed_process_leaves_a_large_backlog_and_the_next_one_works_it_off_in_bounded_memory(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/backlog.db"
    filled = run("fill", url, -signal.SIGKILL)
    assert (filled["unfinished"], filled["scheduled_tasks"]) == (TASKS, TASKS)
    assert filled["megabytes_over_idle"] < MEGABYTES
    drained = run("drain", url, 0)
    assert (drained["completed"], drained["scheduled"]) == (TASKS, TASKS)
    assert drained["megabytes_over_idle"] < MEGABYTES
