"""Kills, restarts, compares: `python -m orders`, with options that `--help` tells."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from orders.bugs import Bug
from orders.enumeration import Findings, a_share, at_every_commit, everything
from orders.script import every_script


def figures(options: argparse.Namespace) -> dict[str, Any]:
    """Play what was asked for; returns the figures by name."""
    began, findings = time.monotonic(), Findings()
    scripts = a_share(options.share, options.seed, options.half) if options.share > 1 else list(every_script())
    scripts = [script for script in scripts if options.only in str(script)]
    for number, script in enumerate(everything(scripts, findings, options.seed), 1):
        if not options.json:
            print(f"{number}/{len(scripts)} {script}: {len(findings.faults)} fault(s) so far", flush=True)
    return _shown(findings, began)


def control(bug: Bug, only: str) -> dict[str, Any]:
    """Play with a planted bug until it is seen."""
    began, findings = time.monotonic(), Findings()
    for script in filter(lambda script: only in str(script), every_script()):
        for played in at_every_commit(script, bug):
            findings.add(script, played)
            if findings.faults:
                return _shown(findings, began)
    return _shown(findings, began)


def _shown(findings: Findings, began: float) -> dict[str, Any]:
    return {
        "scenarios": len(findings.scripts),
        "runs": findings.runs,
        "crash points": findings.points,
        "kills": findings.kills,
        "seconds": round(time.monotonic() - began, 1),
        "faults": findings.faults,
    }


def show(found: dict[str, Any]) -> None:
    """Print what a person reads."""
    print(
        f"{found['scenarios']} scenarios, {found['runs']} runs, {found['crash points']} of them with a crash "
        f"({found['kills']} SIGKILLs), in {found['seconds']} s\n  {len(found['faults'])} fault(s)",
        *found["faults"][:20],
        sep="\n    ",
        flush=True,
    )


def main() -> None:
    """Read the command line; the exit code says whether nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m orders", description=__doc__)
    parser.add_argument("--share", type=int, default=1, help="one scenario in so many")
    parser.add_argument("--half", type=int, choices=(0, 1), help="only one half of that share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="scenarios whose name contains this, as in `saga: ship fails`")
    parser.add_argument("--bug", type=Bug, help="plant a bug: " + ", ".join(bug.value for bug in Bug))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = figures(options) if options.bug is None else control(options.bug, options.only)
    print(json.dumps(found)) if options.json else show(found)
    sys.exit(bool(found["faults"]))


if __name__ == "__main__":
    main()
