"""`python -m injection [CAMPAIGN ...] [--points N] [--only TEXT] [--seed N] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from injection.enumeration import Enumeration
from injection.old_schema import OldSchema
from injection.scenario import Scenario
from injection.six_tasks import SixTasks
from injection.strace import FAIL, KILL, TracingRefused, installed

NOT_HERE = 77
"""Exit code where nothing can be traced; standard error says why."""


class Campaign(NamedTuple):
    """A scenario with a fault, and whether its process may die of it."""

    about: str
    scenario: Callable[[], Scenario]
    fault: str
    deadly: bool


CAMPAIGNS = {
    "kill": Campaign("SIGKILL at every write and sync of six tasks", SixTasks, KILL, deadly=True),
    "kill-eager": Campaign(
        "the control: acknowledged before the commit", lambda: SixTasks(acknowledge_first=True), KILL, deadly=True
    ),
    "fail": Campaign("EIO there; the process goes on", SixTasks, FAIL, deadly=False),
    "fail-and-die": Campaign(
        "EIO there; the process dies when it is told", lambda: SixTasks(die=True), FAIL, deadly=True
    ),
    "migrate": Campaign("SIGKILL at every write and sync of a migration", OldSchema, KILL, deadly=True),
    "migrate-in-steps": Campaign(
        "the control: a migration of several transactions", lambda: OldSchema(in_steps=True), KILL, deadly=True
    ),
}


def report(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Play one campaign; returns its figures by name."""
    campaign, began = CAMPAIGNS[name], time.monotonic()
    enumeration = Enumeration(campaign.scenario(), campaign.fault, deadly=campaign.deadly, only=options.only)
    if options.points is None:
        enumeration.every_point()
    else:
        enumeration.some_points(options.points, options.seed)
    findings = enumeration.findings
    return {
        "campaign": name,
        "points": findings.points,
        "seconds": round(time.monotonic() - began, 1),
        "faults": findings.faults,
        "remarks": dict(findings.remarks),
    }


def show(figures: dict[str, Any]) -> None:
    """Print what a person reads."""
    print(
        f"{figures['campaign']}: {CAMPAIGNS[figures['campaign']].about}\n"
        f"  {figures['points']} points in {figures['seconds']} s, "
        f"callers were told: {figures['remarks'] or 'nothing'}\n"
        f"  {len(figures['faults'])} fault(s)",
        *figures["faults"][:5],
        sep="\n    ",
        flush=True,
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m injection")
    parser.add_argument("campaigns", nargs="*", default=list(CAMPAIGNS), metavar="CAMPAIGN", help=", ".join(CAMPAIGNS))
    parser.add_argument("--points", type=int, help="so many, drawn by chance; by default every point")
    parser.add_argument("--only", default="", help="thread, call or both, as in `journal fdatasync`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        if not installed():
            raise TracingRefused("strace is not installed")
        for name in options.campaigns:
            figures = report(name, options)
            print(json.dumps(figures), flush=True) if options.json else show(figures)
    except TracingRefused as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_HERE)


if __name__ == "__main__":
    main()
