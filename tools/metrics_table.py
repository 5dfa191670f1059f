"""Print the tables of `docs/metrics.md`: metrics from the catalogue, alerts from their rules.

A test says when the page has others. Run from anywhere: `python tools/metrics_table.py --write` puts them into
the page.
"""

import re
import sys
from pathlib import Path

from everact.metrics.catalogue import CATALOGUE

ALERTS = Path(__file__).resolve().parents[1] / "metrics" / "assets" / "alerts.yml"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
LABEL = re.compile(r"{{ .labels.\w+ }}")
ALERT_HEAD = "| alert | severity | after | says |\n|---|---|---|---|\n"
HEAD = "| metric | kind | labels | what |\n|---|---|---|---|\n"


def table() -> str:
    """The table, in Markdown."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help.rstrip('.')} |"
        for metric in CATALOGUE
    ]
    return HEAD + "\n".join(rows) + "\n"


def alert_table() -> str:
    """The alerts, in Markdown."""
    rule = r'- alert: (\w+)\n.*?for: (\w+)\n.*?severity: (\w+)\n.*?summary: "(.*?)"'
    rows = [
        f"| [{name}](#{name.lower()}) | {severity} | {wait} | {LABEL.sub('...', summary)} |"
        for name, wait, severity, summary in re.findall(rule, ALERTS.read_text(encoding="utf-8"), re.DOTALL)
    ]
    return ALERT_HEAD + "\n".join(rows) + "\n"


def with_tables(page: str) -> str:
    """The page with the tables as they must be."""
    page = re.sub(r"\| metric \| kind .*?\n(?=\n)", lambda _: table(), page, count=1, flags=re.DOTALL)
    return re.sub(r"\| alert \| severity .*?\n(?=\n)", lambda _: alert_table(), page, count=1, flags=re.DOTALL)


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table(), alert_table(), sep="\n", end="")
