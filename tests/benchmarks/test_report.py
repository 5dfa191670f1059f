"""The tables."""

from pathlib import Path

import pytest

from benchmarks.case import Case, Question
from benchmarks.figures import Run, Spread
from benchmarks.goals import Goal
from benchmarks.page import BEGIN, END, filled
from benchmarks.record import Record
from benchmarks.report import asked, cell, goals_table, question_table, sections, table

OURS = Case(name="ours", program="p", function="f", guarantee="a power cut")
PEER = Case(name="peer", program="p", function="f", guarantee="nothing", peer=True)
SHARED = Question(name="one", title="One", about="Ours and the peer.", cases=(OURS, PEER), against={"peer": "peer"})
OTHER = Question(
    name="other", title="Other", about="The peer alone.", cases=(Case(name="x", program="p", function="f"), PEER)
)


def run(value: float, foreign: float = 0.0) -> Run:
    return Run({"RSS MB": 5.0, "tasks/s": value}, 1.0, foreign)


def cells(line: str) -> list[str]:
    return [text.strip() for text in line.strip("|").split("|")]


def test_columns_stand_below_each_other() -> None:
    assert table(["a", "long"], [["wide", "b"]]) == "| a    | long |\n| ---- | ---- |\n| wide | b    |"


def test_a_figure_is_shown_with_its_range_if_it_has_one() -> None:
    assert cell(Spread(1234.5, 1000, 2000)) == "1,234 (1,000-2,000)"
    assert cell(Spread(2, 2, 2)) == "2"
    assert cell(None) == ""


def test_a_question_shows_its_own_figure_first_and_ratios_and_guarantees_beside_it() -> None:
    header, _, ours, peer = question_table(SHARED, {"ours": [run(30)], "peer": [run(10)]}).splitlines()
    assert cells(header) == ["case", "tasks/s", "RSS MB", "× peer", "busy", "survives; runs"]
    assert cells(ours) == ["ours", "30", "5", "3", "", "a power cut"]
    assert cells(peer) == ["peer", "10", "5", "1", "", "nothing"]


def test_without_the_peer_there_is_no_ratio_to_it() -> None:
    header, _, ours = question_table(SHARED, {"ours": [run(30)]}).splitlines()
    assert cells(header) == ["case", "tasks/s", "RSS MB", "busy", "survives; runs"]
    assert len(cells(ours)) == len(cells(header))


def test_repetitions_beside_a_busy_neighbour_are_counted_in_the_table() -> None:
    shown = question_table(SHARED, {"ours": [run(30), run(3, foreign=0.7)]}).splitlines()[-1]
    assert cells(shown) == ["ours", "30", "5", "1 of 2", "a power cut"]


def test_a_question_of_which_only_a_shared_peer_was_run_is_not_asked() -> None:
    assert asked([SHARED, OTHER], {"ours": [run(1)], "peer": [run(1)]}) == [SHARED]
    assert asked([SHARED, OTHER], {"peer": [run(1)]}) == [SHARED, OTHER]


def test_a_goal_that_is_missed_is_told_and_one_that_nothing_is_known_about_is_left_out() -> None:
    goals = [
        Goal(about="reached", case="ours", at_least=10),
        Goal(about="missed", case="ours", over="peer", at_least=10),
        Goal(about="unknown", case="nowhere", at_least=10),
    ]
    shown = goals_table(goals, {"ours": [run(30)], "peer": [run(10)]}).splitlines()[2:]
    assert [cells(line) for line in shown] == [
        ["reached", "≥ 10", "30", "met"],
        ["missed", "≥ 10 × peer", "3", "NOT MET"],
    ]
    assert goals_table(goals, {}) == ""


def test_the_report_has_a_section_for_each_question_and_one_for_the_goals() -> None:
    parts = list(sections([SHARED], [Goal(about="reached", case="ours", at_least=10)], {"ours": [run(30)]}))
    assert [part for part in parts if part.startswith("###")] == ["### One", "### Goals"]
    assert "`python -m benchmarks one`" in parts[1]


def test_what_a_run_has_found_comes_back_from_its_file_with_the_same_tables(tmp_path: Path) -> None:
    record = Record.begun(20_000, 3)
    record.results["everact: memory, 1 caller"] = [run(30), run(40)]
    record.write(tmp_path / "build" / "figures.json")
    read = Record.read(tmp_path / "build" / "figures.json")
    assert read == record
    assert (tmp_path / "build" / "figures.md").read_text() == read.markdown()
    assert "everact: memory, 1 caller" in read.markdown()


def test_tables_take_the_place_of_those_between_the_marks() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = filled(page, "new\n")
    assert once == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert filled(once, "new") == once


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_both_marks_once_and_in_order_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="the page needs one line"):
        filled(page, "new")


def test_the_page_of_the_docs_has_the_marks() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
    assert "new" in filled(page.read_text(), "new")
