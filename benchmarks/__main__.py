"""`python -m benchmarks [CASE] [--tasks N] [--repeat N] [--json FILE]`: run the cases and print medians."""

from __future__ import annotations

import argparse
import json
import pathlib
import platform
import sqlite3
import statistics
import subprocess
import sys

from benchmarks.cases import CASES, Figures

TIMEOUT = 300


def measure(case: str, tasks: int) -> Figures:
    """Run one case in a fresh process."""
    command = [sys.executable, "-m", "benchmarks", case, "--tasks", str(tasks), "--child"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode != 0:
        sys.exit(f"{case} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout)
    return figures


def show(results: dict[str, list[Figures]]) -> None:
    """Print the median of each figure, with its least and greatest."""
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, medians (least to greatest)\n")
    for case, runs in results.items():
        for number, name in enumerate(runs[0]):
            values = sorted(run[name] for run in runs)
            figure = f"{statistics.median(values):>12,.2f} ({values[0]:,.2f} to {values[-1]:,.2f})"
            print(f"{case if number == 0 else '':<32} {name:<26} {figure}")


def main() -> None:
    """Read the command line, run the cases, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("case", nargs="?", choices=list(CASES))
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(CASES[options.case](options.tasks)))
        return
    chosen = [options.case] if options.case else list(CASES)
    results: dict[str, list[Figures]] = {case: [] for case in chosen}
    for _ in range(options.repeat):
        for case in chosen:
            results[case].append(measure(case, options.tasks))
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
