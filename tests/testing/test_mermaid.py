"""The diagrams of failures keep to the part of Mermaid's language that is written down here.

That part was tried with Mermaid's own parser, which takes a browser or a Node.js with many packages: the diagrams of
`tests/testing/programs/diagrams.py` all pass it.
"""

from __future__ import annotations

import re

import pytest

from everact.testing import History, What
from everact.testing.mermaid import diagram
from tests.testing.programs.diagrams import diagrams

ID = r"[^\W]+"
TEXT = r"(?:[^#;\n]|#(?:35|59);)+"
LINES = {
    "title": re.compile(rf"title {TEXT}"),
    "participant": re.compile(rf"participant (?P<declared>{ID}) as {TEXT}"),
    "arrow": re.compile(rf"(?P<one>{ID})(?:->>|-->>|--x)(?P<other>{ID}): {TEXT}"),
    "note": re.compile(rf"Note over (?P<one>{ID}): {TEXT}"),
}
WORDS = {"end", "note", "loop", "alt", "opt", "par", "rect", "box", "as", "over", "title", "participant", "actor"}


def check(text: str) -> set[str]:
    """Read a diagram, strictly; returns the kinds of lines that were in it."""
    head, *lines = text.splitlines()
    assert head == "sequenceDiagram"
    declared: set[str] = set()
    kinds = set[str]()
    place, inside = 0, False
    while place < len(lines):
        line = lines[place]
        if re.fullmatch(r"    rect rgb\(\d+, \d+, \d+\)", line):
            assert lines[place + 2] == "    end"
            line, place, inside = lines[place + 1], place + 2, True
        kind, found = next(
            (kind, found)
            for kind, form in LINES.items()
            if (found := form.fullmatch(line.removeprefix(" " * 4).removeprefix(" " * 4 * inside)))
        )
        parts = found.groupdict()
        if kind == "participant":
            assert kinds <= {"title", "participant"}, "all participants come first"
            assert parts["declared"] not in declared, "each has a name of its own"
            assert parts["declared"].lower() not in WORDS
            declared.add(parts["declared"])
        assert {each for name, each in parts.items() if name in ("one", "other")} <= declared
        kinds.add("rect" if inside else kind)
        place, inside = place + 1, False
    return kinds


@pytest.mark.parametrize("name", diagrams())
def test_a_diagram_keeps_to_the_grammar(name: str) -> None:
    assert check(diagrams()[name])


def test_all_kinds_of_lines_are_among_them() -> None:
    assert set.union(*map(check, diagrams().values())) == {"title", "participant", "arrow", "note", "rect"}


@pytest.mark.parametrize(
    "text",
    [
        "flowchart TD",
        "sequenceDiagram\n    participant a as A\n    a->>b: text",
        "sequenceDiagram\n    participant end as End",
        "sequenceDiagram\n    participant a as A\n    Note over a: one; two",
        "sequenceDiagram\n    participant a as A\n    rect rgb(1, 2, 3)\n        Note over a: one",
    ],
)
def test_what_is_none_is_told_from_it(text: str) -> None:
    with pytest.raises((AssertionError, StopIteration, IndexError)):
        check(text)


def test_names_of_users_are_no_words_of_the_language() -> None:
    history = History(lambda: (1, 0.0))
    for kind in ("end", "Note", "a;b", "a#b", "a-b", "a_b"):
        history.add("node-1.1", What.STARTED, history.name(kind.encode(), kind), attempt=1)
    assert check(diagram(list(history), "end; #1")) == {"title", "participant", "arrow"}
