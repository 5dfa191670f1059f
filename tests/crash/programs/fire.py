"""Load under fire: a process is killed each second, and goes on all the same: `fire.py FOLDER [--seconds N]`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from campaign import judge, progress
from everact import TaskStatus
from fork_server import ForkServer, Moment
from load import Plan
from rows import read_rows
from verdict import Verdict

LIFE = Moment(1.0, after_start=False)
DISPATCHERS = 8


def run(plan: Plan, seconds: int) -> Verdict:
    """Fire for so long, let one process finish all, and print what was done while it was under fire."""
    server = ForkServer(plan)
    _, life = progress(plan)
    began = time.time()
    for _ in range(seconds):
        life += 1
        server.kill_one(life, LIFE)
    ended = time.time()
    server.settle(life + 1)
    verdict = judge(plan)
    completed = sum(
        row.status is TaskStatus.COMPLETED and row.finished is not None and row.finished <= ended
        for row in read_rows(plan.database)
    )
    print(
        f"{ended - began:.1f} s with a kill each second: {verdict.acknowledged / (ended - began):,.0f} acknowledged "
        f"and {completed / (ended - began):,.0f} completed tasks/s, {len(verdict.lost)} lost",
        flush=True,
    )
    print(f"{seconds} kills: {verdict}", flush=True)
    return verdict


def main() -> None:
    """Run from the command line; the exit code says whether nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    verdict = run(
        Plan(folder=given.folder, seed=given.seed, threads=DISPATCHERS, durabilities=("power",)), given.seconds
    )
    sys.exit(not verdict.clean)


if __name__ == "__main__":
    main()
