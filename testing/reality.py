"""`RealityCheck`: whether a simulation tells the truth. It runs a script on real threads, with real kills, too."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from uuid import UUID

from everact.tasks.errors import ConfigurationError, EverActError
from everact.testing.outcome import Outcome, outcome_of
from everact.testing.reality_process import OUTCOME
from everact.testing.script import Script, carry_out
from everact.testing.simulation import Simulation
from everact.testing.target import Target
from everact.testing.until import drained

REAL = ("fail", "fail_after", "delay", "crash_at", "crash")
"""The faults that can be injected into a real process."""
_PROGRAM = "from everact.testing.reality_process import main; main()"


class RealityDiffers(AssertionError):
    """Reality has come to something that no simulated run has come to."""


class RealityStuck(EverActError):
    """The real process has not come to its end in time, or has failed in another way than by its planned death."""


@dataclass(frozen=True)
class Reality:
    """What real runs have come to, beside simulated ones.

    Attributes:
        real: How many real runs have come to each outcome.
        simulated: How many simulated runs have; no more of these are made than needed.
        deaths: How often real processes were killed.
    """

    real: Counter[Outcome]
    simulated: Counter[Outcome]
    deaths: int

    @property
    def unexpected(self) -> list[Outcome]:
        """What only reality has come to."""
        return [outcome for outcome in self.real if outcome not in self.simulated]

    def __str__(self) -> str:
        if not self.unexpected:
            return (
                f"{self.real.total()} real run(s) with {self.deaths} kill(s) have come to {len(self.real)} outcome(s), "
                f"each of which is among those of {self.simulated.total()} simulated run(s)"
            )
        told = [f"reality has come to what none of {self.simulated.total()} simulated runs has come to:"]
        for outcome in self.unexpected:
            told += ["", *_compared(outcome, self._nearest(outcome))]
        return "\n".join(told)

    def _nearest(self, outcome: Outcome) -> Outcome:
        def shared(other: Outcome) -> int:
            return (Counter(outcome) & Counter(other)).total()

        return max(self.simulated, key=shared, default=())


def _compared(real: Outcome, simulated: Outcome) -> Iterable[str]:
    """The lines of both: those with a plus in reality only, those with a minus in the simulation only."""
    return (line for line in difflib.ndiff(simulated, real) if not line.startswith("?"))


class RealityCheck:
    """Runs a script in a process of its own, and compares what it comes to with what simulated runs come to.

    The process uses threads, a file and the clock of this machine, and is killed by SIGKILL where the plan says so. A
    simulation, which decides who runs when, must be able to come to whatever reality does; that it can come to more
    is its purpose.

    Args:
        make: A function at the top of a module that makes the `Script`; the process imports and calls it.
        timeout: Seconds that one life of the process may take.

    Raises:
        ConfigurationError: The function cannot be imported by another process, or its plan has faults that cannot be
            injected into one.

    Example:
        RealityCheck(two_orders_and_a_kill).check()
    """

    def __init__(self, make: Callable[[], Script], *, timeout: float = 60.0) -> None:
        self._target = Target.of(make)
        self._make, self._timeout = make, timeout
        self._refuse(make())

    def _refuse(self, script: Script) -> None:
        plan = script.faults
        names = [each.name for each in fields(plan) if getattr(plan, each.name) and each.name not in REAL]
        if names:
            msg = f"{self._target}: {', '.join(names)} cannot be injected into a real process; {', '.join(REAL)} can"
            raise ConfigurationError(msg)
        if strangers := plan.node_names() - {"node-1"}:
            msg = f"{self._target}: the plan names {', '.join(sorted(strangers))}; in reality there is node-1 only"
            raise ConfigurationError(msg)

    def check(self, times: int = 3, seeds: int = 200) -> Reality:
        """Compare, and complain of what only reality has come to.

        Args:
            times: How many real runs.
            seeds: How many simulated runs at the most; fewer if all that reality has come to was seen before.

        Raises:
            RealityDiffers: Reality has come to something else.
            RealityStuck: It has come to no end.
        """
        reality = self.compare(times, seeds)
        if reality.unexpected:
            raise RealityDiffers(str(reality))
        return reality

    def compare(self, times: int = 3, seeds: int = 200) -> Reality:
        """As `check`, without complaining."""
        ends = [self.run() for _ in range(times)]
        real = Counter(outcome for outcome, _ in ends)
        simulated: Counter[Outcome] = Counter()
        for seed in range(seeds):
            simulated[self.simulate(seed)] += 1
            if not real.keys() - simulated.keys():
                break
        return Reality(real, simulated, sum(deaths for _, deaths in ends))

    def simulate(self, seed: int) -> Outcome:
        """What the script comes to in a simulation."""
        script = self._make()
        with Simulation(script.handlers, seed=seed, faults=script.faults, settings=script.settings) as sim:
            hands = SimulatedHands(sim)
            for call in script.calls:
                carry_out(call, hands)
            sim.run(until=drained)
            sim.check_all()
            return outcome_of(sim.system._storage, script.roots)

    def run(self) -> tuple[Outcome, int]:
        """What it comes to in reality, once, and how often the process was killed on the way.

        Raises:
            RealityStuck: It has come to no end.
        """
        plan = self._make().faults
        most = len(tuple(plan.crash_at)) + len(tuple(plan.crash))
        with tempfile.TemporaryDirectory(prefix="everact-") as folder:
            for deaths in range(most + 1):
                if self._lives(folder):
                    lines = json.loads((Path(folder) / OUTCOME).read_text(encoding="utf-8"))
                    return tuple(lines), deaths
        msg = f"{self._target}: the process has died more often than the {most} time(s) that were planned"
        raise RealityStuck(msg)

    def _lives(self, folder: str) -> bool:
        """Let the process live once; whether it came to its end, and was not killed."""
        target = self._target
        command = [sys.executable, "-c", _PROGRAM, target.module, target.name, target.file, folder]
        try:
            done = subprocess.run(  # noqa: S603 - our own program
                command,
                env=target.environment,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            msg = f"{self._target}: the process has not come to its end in {self._timeout:g} s\n{_text(error.stderr)}"
            raise RealityStuck(msg) from error
        if done.returncode in (0, -9):
            return done.returncode == 0
        msg = f"{self._target}: the process has ended with {done.returncode}\n{done.stderr}"
        raise RealityStuck(msg)


def _text(given: bytes | str | None) -> str:
    return given.decode(errors="replace") if isinstance(given, bytes) else given or ""


class SimulatedHands:
    """Makes the calls of a script to a simulation."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim

    def dispatch(self, task: object, id: UUID, **options: Any) -> object:
        """See `Hands.dispatch`."""
        return self._sim.dispatch(task, id=id, **options)

    def cancel(self, id: UUID, reason: str) -> object:
        """See `Hands.cancel`."""
        try:
            return self._sim.cancel(id, reason)
        except EverActError as error:
            return error

    def cancel_workflow(self, id: UUID, reason: str) -> object:
        """See `Hands.cancel_workflow`."""
        try:
            return self._sim.cancel_workflow(id, reason)
        except EverActError as error:
            return error

    def wait(self, seconds: float) -> None:
        """See `Hands.wait`."""
        self._sim.advance(seconds)
