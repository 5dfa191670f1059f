"""Runs cases, each in a process of its own, one at a time, and takes turns when they are repeated."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from benchmarks import child, peers, syncs
from benchmarks.case import Case
from benchmarks.figures import Figures, Run
from benchmarks.machine import Neighbours

TIMEOUT = 1800
ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "benchmarks"
PEERS = BUILD / "peers"
Start = Callable[[Case, int], Figures]


class CaseFailed(Exception):
    """A case has no figures; the message says why."""


def fresh_process() -> Start:
    """Start each case in a new interpreter: the peers' for theirs. Syncs are counted where that can be done."""
    counting = syncs.preloading(BUILD)

    def start(case: Case, count: int) -> Figures:
        python = str(peers.python(PEERS)) if case.peer else sys.executable
        command = [
            python,
            "-m",
            "benchmarks.child",
            case.program,
            case.function,
            str(count),
            json.dumps(case.arguments),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=ROOT, env=os.environ | counting
        )
        if done.returncode != 0:
            raise CaseFailed(done.stderr)
        figures: Figures = json.loads(done.stdout)
        return figures

    return start


def fork() -> Start:
    """Fork for each case, after its program was imported: quick, and good enough to see that it runs."""

    def start(case: Case, count: int) -> Figures:
        importlib.import_module(f"benchmarks.{case.program}")
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            _answer(case, count, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = pipe.read()
        if os.waitpid(process, 0)[1] != 0:
            raise CaseFailed("its error is above")
        figures: Figures = json.loads(answer)
        return figures

    return start


def _answer(case: Case, count: int, writing: int) -> None:
    """In the child: run the case, and leave without the parent's clean-up."""
    code = 1
    try:
        figures = child.run(case.program, case.function, count, case.arguments)
        os.write(writing, json.dumps(figures).encode())
        code = 0
    except BaseException:  # whatever it is, the parent's stack must not go on in the child
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def rounds(cases: Sequence[Case], tasks: int, repeat: int, start: Start) -> Iterator[tuple[Case, Run | CaseFailed]]:
    """Run all cases once, then all again: what disturbs the machine for a while disturbs each of them."""
    for number in range(repeat):
        for case in cases:
            if number < case.repeats:
                yield case, _run(case, tasks, start)


def _run(case: Case, tasks: int, start: Start) -> Run | CaseFailed:
    neighbours = Neighbours()
    try:
        return neighbours.run(start(case, max(int(tasks * case.share), 1)))
    except (CaseFailed, subprocess.TimeoutExpired) as error:
        return CaseFailed(f"{case.name}: {error}")
