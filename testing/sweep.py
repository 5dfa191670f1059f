"""Two gears: many runs from plain seeds, and when one fails, a search for the smallest run that fails like it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from everact.testing.choices import Pct, Policy, RandomWalk
from everact.testing.faults import Faults
from everact.testing.guided import Guided
from everact.testing.hung import Hung
from everact.testing.plan_code import faults_of
from everact.testing.report import Report, told_by
from everact.testing.run import Run, Scenario
from everact.testing.shrink import MOST_RUNS, NONE, Shrink

_DEPTHS = (1, 2, 3, 4)
UNSTABLE = (
    "A second run with the same choices and faults does not fail like the first one: something in it comes neither "
    "from the seed nor from the virtual clock. It may be state that one run leaves to the next, in a module, in a "
    "class or in a file; make it anew in each run. `everact.testing.run_twice` shows the first step that differs."
)


def policy_of(seed: int) -> Policy:
    """How a seed makes its choices: every other one at random, the others by priorities that change a few times."""
    return RandomWalk(seed) if seed % 2 else Pct(seed, depth=_DEPTHS[seed // 2 % len(_DEPTHS)])


def sweep(scenario: Scenario, seeds: Iterable[int], faults: Faults, max_faults: int = 0) -> Iterator[Run]:
    """Run it from each seed; made as they are asked for."""
    return (scenario.run(policy_of(seed), faults, max_faults) for seed in seeds)


def explain(
    scenario: Scenario, first: Run, most_runs: int = MOST_RUNS, kept: Faults = NONE, **more: Any
) -> tuple[Run, Report]:
    """Make a run that has failed small, and report it.

    Args:
        scenario: What was run.
        first: The run that has failed.
        most_runs: How many runs the search may take.
        kept: Faults that stay, since they belong to the test.
        **more: What the replay string is to have besides choices and faults.

    Returns:
        The smallest run that fails like it; its error is another one than the first run's.
    """
    if isinstance(first.error, Hung):  # each run takes long
        return first, first.report(**more)
    again = scenario.run(Guided(first.choices, first.seed), first.sim.faults)
    if not again.fails_as(first):
        return first, replace(first.report(**more), causes=[UNSTABLE])
    shrink = Shrink(scenario.run, again, most_runs, kept)
    small = shrink.search()
    effort = f"It was found with {first.size}."
    return small, replace(small.report(**more), causes=[*_causes(scenario, small)], effort=effort)


def _causes(scenario: Scenario, run: Run) -> Iterator[str]:
    """For each fault, and for the order of steps, whether it takes that to fail."""
    faults = run.sim.faults
    for number, fault in enumerate(faults_of(faults)):
        yield f"Without {fault} {_outcome(scenario.run(Guided(run.choices, run.seed), faults.without(number)), run)}."
    if run.surprises:
        outcome = _outcome(scenario.run(Guided((), run.seed), faults), run)
        yield f"With every choice calm {outcome}: it takes {run.surprises} surprise(s) in the order of steps."
    else:
        yield "The order of steps is the calm one: it takes no race."


def _outcome(run: Run, failed: Run) -> str:
    if run.error is None:
        return "it passes"
    told = told_by(run.error)[0]
    same = run.fails_as(failed) and failed.error is not None and told == told_by(failed.error)[0]
    return "it fails all the same" if same else f"it fails in another way ({told})"
