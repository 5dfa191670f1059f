"""The goals, and how a run is judged by them."""

import pytest

from benchmarks.figures import Run
from benchmarks.goals import GOALS, Goal, unanswered
from benchmarks.questions import CASES

FASTER = Goal(about="faster", case="ours", over="theirs", at_least=3)
SOONER = Goal(about="sooner", case="ours", figure="p50 ms", at_most=0.5)


def results(**tasks_per_second: float) -> dict[str, list[Run]]:
    return {name: [Run({"tasks/s": value, "p50 ms": 1 / value}, 1.0)] for name, value in tasks_per_second.items()}


@pytest.mark.parametrize(("ours", "met"), [(29, False), (30, True), (31, True)])
def test_a_ratio_to_a_peer_meets_its_least_value_or_does_not(ours: float, met: bool) -> None:
    measured = FASTER.measured(results(ours=ours, theirs=10))
    assert measured == pytest.approx(ours / 10)
    assert FASTER.met(ours / 10) is met


@pytest.mark.parametrize(("ours", "met"), [(4.0, True), (2.0, True), (1.0, False)])
def test_a_figure_that_must_be_small_is_judged_by_its_greatest_value(ours: float, met: bool) -> None:
    measured = SOONER.measured(results(ours=ours))
    assert measured is not None
    assert SOONER.met(measured) is met


def test_a_run_without_the_peer_says_nothing_about_a_ratio_to_it() -> None:
    assert FASTER.measured(results(ours=30)) is None
    assert FASTER.measured(results(theirs=30)) is None


def test_a_goal_whose_cases_ran_without_its_figure_is_told_apart_from_one_whose_cases_did_not_run() -> None:
    assert unanswered([FASTER, SOONER], {"ours": [Run({"tasks/s": 1}, 1.0)]}) == [SOONER]
    assert unanswered([FASTER, SOONER], results(ours=1, theirs=1)) == []


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.about)
def test_every_goal_is_about_cases_that_exist_and_has_one_bound(goal: Goal) -> None:
    assert goal.case in CASES
    assert goal.over is None or goal.over in CASES
    assert (goal.at_least is None) != (goal.at_most is None)


def test_a_bound_reads_as_it_is_meant() -> None:
    assert FASTER.bound == "≥ 3 × theirs"
    assert SOONER.bound == "≤ 0.5"
