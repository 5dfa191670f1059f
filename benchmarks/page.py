"""Puts the tables of a run into a page, between two marks: `python -m benchmarks.page FIGURES.json [PAGE]`."""

from __future__ import annotations

import argparse
import pathlib

from benchmarks.record import Record

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- the tables begin -->", "<!-- the tables end -->"


def filled(page: str, tables: str) -> str:
    """Give the page with these tables instead of those that are between its marks.

    Raises:
        ValueError: It has not both marks, once and in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in after or END in after + before:
        msg = f"the page needs one line {BEGIN} and below it one line {END}"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n\n{tables.strip()}\n\n{END}{after}"


def main() -> None:
    """Read the command line, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description="Put figures into a page.")
    parser.add_argument("figures", type=pathlib.Path, metavar="FIGURES.json", help="what --json has written")
    parser.add_argument("page", type=pathlib.Path, nargs="?", default=PAGE, help="by default that of the docs")
    options = parser.parse_args()
    options.page.write_text(filled(options.page.read_text(), Record.read(options.figures).markdown()))


if __name__ == "__main__":
    main()
