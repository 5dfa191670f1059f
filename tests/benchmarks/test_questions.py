"""The questions as data: what they name must exist. Peers are not installed here, so their sources are read."""

import ast
from pathlib import Path

import pytest

from benchmarks.case import Case, Question
from benchmarks.questions import CASES, QUESTIONS

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_every_case_calls_a_function_that_is_there_with_arguments_that_it_takes(case: Case) -> None:
    source = ast.parse((FOLDER / f"{case.program}.py").read_text())
    (function,) = (node for node in source.body if isinstance(node, ast.FunctionDef) and node.name == case.function)
    taken = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
    assert taken[0] == "count"
    optional = len(function.args.defaults) + sum(default is not None for default in function.args.kw_defaults)
    assert set(case.arguments) <= set(taken[1:])
    assert len(case.arguments) >= len(taken) - 1 - optional


def test_a_name_stands_for_one_case_only() -> None:
    for question in QUESTIONS.values():
        for case in question.cases:
            assert CASES[case.name] is case


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=lambda question: question.name)
def test_a_question_compares_its_own_cases_with_each_other(question: Question) -> None:
    assert set(question.against.values()) <= {case.name for case in question.cases}


def test_every_case_of_everact_and_of_a_peer_says_what_it_guarantees() -> None:
    unsaid = {case.name for case in CASES.values() if case.guarantee == "-" and (case.peer or "everact:" in case.name)}
    assert unsaid == set()
