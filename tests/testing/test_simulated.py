"""`@simulate` runs a test in many simulations, and raises what the smallest one that fails has raised."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from everact import ConfigurationError, Retry, task
from everact.testing import (
    Faults,
    PromiseBroken,
    Simulation,
    StaleSchedule,
    attempt,
    commit,
    drained,
    every,
    options,
    simulate,
)
from everact.testing.options import Options
from everact.testing.strategies import fault_plans


class Till:
    """What the handlers of one run share."""

    charged: list[int]


@task(name="Charge", retry=Retry(attempts=3, delay=1))
def charge(n: int) -> int:
    Till.charged.append(n)
    return n


def shop() -> list[Any]:
    Till.charged = []
    return [charge]


def charge_once(sim: Simulation, orders: Iterable[int] = (1, 2)) -> None:
    for n in orders:
        sim.dispatch(charge.task(n))
    sim.run(until=drained)
    assert len(Till.charged) == len(list(orders))


def ask_for(patch: pytest.MonkeyPatch, **asked: Any) -> None:
    patch.setattr(options, "current", lambda: Options(**asked))


@pytest.fixture(autouse=True)
def nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the command line of this suite asks for."""
    ask_for(monkeypatch)


def failure_of(test: Callable[..., Any], *args: Any) -> tuple[BaseException, str]:
    """What it raises, and the report."""
    with pytest.raises(AssertionError) as caught:
        test(*args)
    (note,) = caught.value.__notes__
    return caught.value, note


def schedule_in(note: str) -> str:
    return note.partition("--everact-schedule=")[2].split()[0]


def test_it_runs_as_many_seeds_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[str] = []

    @simulate(shop, seeds=3)
    def passes(sim: Simulation) -> None:
        charge_once(sim)
        hashes.append(sim.history.hash)

    passes()
    assert len(hashes) == 3
    ask_for(monkeypatch, seeds=5, seed=2)
    passes()
    assert len(hashes) == 8
    assert hashes[2] == hashes[3], "the third seed is number 2"


def test_a_failure_is_made_small_and_reported_with_its_cause() -> None:
    _, note = failure_of(simulate(shop, max_faults=3, seeds=300)(charge_once))
    assert "faults = Faults(" in note
    assert note.count("it passes") == 1, "one fault is kept, and it takes it"
    assert "The order of steps is the calm one" in note
    assert "It was found with 1 fault(s), " in note


def test_a_report_is_replayed_by_what_it_prints_until_the_bug_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    test = simulate(shop, max_faults=3, seeds=300)(charge_once)
    _, note = failure_of(test)
    ask_for(monkeypatch, schedule=schedule_in(note))
    _, again = failure_of(test)
    assert schedule_in(again) == schedule_in(note)
    simulate(shop)(lambda sim: sim.dispatch(charge.task(1)))()
    with pytest.raises(StaleSchedule):
        simulate(shop, nodes=2)(charge_once)()


def test_arguments_are_drawn_and_made_small_together_with_faults_and_surprises(monkeypatch: pytest.MonkeyPatch) -> None:
    @simulate(shop, max_faults=1, faults=Faults(duplicate=["Charge"], busy=every(3)), seeds=50)
    def test(sim: Simulation, orders: list[int] = st.lists(st.integers(1, 99), max_size=5)) -> None:  # type: ignore[assignment]  # noqa: B008
        for n in orders:
            sim.dispatch(charge.task(n))
        sim.run(until=drained)
        assert all(Till.charged.count(n) == orders.count(n) for n in orders if n > 10)

    _, note = failure_of(test)
    assert "With orders=[11]" in note
    assert "it passes" in note
    ask_for(monkeypatch, schedule=schedule_in(note))
    _, again = failure_of(test)
    assert schedule_in(again) == schedule_in(note)


def test_arguments_that_have_passed_with_one_seed_are_found_to_fail_with_another() -> None:
    """Hypothesis tries the smallest ones first, and nothing twice."""

    @simulate(shop, max_faults=2, seeds=300)
    def test(sim: Simulation, n: int = st.integers(1, 9)) -> None:  # type: ignore[assignment]
        charge_once(sim, [n])

    _, note = failure_of(test)
    assert "With n=1\n" in note


