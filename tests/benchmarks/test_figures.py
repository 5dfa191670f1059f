"""What repetitions add up to."""

import doctest

import pytest

from benchmarks import figures, report
from benchmarks.figures import Run, Spread, counted, names, ratio, spread


def run(value: float, foreign: float | None = 0.0) -> Run:
    return Run({"tasks/s": value}, 1.0, foreign)


def test_a_figure_is_the_median_with_its_range() -> None:
    assert spread([run(30), run(10), run(50)], "tasks/s") == Spread(30, 10, 50)


def test_a_repetition_beside_a_busy_neighbour_is_left_out_if_there_is_a_calm_one() -> None:
    assert spread([run(30), run(1, foreign=0.5), run(50)], "tasks/s") == Spread(40, 30, 50)


def test_busy_repetitions_count_if_there_are_no_others() -> None:
    assert counted([run(1, foreign=0.9), run(2, foreign=0.6)]) == [run(1, foreign=0.9), run(2, foreign=0.6)]


def test_where_nobody_knows_about_neighbours_all_repetitions_count() -> None:
    assert spread([run(1, foreign=None), run(3, foreign=None)], "tasks/s") == Spread(2, 1, 3)


def test_a_figure_that_only_some_repetitions_have_is_taken_from_those() -> None:
    assert spread([Run({}, 1.0), run(3)], "tasks/s") == Spread(3, 3, 3)
    assert spread([Run({}, 1.0)], "tasks/s") is None


def test_a_ratio_is_one_of_medians_and_missing_if_one_of_them_is() -> None:
    assert ratio(Spread(30, 1, 99), Spread(10, 1, 99)) == pytest.approx(3)
    assert ratio(None, Spread(10, 10, 10)) is None
    assert ratio(Spread(10, 10, 10), None) is None
    assert ratio(Spread(10, 10, 10), Spread(0, 0, 0)) is None


def test_the_figures_of_several_cases_are_named_once_in_the_order_in_which_they_come_up() -> None:
    assert names([[Run({"a": 1, "b": 1}, 1.0)], [Run({"b": 1, "c": 1}, 1.0)]]) == ["a", "b", "c"]


def test_a_run_comes_back_from_its_file_as_it_was() -> None:
    calm, unknown = run(3), run(4, foreign=None)
    assert calm.as_json()["calm"] is True
    assert [Run.from_json(each.as_json()) for each in (calm, unknown)] == [calm, unknown]


@pytest.mark.parametrize("module", [figures, report], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_are_true(module: object) -> None:
    tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert tried.attempted
    assert not tried.failed
