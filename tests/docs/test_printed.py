"""What the docs show as the output of a command is what comes out, letter for letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.programs.printed import BLOCK, patched, rewritten

ROOT = Path(__file__).resolve().parents[2]
PAGES = [page for page in sorted((ROOT / "docs").glob("*.md")) if BLOCK.search(page.read_text(encoding="utf-8"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_its_commands_print(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert rewritten(text, tmp_path) == text, f"python -m tests.docs.programs.printed docs/{page.name}"


def test_the_page_that_begins_with_a_broken_saga_is_among_them() -> None:
    assert "test-your-workflow.md" in [page.name for page in PAGES]


def test_what_a_page_says_otherwise_is_put_right(tmp_path: Path) -> None:
    page = (
        "<!-- file: test_x.py -->\n```python\ndef test() -> None:\n    assert True\n```\n"
        "<!-- printed by: pytest -qq -->\n```text\nit fails\n```\n"
    )
    assert "it fails" not in rewritten(page, tmp_path)
    assert "[100%]" in rewritten(page, tmp_path)


def test_a_diff_changes_what_it_names_and_nothing_else() -> None:
    assert patched("a\nb\nc\n", " a\n-b\n+d\n") == "a\nd\nc\n"
    assert patched("a\nb\nc\n", "-a\n+x\n\n-c\n+z\n") == "x\nb\nz\n"
    with pytest.raises(ValueError, match="found 0 times"):
        patched("a\n", "-b\n+c\n")
