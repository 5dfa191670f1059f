"""A campaign: random worlds, one after another, held to all promises; says what was reached and what was broken."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from everact.testing import Simulation, What
from tests.testing.programs.goals import GOALS, reached
from tests.testing.programs.smaller import failure_of, smallest
from tests.testing.programs.worlds import act, simulation, world_of

PATIENCE = 3000.0


@dataclass
class Campaign:
    """What came of the runs so far.

    Attributes:
        runs, steps, events: How many there were.
        faults: How many were planned.
        happened: How many faults came about, crashes among them.
        cancels: How often somebody has asked for one, of a task or of a workflow.
        goals: How many runs have come by each.
        broken: By the seed that shows it, what was broken.
    """

    runs: int = 0
    steps: int = 0
    events: int = 0
    faults: int = 0
    happened: int = 0
    cancels: int = 0
    goals: Counter[str] = field(default_factory=Counter)
    broken: dict[int, str] = field(default_factory=dict)

    def play(self, seed: int) -> None:
        """Play the world of a seed."""
        world = world_of(seed)
        sim = simulation(world)
        try:
            with sim:
                act(sim, world, PATIENCE)
        except Exception as error:
            self.broken[seed] = f"{type(error).__name__}: {error}"
            print(f"seed {seed}: {self.broken[seed]}", file=sys.stderr, flush=True)
        self._count(sim)

    def _count(self, sim: Simulation) -> None:
        self.runs += 1
        self.steps += sim.steps
        self.events += len(sim.history)
        self.faults += sim.faults.count
        self.happened += len(sim.history.of(What.FAULT, What.CRASHED))
        self.cancels += len(sim.history.of(What.CANCEL_ASKED))
        self.goals.update(reached(sim))

    def play_for(self, first: int, runs: int, seconds: float) -> None:
        """Play some worlds, as far as there is time."""
        end = time.monotonic() + seconds
        for seed in range(first, first + runs):
            self.play(seed)
            if time.monotonic() > end:
                return

    @property
    def missed(self) -> list[str]:
        """Goals that no run has come by."""
        return [name for name in GOALS if not self.goals[name]]

    def __str__(self) -> str:
        lines = [
            f"{self.runs} runs, {self.steps} steps, {self.events} events",
            f"{self.faults} faults planned, {self.happened} came about; {self.cancels} cancels asked for",
            f"{len(self.broken)} violations",
        ]
        lines += [f"  {self.goals[name]:6} × {name}" for name in GOALS]
        lines += [f"seed {seed}: {text}" for seed, text in self.broken.items()]
        return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first run; the others count up")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many, if there are runs left")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    campaign = Campaign()
    began = time.monotonic()
    campaign.play_for(options.seed, options.runs, options.seconds)
    seconds = time.monotonic() - began
    print(campaign)
    print(f"{seconds:.0f} s, {1000 * seconds / campaign.runs:.0f} ms a run")
    for seed in list(campaign.broken)[:3]:
        failure = failure_of(world_of(seed))
        if failure is not None:
            small = smallest(failure)
            print(f"seed {seed}, made smaller: {': '.join(small.told)}\n{small.world}\nchoices {small.run.choices}")
    for name in campaign.missed:
        print(f"never reached: {name}")
    return bool(campaign.broken or campaign.missed)


if __name__ == "__main__":
    sys.exit(main())