def test_a_plan_may_be_drawn_too_and_is_kept_only_as_far_as_it_takes() -> None:
    plans = fault_plans([charge], max_faults=3)
    _, note = failure_of(simulate(shop, faults=plans, seeds=300)(charge_once))
    assert note.count("it passes") == 1
    assert "With " not in note.partition("\n\n")[2].partition("\n")[0]


def test_fixtures_and_parameters_are_left_to_pytest() -> None:
    @simulate(shop, n=st.integers(1, 3))
    def test(tmp_path: Path, sim: Simulation, n: int, kind: str = "usual") -> None:
        """Takes all there is."""

    assert list(inspect.signature(test).parameters) == ["tmp_path", "kind"]


class TestAsAMethod:
    @simulate(shop, seeds=2, nodes=(1, 2))
    def test_it_runs_with_one_node_or_two(self, sim: Simulation, tmp_path: Path) -> None:
        assert tmp_path.exists()
        assert 1 <= len(sim.nodes) <= 2
        charge_once(sim)


def test_what_fails_with_fewer_nodes_is_reported_with_fewer() -> None:
    def test(sim: Simulation) -> None:
        sim.run()
        raise AssertionError(f"there are {len(sim.nodes)} nodes")

    error, note = failure_of(simulate(shop, nodes=(1, 3), seeds=9)(test))
    assert str(error) == "there are 1 nodes"
    assert "No faults are needed" in note


def test_promises_are_checked_whether_the_test_does_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    @task(name="Charge", retry=Retry(attempts=2, delay=0))
    def failing() -> None:
        raise OSError("no")

    monkeypatch.setattr(Retry, "decide", lambda policy, attempt, error, **_: 0.0 if attempt < 4 else None)

    @simulate([failing], seeds=1)
    def test(sim: Simulation) -> None:
        sim.dispatch(failing.task())
        sim.run()

    error, note = failure_of(test)
    assert isinstance(error, PromiseBroken)
    assert note.lstrip().startswith("C5: ")


def test_faults_that_are_given_belong_to_the_test_and_each_is_told_to_be_a_cause_or_not() -> None:
    plan = Faults(fail=[("Charge", attempt(1), OSError)], duplicate=["Charge"], busy=[commit(1)])
    _, note = failure_of(simulate(shop, faults=plan, max_faults=2, seeds=1)(charge_once))
    assert f"faults = {plan!r}" in note
    assert "Without duplicate 'Charge' it passes" in note
    assert "Without busy commit(1) it fails all the same" in note


def test_what_a_test_is_about_is_not_dropped_though_it_fails_at_the_same_line_without_it() -> None:
    @simulate(shop, faults=Faults(fail=[("Charge", every(1), OSError)]), seeds=1)
    def test(sim: Simulation) -> None:
        order = sim.dispatch(charge.task(1))
        sim.run()
        sim.expect(order).failed(ValueError)

    error, note = failure_of(test)
    assert "it has failed with OSError, not ValueError" in str(error)
    assert "Without fail ('Charge', every(1), OSError) it fails in another way" in note


def test_a_run_that_leaves_something_to_the_next_one_is_found_out() -> None:
    times: list[int] = []

    @simulate(shop, seeds=5)
    def test(sim: Simulation) -> None:
        times.append(1)
        assert len(times) != 3

    _, note = failure_of(test)
    assert "does not fail like the first one" in note


def test_what_can_not_be_run_is_refused_with_the_reason() -> None:
    async def waits(sim: Simulation) -> None:
        """Has a loop of its own."""

    with pytest.raises(ConfigurationError, match="coroutine"):
        simulate(shop)(waits)
    with pytest.raises(ConfigurationError, match="no parameter `sim`"):
        simulate(shop)(lambda: None)
    with pytest.raises(ConfigurationError, match="strategies for n, which"):
        simulate(shop, n=st.integers())(charge_once)
    with pytest.raises(ConfigurationError, match=r"nodes=\(3, 1\)"):
        simulate(shop, nodes=(3, 1))(charge_once)


PLAIN = """
import sys
sys.modules["hypothesis"] = None
from everact import task
from everact.testing import simulate

@task(name="Charge")
def charge() -> int:
    return 1

@simulate([charge], seeds=2)
def test(sim):
    order = sim.dispatch(charge.task())
    sim.run()
    sim.expect(order).completed(1)

test()
"""


@pytest.mark.slow
def test_without_arguments_it_takes_no_hypothesis() -> None:
    subprocess.run([sys.executable, "-P", "-c", PLAIN], check=True)
