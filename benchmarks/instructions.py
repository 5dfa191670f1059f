"""Instructions per task of a case, for a machine too busy for a clock: `python -m benchmarks.instructions CASE`.

Needs valgrind, which makes it some fifty times slower and runs one thread at a time. A run is repeated with twice as
many tasks, and the difference is what the tasks alone took. It counts processor work: no waiting, no disk, no kernel.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

from benchmarks import peers
from benchmarks.case import Case
from benchmarks.harness import PEERS, ROOT, CaseFailed
from benchmarks.questions import CASES

TASKS = 1000
COLLECTED = re.compile(r"Collected : (\d+)")


def instructions(case: Case, tasks: int) -> int:
    """All that a process with so many tasks executes.

    Raises:
        CaseFailed: It did not come to its end.
    """
    python = str(peers.python(PEERS)) if case.peer else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out"]
        program = [
            python,
            "-m",
            "benchmarks.child",
            case.program,
            case.function,
            str(tasks),
            json.dumps(case.arguments),
        ]
        done = subprocess.run(
            [*valgrind, *program],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": "0"},
        )
    found = COLLECTED.search(done.stderr)
    if done.returncode or found is None:
        raise CaseFailed(done.stderr)
    return int(found[1])


def main() -> None:
    """Read the command line, and print the figure of each case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description="Count instructions.")
    parser.add_argument("case", nargs="+", choices=list(CASES), metavar="CASE", help="as the tables name it")
    parser.add_argument("--tasks", type=int, default=TASKS)
    options = parser.parse_args()
    for name in options.case:
        once, twice = (instructions(CASES[name], options.tasks * times) for times in (1, 2))
        print(f"{(twice - once) / options.tasks:>12,.0f} instructions per task  {name}")


if __name__ == "__main__":
    main()
