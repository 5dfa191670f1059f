"""Plays a scenario once for each call that writes or syncs, with a fault at that call."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from forking import exit_code
from injection.child import KILLED, Pausing, fork
from injection.scenario import Scenario
from injection.strace import Point, every_call, traced

COMPLAINTS = "complaints"
MEMORY = Path("/dev/shm")  # a call is a call there too, and costs less


class UnknownWriter(Exception):
    """A thread writes that the scenario does not name, so that its calls would not be enumerated."""


@dataclass
class Findings:
    """What an enumeration has shown.

    Attributes:
        points: Faults that were injected.
        faults: What was wrong, and at which point.
        remarks: What runs noted in their ledgers, and how often.
    """

    points: int = 0
    faults: list[str] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)


def points_of(scenario: Scenario) -> list[Point]:
    """Run it once without a fault, and list the calls that each thread made."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        names: dict[str, str] = {}
        log = Path(folder, "log")
        scenario.prepare(Path(folder))
        child = Pausing(lambda stop: scenario.run(Path(folder), stop), Path(folder, COMPLAINTS))
        with ExitStack() as stack:
            for thread, number in child.stops():
                if not names:  # the first one is there before all others, which strace then follows
                    stack.enter_context(traced(number, "-o", str(log), *every_call()))
                names[str(number)] = thread
            assert child.join() == 0
        return _points(log.read_text(), names)


def _points(log: str, names: dict[str, str]) -> list[Point]:
    calls: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        number, _, said = line.partition(" ")
        call, opened, _ = said.strip().partition("(")
        if opened and call.isidentifier():
            calls[number, call] += 1
    if unknown := {number for number, _ in calls} - names.keys():
        msg = f"threads {unknown} write, beside {names}"
        raise UnknownWriter(msg)
    return [Point(names[number], call, n) for (number, call), count in calls.items() for n in range(1, count + 1)]


class Enumeration:
    """One scenario with one kind of fault.

    Args:
        scenario: What to play.
        fault: What strace does to the call.
        deadly: Whether the process may die of it.
        only: Leave out the points whose thread and call do not contain this text.

    Attributes:
        findings: What it has shown so far.
    """

    def __init__(self, scenario: Scenario, fault: str, *, deadly: bool, only: str = "") -> None:
        self.findings = Findings()
        self._scenario = scenario
        self._fault = fault
        self._only = only
        self._ends = {0, KILLED} if deadly else {0}

    def every_point(self) -> None:
        """Inject at the first call of a kind, at the second, and so on until a run makes no more of them."""
        for thread, call in sorted({(point.thread, point.call) for point in self._points()}):
            when = 1
            while self.at(Point(thread, call, when)):
                when += 1

    def some_points(self, number: int, seed: int) -> None:
        """Inject at points drawn by chance."""
        points = self._points()
        for point in Random(seed).sample(points, min(number, len(points))):
            self.at(point)

    def _points(self) -> list[Point]:
        return [point for point in points_of(self._scenario) if self._only in f"{point.thread} {point.call}"]

    def at(self, point: Point) -> bool:
        """Inject at one point, and look what has become of the database; returns whether the run came to it."""
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
            folder = Path(name)
            self._scenario.prepare(folder)
            code, injected = self._run(folder, point)
            found = [] if code in self._ends else [f"the run ended with {code}: {_last_complaint(folder)}"]
            found += self._scenario.faults_at_once(folder)
            if exit_code(fork(lambda: self._scenario.recover(folder), folder / COMPLAINTS)):
                found.append(f"the next start failed: {_last_complaint(folder)}")
            found += self._scenario.faults(folder)
            self.findings.remarks += self._scenario.remarks(folder)
        self.findings.points += injected
        self.findings.faults += [f"{point.call} {point.when} of {point.thread}: {fault}" for fault in found]
        return injected

    def _run(self, folder: Path, point: Point) -> tuple[int, bool]:
        log = folder / "strace"
        child = Pausing(lambda stop: self._scenario.run(folder, stop), folder / COMPLAINTS)
        with ExitStack() as stack:
            for thread, number in child.stops():
                if thread == point.thread:
                    stack.enter_context(traced(number, "-o", str(log), *point.options(self._fault)))
            code = child.join()
        return code, code == KILLED or "(INJECTED)" in log.read_text()


def _last_complaint(folder: Path) -> str:
    return (folder / COMPLAINTS).read_text().strip().rpartition("\n")[2]
