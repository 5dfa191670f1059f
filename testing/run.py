"""One run of a scenario: the simulation as it was in the end, and what was broken in it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import LogRecord
from typing import Any

from everact.testing import test_log
from everact.testing.checkers import PromiseBroken
from everact.testing.choices import Policy
from everact.testing.faults import Faults
from everact.testing.report import Report, report
from everact.testing.simulation import Simulation

_OURS = ("everact.testing", "hypothesis")


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Attributes:
        sim: The simulation; it is over.
        error: What has broken it off; None if nothing was broken.
        choices: What was chosen, calm ones at the end left out.
        logs: What was logged; only pytest keeps that.
    """

    sim: Simulation
    error: Exception | None
    choices: tuple[int, ...]
    logs: tuple[LogRecord, ...] = ()

    @property
    def seed(self) -> int:
        """Where its ids and its jitter came from."""
        return self.sim._policy.seed

    @property
    def surprises(self) -> int:
        """How many choices are not calm."""
        return sum(choice > 0 for choice in self.choices)

    def report(self, **more: Any) -> Report:
        """Report what is broken.

        Args:
            **more: What the replay string is to have besides choices and faults.
        """
        return report(self.sim, self.error or AssertionError("nothing is broken"), **more)

    @property
    def size(self) -> str:
        """How much there is to understand."""
        faults, steps = self.sim.faults.count, self.sim.steps
        return f"{faults} fault(s), {self.surprises} surprise(s) in the order of steps, {steps} steps"

    def fails_as(self, other: Run) -> bool:
        """Whether the same is broken: the same promise, or the same line of the test."""
        if self.error is None or other.error is None:
            return False
        return bool(_marks(self.error) & set(sorted(_marks(other.error))[:1]))


class Scenario:
    """Something that can be run again and again, under other choices and other faults.

    Args:
        make: Makes a simulation, given `policy`, `faults` and `max_faults`.
        act: What is done in it; raises if something is broken.
    """

    def __init__(self, make: Callable[..., Simulation], act: Callable[[Simulation], object]) -> None:
        self._make = make
        self._act = act

    def run(self, policy: Policy, faults: Faults, max_faults: int = 0) -> Run:
        """Run it once. What is not an `Exception` passes through, as what Hypothesis says in its own matters."""
        return self._run(self._make(policy=policy, faults=faults, max_faults=max_faults))

    def replay(self, schedule: str, faults: Faults) -> Run:
        """Run it as it was recorded.

        Raises:
            StaleSchedule: It was recorded with another application.
        """
        return self._run(self._make(schedule=schedule, faults=faults))

    def _run(self, sim: Simulation) -> Run:
        sim.reports = False
        test_log.forget()
        error: Exception | None = None
        try:
            with sim:
                self._act(sim)
        except Exception as raised:
            if type(raised).__module__.startswith("hypothesis"):
                raise
            error = raised
        return Run(sim, error, trimmed(sim._world.scheduler.choices), tuple(test_log.logged()))


def trimmed(choices: Sequence[int]) -> tuple[int, ...]:
    """Choices without the calm ones at the end.

    Example:
        >>> trimmed([0, 2, 0, 0])
        (0, 2)
    """
    last = max((place for place, choice in enumerate(choices) if choice), default=-1)
    return tuple(choices[: last + 1])


def _marks(error: Exception) -> set[str]:
    """What an error is known by."""
    if isinstance(error, PromiseBroken):
        return {violation.promise for violation in error.violations}
    return {f"{type(error).__name__} at {_place(error)}"}


def _place(error: Exception) -> str:
    """Where in the test, or in what it calls, it was raised."""
    frames = traceback.walk_tb(error.__traceback__)
    theirs = [each for each in frames if not each[0].f_globals.get("__name__", "").startswith(_OURS)]
    return f"{theirs[-1][0].f_code.co_filename}:{theirs[-1][1]}" if theirs else ""
