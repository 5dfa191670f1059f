"""The command line: `python -m benchmarks [NAME]`, where NAME is a question or a single case."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from benchmarks import harness, peers
from benchmarks.case import Case
from benchmarks.figures import Run
from benchmarks.goals import GOALS, unanswered
from benchmarks.harness import PEERS, CaseFailed
from benchmarks.questions import CASES, QUESTIONS
from benchmarks.record import Record
from benchmarks.watch import SYNCS

TASKS, SMOKE_TASKS, FEWEST = 20_000, 200, 100


def arguments(line: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure everact beside its peers.")
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"a case, or a question: {', '.join(QUESTIONS)}")
    parser.add_argument("--tasks", type=int, help=f"the number that each case takes a share of (default {TASKS})")
    parser.add_argument("--repeat", type=int, default=3, help="how often, by turns (default 3)")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here, and the tables beside it, as .md")
    parser.add_argument("--peers", action="store_true", help="install the peers first, if they are not there")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument(
        "--smoke", action="store_true", help="each case small, once, without peers; figures mean nothing"
    )
    options = parser.parse_args(line)
    if options.name not in (None, *QUESTIONS, *CASES):
        parser.error(f"{options.name!r} is no question and no case; the questions are {', '.join(QUESTIONS)}")
    if options.smoke:
        options.repeat, options.no_peers = 1, True
    options.tasks = options.tasks or (SMOKE_TASKS if options.smoke else TASKS)
    if options.tasks < FEWEST:
        parser.error(f"--tasks {options.tasks} is too few: the 64 callers need one each; from {FEWEST} on")
    return options


def chosen(options: argparse.Namespace) -> list[Case]:
    """The cases that were asked for, without those of the peers where these are not wanted, or not there."""
    question = QUESTIONS.get(options.name)
    wanted = question.cases if question else [CASES[options.name]] if options.name else list(CASES.values())
    if options.no_peers or not peers.ready(PEERS):
        if not options.no_peers and any(case.peer for case in wanted):
            print("the peers are left out; --peers installs them", file=sys.stderr)
        wanted = [case for case in wanted if not case.peer]
    return list(wanted)


def main() -> None:
    """Run the cases by turns, and print the tables."""
    options = arguments()
    if options.peers:
        peers.install(PEERS)
    cases = chosen(options)
    record = Record.begun(options.tasks, options.repeat)
    start = harness.fork() if options.smoke else harness.fresh_process()
    failed = False
    for case, run in harness.rounds(cases, options.tasks, options.repeat, start):
        if isinstance(run, CaseFailed):
            failed = True
            print(run, file=sys.stderr)
            continue
        record.results.setdefault(case.name, []).append(run)
        _tell(case, run)
        if options.json:
            record.write(options.json)
    report = record.markdown()
    for goal in unanswered(GOALS, record.results):
        if goal.figure != SYNCS:  # these are counted only where that can be done
            failed = True
            print(f"{goal.case} has no {goal.figure}: {goal.about}", file=sys.stderr)
    print(f"{len(record.results)} of {len(cases)} cases ran" if options.smoke else report)
    sys.exit(failed)


def _tell(case: Case, run: Run) -> None:
    """A line as it goes on."""
    busy = "" if run.calm else f", others used {run.foreign:.1f} cores"
    print(f"{run.seconds:6.1f} s  {case.name}{busy}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
