"""`RealityCheck`: the same script in a process that is really killed, and in simulations."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from everact import ConfigurationError, Retry
from everact.testing import RealityCheck, RealityDiffers, RealityStuck, Script
from tests.testing.programs import scripts

TIMES = 3 if "EVERACT_LONG_TESTS" in os.environ else 1  # make long


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "deaths"), [(scripts.orders_and_kills, 3), (scripts.cancels, 0), (scripts.a_kill_in_time, 1)]
)
def test_reality_comes_to_what_simulations_come_to(make: Callable[[], Script], deaths: int) -> None:
    reality = RealityCheck(make).check(TIMES)
    assert reality.deaths == deaths * TIMES, str(reality)
    assert "each of which is among those" in str(reality)


@pytest.mark.slow
def test_a_simulation_that_does_not_tell_the_truth_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it never retries; the process, which was started afresh, does."""
    monkeypatch.setattr(Retry, "decide", lambda policy, attempt, error, **_: None)
    with pytest.raises(RealityDiffers, match="none of 3 simulated runs") as caught:
        RealityCheck(scripts.a_failing_charge).check(1, seeds=3)
    lines = str(caught.value).splitlines()
    assert "+ 1: Charge is completed" in lines
    assert "- 1: Charge is failed (TimeoutError)" in lines


@pytest.mark.slow
def test_a_process_that_ends_otherwise_is_told_of() -> None:
    check = RealityCheck(scripts.a_failing_charge)
    check._target = replace(check._target, name="what_is_not_there")
    with pytest.raises(RealityStuck, match="ended with 1(?s:.)*what_is_not_there"):
        check.run()


USERS = """
from everact import task
from everact.testing import Faults, RealityCheck, Script

@task
def charge(n: int) -> int:
    return n

def one_charge() -> Script:
    script = Script([charge], faults=Faults(crash_at=[2]))
    script.dispatch(charge.task(1))
    return script

def test_reality_agrees() -> None:
    assert RealityCheck(one_charge).check(1).deaths == 1
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "place"),
    [("prepend", "tests/test_shop.py"), ("importlib", "v1.0/test_shop.py")],
)
def test_a_users_module_is_found_wherever_pytest_finds_it(tmp_path: Path, mode: str, place: str) -> None:
    file = tmp_path / "project" / place
    file.parent.mkdir(parents=True)
    file.write_text(USERS)
    other = tmp_path / "installed" / "tests"  # somebody else's package of the same name, as some distributions have it
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    done = subprocess.run(
        # Without -P the working directory is on sys.path, which it is not where `pytest` is called.
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--import-mode={mode}"],
        cwd=tmp_path / "project",
        env=os.environ | {"PYTHONPATH": str(other.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


CALLS_WHEN_IMPORTED = """
from everact import task
from everact.testing import RealityCheck, Script

@task
def charge(n: int) -> int:
    return n

def nothing() -> Script:
    return Script([charge])

RealityCheck(nothing).check(1)
"""


@pytest.mark.slow
def test_a_module_that_makes_a_check_when_it_is_imported_starts_no_process_after_process(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CALLS_WHEN_IMPORTED)
    done = subprocess.run(
        [sys.executable, "-c", "import shop"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "RealityStuck: shop:nothing: the process has ended with 1" in done.stderr
    assert "shop:nothing is imported by another process" in done.stderr
    assert "do that in a test function" in done.stderr


def test_what_cannot_be_done_to_a_process_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pause cannot be injected into a real process; fail, fail_after"):
        RealityCheck(scripts.a_pause)


def test_what_another_process_cannot_import_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at the top of a module"):
        RealityCheck(lambda: Script(scripts.HANDLERS))


def test_a_scenario_names_only_what_it_has_dispatched() -> None:
    script = Script(scripts.HANDLERS)
    number = script.dispatch(scripts.note.task(1))
    with pytest.raises(ConfigurationError, match="names no task; 1 were dispatched"):
        script.cancel(number + 1)
    with pytest.raises(ConfigurationError, match="leave id= out"):
        script.dispatch(scripts.note.task(1), id="5")
