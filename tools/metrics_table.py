"""Print the table of metrics in `docs/metrics.md`, from the catalogue. A test says when the page has another one.

Run from anywhere: `python tools/metrics_table.py --write` puts it into the page.
"""

import re
import sys
from pathlib import Path

from everact.metrics.catalogue import CATALOGUE

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
HEAD = "| metric | kind | labels | what |\n|---|---|---|---|\n"


def table() -> str:
    """The table, in Markdown."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help.rstrip('.')} |"
        for metric in CATALOGUE
    ]
    return HEAD + "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """The page with the table as it must be."""
    return re.sub(r"TABLE\n|\| metric \| kind .*?\n(?=\n)", lambda _: table(), page, count=1, flags=re.DOTALL)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), end="")
