"""Kills a process under load again and again: `campaign.py FOLDER [--cycles N] [--seed N] [--fault NAME]`.

Everything it knows is in FOLDER: started again it goes on where it was, even if it was killed itself.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from faults import Fault
from fork_server import ForkServer, Moment
from ledger import Born, read_ledger
from load import Plan
from rows import read_rows
from verdict import Verdict, classify

LONGEST_LIFE = 0.06
LONGEST_START = 0.06
IN_THE_START = 0.2
"""The share of kills that do not wait for the end of the start, which takes over what others left."""


def run(plan: Plan, cycles: int, settle_every: int, *, until: str | None = None) -> Verdict:
    """Kill until `cycles` processes have been killed; each time after some, let one finish all and print the verdict.

    Args:
        plan: What is run, and where.
        cycles: Kills in this folder, earlier ones included.
        settle_every: How many kills there are from one verdict to the next.
        until: End with the first verdict that finds something of this class.
    """
    server = ForkServer(plan)
    done, life = progress(plan)
    began, first = time.monotonic(), done
    while True:
        for _ in range(min(cycles - done, settle_every - done % settle_every)):
            done, life = done + 1, life + 1
            server.kill_one(life, _moment(plan, life))
        life += 1
        server.settle(life)
        verdict = judge(plan)
        print(f"{done} kills ({(done - first) / (time.monotonic() - began):.0f}/s): {verdict}", flush=True)
        if done >= cycles or (until and verdict.wrongs[until]):
            return verdict


def judge(plan: Plan) -> Verdict:
    """Classify what is in the plan's folder now."""
    return classify(read_ledger(plan.ledger), read_rows(plan.database))


def progress(plan: Plan) -> tuple[int, int]:
    """How many were killed so far, and the number of the last process."""
    born = [line for line in read_ledger(plan.ledger) if isinstance(line, Born)]
    return sum(line.doomed for line in born), max((line.life for line in born), default=0)


def _moment(plan: Plan, life: int) -> Moment:
    chance = random.Random(f"{plan.seed}/{life}")
    if chance.random() < IN_THE_START:
        return Moment(chance.uniform(0.0, LONGEST_START), after_start=False)
    return Moment(chance.uniform(0.0, LONGEST_LIFE), after_start=True)


def main() -> None:
    """Run from the command line; the exit code says whether nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settle-every", type=int, default=100)
    parser.add_argument("--fault", type=Fault)
    parser.add_argument("--until", choices=list(Verdict().wrongs))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(folder=given.folder, seed=given.seed, fault=given.fault)
    sys.exit(not run(plan, given.cycles, given.settle_every, until=given.until).clean)


if __name__ == "__main__":
    main()
