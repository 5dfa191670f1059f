"""The pytest plugin: a fixture and options, at no cost for whoever has no simulations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SHOP = """
import pytest
from everact import Retry, task
from everact.testing import Faults, attempt, drained, simulate

CHARGED = []
SEEDS = []

@task(name="Charge", retry=Retry(attempts=3, delay=1))
def charge(n: int) -> int:
    CHARGED.append(n)
    return n

def app():
    CHARGED.clear()
    return [charge]
"""
FAILS = """
def test_charges(simulation):
    sim = simulation([charge], storage="memory", faults=Faults(fail=[("Charge", attempt(1), OSError)]))
    order = sim.dispatch(charge.task(1))
    sim.run()
    sim.expect(order).attempts(1)
"""
SEEDED = """
def test_charges(simulation, everact_seed):
    sim = simulation([charge], storage="memory")
    sim.expect(sim.dispatch(charge.task(1)))
    print("seed", everact_seed)

@simulate(app)
def test_simulated(sim):
    SEEDS.append(sim)

def test_how_many():
    print("simulated", len(SEEDS))
"""
SIMULATED = """
@simulate(app, max_faults=2, seeds=300)
def test_once(sim):
    sim.dispatch(charge.task(1))
    sim.run(until=drained)
    assert len(CHARGED) == 1
"""


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_shop=SHOP + source)
    return pytester.runpytest_inprocess("-p", "pytest_everact", "-p", "no:randomly", *options)


def test_a_failing_test_tells_what_happened_in_its_simulation(pytester: pytest.Pytester, tmp_path: Path) -> None:
    result = run(pytester, FAILS, f"--everact-report-dir={tmp_path / 'reports'}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*Charge#1: its handler was called 2 time(s), not 1*", "*step*time*client*node-1*Charge*"]
    )
    result.stdout.fnmatch_lines(["*faults = Faults(fail=*", "*--everact-schedule=ev1:*"])
    (file,) = (tmp_path / "reports").iterdir()
    assert file.name == "test_shop.py-test_charges.mmd"
    assert file.read_text().startswith("sequenceDiagram\n")


def test_diagrams_go_to_pytest_s_cache_if_nobody_says_where(pytester: pytest.Pytester) -> None:
    run(pytester, FAILS).assert_outcomes(failed=1)
    assert [file.name for file in pytester.path.glob(".pytest_cache/d/everact/*")] == ["test_shop.py-test_charges.mmd"]
    run(pytester, FAILS, "-p", "no:cacheprovider").assert_outcomes(failed=1)


def test_seeds_are_asked_for_on_the_command_line(pytester: pytest.Pytester) -> None:
    result = run(pytester, SEEDED, "--everact-seeds=3", "--everact-seed=5", "-v", "-s")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        ["*test_charges?seed-5?*", "*test_charges?seed-6?*", "*test_charges?seed-7?*", "*simulated 3*"]
    )
    result = run(pytester, SEEDED, "--everact-seed=5", "-s")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*seed 5*", "*simulated 1*"])


@pytest.mark.parametrize("source", [FAILS, SIMULATED])
def test_a_schedule_that_was_printed_is_replayed(pytester: pytest.Pytester, source: str) -> None:
    first = run(pytester, source)
    first.assert_outcomes(failed=1)
    # Where CI is set, pytest ends with the whole message once more.
    (schedule,) = {
        line.partition("--everact-schedule=")[2].strip() for line in first.outlines if "--everact-schedule=" in line
    }
    again = run(
        pytester,
        source.replace("max_faults=2, ", "").replace('[("Charge", attempt(1), OSError)]', "()"),
        f"--everact-schedule={schedule}",
    )
    again.assert_outcomes(failed=1)
    assert any(schedule in line for line in again.outlines)


def test_of_many_runs_pytest_shows_the_log_of_the_one_that_is_told(pytester: pytest.Pytester) -> None:
    source = """
from everact import TaskContext

@task(name="Look")
def look(ctx: TaskContext) -> None:
    ctx.logger.error("looked at %s", ctx.task_id)

@simulate([look], max_faults=2, seeds=20)
def test_once(sim):
    sim.dispatch(look.task())
    sim.run()
    assert sim.faults.count == 0

@simulate([look], seeds=3)
def test_caplog(caplog, sim):
    order = sim.dispatch(look.task())
    sim.run()
    assert caplog.messages == [f"looked at {order.id}"]
"""
    result = run(pytester, source)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*Captured log call*"])
    assert sum("looked at" in line for line in result.outlines) <= 2  # one more where the node has died


def test_options_that_have_no_meaning_are_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, FAILS, "--everact-seeds=0")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--everact-seeds*"])


@pytest.mark.slow
def test_the_start_of_pytest_imports_neither_everact_nor_hypothesis() -> None:
    code = (
        "import sys, pytest, pytest_everact; "
        "pytest.main(['--version', '-p', 'pytest_everact', '-p', 'no:hypothesispytest']); "
        "print({name.partition('.')[0] for name in sys.modules} & {'everact', 'hypothesis', 'pykka', 'msgspec'})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"
