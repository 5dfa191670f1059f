"""The tables of a run, in Markdown that can be read as it is: one per question, and that of the goals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmarks.case import NONE, Case, Question
from benchmarks.figures import Run, Spread, names, ratio, spread
from benchmarks.goals import Goal

Results = Mapping[str, Sequence[Run]]
LARGE, SMALL = 100, 0.1


def number(value: float) -> str:
    """Three or four digits, which is more than a benchmark knows.

    Example:
        >>> [number(value) for value in (123456.7, 12.345, 1.0, 0.01234, 0.0)]
        ['123,457', '12.35', '1', '0.012', '0']
    """
    if value == int(value) or abs(value) >= LARGE:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= SMALL else f"{value:.2g}"


def cell(value: Spread | None) -> str:
    """The median, and the range if there is one."""
    if value is None:
        return ""
    median, least, greatest = map(number, (value.median, value.least, value.greatest))
    return median if least == greatest else f"{median} ({least}-{greatest})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns stand below each other."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def question_table(question: Question, results: Results) -> str:
    """The cases of a question that were run, their figures, and how they compare."""
    cases = [case for case in question.cases if results.get(case.name)]
    figures = names([results[case.name] for case in cases])
    figures.sort(key=lambda name: name != question.figure)
    against = {short: name for short, name in question.against.items() if results.get(name)}
    guarantees = any(case.guarantee != NONE for case in cases)
    header = [
        "case",
        *figures,
        *(f"× {short}" for short in against),
        "busy",
        *(["survives; runs"] if guarantees else []),
    ]
    return table(header, (_row(case, question, figures, against.values(), results)[: len(header)] for case in cases))


def _row(case: Case, question: Question, figures: Sequence[str], against: Iterable[str], results: Results) -> list[str]:
    runs = results[case.name]
    mine = spread(runs, question.figure)
    ratios = [ratio(mine, spread(results[name], question.figure)) for name in against]
    return [
        case.name,
        *(cell(spread(runs, name)) for name in figures),
        *("" if each is None else number(each) for each in ratios),
        busy(runs),
        case.guarantee,
    ]


def busy(runs: Sequence[Run]) -> str:
    """How many repetitions had a busy neighbour, of all; nothing if none had one."""
    disturbed = sum(not run.calm for run in runs)
    return f"{disturbed} of {len(runs)}" if disturbed else ""


def goals_table(goals: Iterable[Goal], results: Results) -> str:
    """Each goal that the run can answer: its bound, what was measured, and whether that meets it."""
    rows = []
    for goal in goals:
        measured = goal.measured(results)
        if measured is not None:
            rows.append([goal.about, goal.bound, number(measured), "met" if goal.met(measured) else "NOT MET"])
    return table(["goal", "bound", "measured", ""], rows) if rows else ""


def asked(questions: Iterable[Question], results: Results) -> list[Question]:
    """The questions that a run answers: peers answer several, so what else was run decides, if anything was."""
    found = [each for each in questions if any(results.get(case.name) for case in each.cases)]
    return [each for each in found if any(results.get(c.name) for c in each.cases if not c.peer)] or found


def sections(questions: Iterable[Question], goals: Iterable[Goal], results: Results) -> Iterator[str]:
    """The whole report, in paragraphs."""
    for question in asked(questions, results):
        yield f"### {question.title}"
        yield f"{question.about} (`python -m benchmarks {question.name}`)"
        yield question_table(question, results)
    if reached := goals_table(goals, results):
        yield "### Goals"
        yield reached
