"""An order is undone or completed as the rules say, whenever its process is killed. All of it: `make saga`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orders.bugs import Bug
from orders.model import expected
from orders.script import FORMS, Ending, Script, Undoing, every_script

pytestmark = [pytest.mark.crash, pytest.mark.slow]
SHARE = 20
# All workers draw the same share, of which each test plays a half.
SEED = Random(os.environ.get("PYTEST_XDIST_TESTRUNUID")).randrange(1_000_000)


def play(folder: Path, *options: str) -> Any:
    """Run `python -m orders`, and return its figures."""
    path = os.environ | {"PYTHONPATH": str(Path(__file__).parent / "programs")}
    command = [sys.executable, "-m", "orders", "--json", *options]
    done = subprocess.run(command, env=path, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(600)  # some hundred processes, on a machine that may be busy
@pytest.mark.parametrize("half", [0, 1])  # for two workers
@pytest.mark.parametrize("form", FORMS)
def test_an_order_killed_at_any_commit_comes_to_the_end_that_the_rules_give(
    tmp_path: Path, form: str, half: int
) -> None:
    figures = play(tmp_path, "--share", str(SHARE), "--seed", str(SEED), "--half", str(half), "--only", f"{form}:")
    print(f"seed {SEED}: {figures}")
    assert figures["faults"] == [], f"seed {SEED}"
    of_the_form = sum(script.form == form for script in every_script())
    assert figures["scenarios"] == (-(-of_the_form // SHARE) + 1 - half) // 2
    assert figures["crash points"] > 10 * figures["scenarios"]
    assert figures["kills"] >= figures["crash points"]  # some are killed twice


@pytest.mark.parametrize(
    ("bug", "where", "seen_as"),
    [
        (Bug.FORWARD, "saga: ship fails, ", "undos were out of turn"),
        (Bug.FORGOTTEN_ENTRY, "handlers: ship fails, ", "the undo log has"),
        (Bug.UNBARRED, "handlers: reserve has", "started when the workflow was being undone already"),
        (Bug.FORGOTTEN_UNWIND, "saga: charge fails, ", "the workflow is compensating, not compensated"),
        (Bug.UNMARKED, "reversible: ship fails, ", "is playing, not played"),
        (Bug.CERTAIN, "saga: charge fails, ", "nothing is on record for what it may have done"),
        (Bug.LOST_ALERT, "handlers: charge fails, ", "0 alerts are completed, not 1"),
    ],
    ids=lambda value: value.value if isinstance(value, Bug) else "",
)
def test_the_same_kills_and_the_same_model_show_a_bug_that_is_planted(
    tmp_path: Path, bug: Bug, where: str, seen_as: str
) -> None:
    faults = play(tmp_path, "--bug", bug.value, "--only", where)["faults"]
    assert any(seen_as in fault for fault in faults), faults


def test_every_form_fails_and_aborts_at_each_step_and_fails_at_each_undo_that_is_played() -> None:
    scripts = list(every_script())
    assert len(set(scripts)) == len(scripts) == 184
    for form, traits in FORMS.items():
        mine = [script for script in scripts if script.form == form]
        assert len({(script.step, script.ending) for script in mine if script.step}) == 8
        undone = {step for script in mine for step in expected(script).undone}
        assert undone == set(traits.undoable)
        for undoing in Undoing:
            assert {script.undo for script in mine if script.undo and script.undoing is undoing} == undone


def test_the_model_tells_an_order_that_goes_well() -> None:
    end = expected(Script("saga"))
    assert (end.state, end.completed, end.undone) == ("completed", ["reserve", "charge", "ship", "receipt"], [])


def test_the_model_undoes_in_reverse_what_was_done_before_a_failing_step() -> None:
    end = expected(Script("reversible", step="receipt"))
    assert (end.state, end.undone, end.alerts) == ("compensated", ["ship", "charge", "reserve"], ["receipt"])


def test_the_model_undoes_a_step_that_may_have_worked_and_no_other_failing_step() -> None:
    assert expected(Script("handlers", step="charge")).undone == ["reserve"]
    assert expected(Script("handlers", step="charge"), doubted=True).undone == ["charge", "reserve"]


def test_the_model_undoes_nothing_after_the_pivot() -> None:
    end = expected(Script("strict", step="receipt"))
    assert (end.state, end.stuck, end.completed[-1]) == ("completed", True, "receipt")
    assert expected(Script("saga", step="receipt")).stuck is False
    assert expected(Script("strict", step="receipt", ending=Ending.ABORTS)).stuck is True


def test_the_model_knows_a_failure_and_an_abort_with_nothing_to_undo() -> None:
    assert expected(Script("handlers", step="reserve")).state == "failed"
    assert expected(Script("handlers", step="reserve"), doubted=True).state == "compensated"
