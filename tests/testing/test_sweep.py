"""Seeds find bugs that were planted into small applications, and what they find is made small and explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from everact import Retry, TaskContext, TaskHandler, task
from everact.testing import Faults, Simulation, after, at, attempt, drained
from everact.testing.run import Run, Scenario
from everact.testing.shrink import Shrink
from everact.testing.sweep import UNSTABLE, explain, sweep


@dataclass(frozen=True)
class Deposit:
    n: int


class Box:
    """What handlers share, made anew by each run."""

    balance = 0
    charged = 0


class DepositHandler(TaskHandler[Deposit]):
    """Reads, waits, and writes what it has read plus one; two cells do that at the same time."""

    task_name = "Deposit"
    concurrency = 2

    def handle(self, task: Deposit, ctx: TaskContext) -> None:
        seen = Box.balance
        ctx.cancellation.wait(0)
        Box.balance = seen + 1


@task(name="Charge", retry=Retry(attempts=3, delay=1))
def charge(n: int) -> None:
    Box.charged += 1


def scenario(handlers: list[Any], act: Callable[[Simulation], object], **options: Any) -> Scenario:
    def acted(sim: Simulation) -> None:
        Box.balance = Box.charged = 0
        act(sim)

    return Scenario(lambda **chosen: Simulation(handlers, **{"storage": "memory", **options, **chosen}), acted)


def lose_an_update(sim: Simulation) -> None:
    for n in range(2):
        sim.dispatch(Deposit(n))
    sim.run(until=drained)
    sim.check_all()
    assert Box.balance == 2


def charge_twice(sim: Simulation) -> None:
    sim.dispatch(charge.task(1))
    sim.dispatch(charge.task(2), delay=60)
    sim.run(until=drained)
    sim.check_all()
    assert Box.charged == 2


RACE = scenario([DepositHandler], lose_an_update)
TWICE = scenario([charge], charge_twice)
MUCH = Faults(
    fail=[("Charge", attempt(1), TimeoutError)],
    duplicate=["Charge"],
    pause=[("node-1", at(1), 5)],
    jump=[("node-1", at(2), 7)],
)


def first_failure(runs: Iterator[Run]) -> Run:
    return next(run for run in runs if run.error is not None)


@pytest.fixture(scope="module")
def race() -> Run:
    return first_failure(sweep(RACE, range(200), Faults()))


def test_seeds_find_a_race_and_it_takes_few_surprises(race: Run) -> None:
    small, report = explain(RACE, race)
    assert isinstance(small.error, AssertionError)
    assert 0 < small.surprises <= 8 < race.surprises
    assert "With every choice calm it passes" in "\n".join(report.causes)
    assert report.effort == f"It was found with {race.size}."


def test_what_was_made_small_is_replayed_by_its_schedule(race: Run) -> None:
    small, report = explain(RACE, race)
    with pytest.raises(AssertionError), Simulation([DepositHandler], storage="memory", schedule=report.schedule) as sim:
        Box.balance = 0
        lose_an_update(sim)
    assert sim.history.hash == small.sim.history.hash


def test_faults_that_have_no_part_in_it_are_left_out_and_the_others_are_named_as_causes() -> None:
    first = first_failure(sweep(TWICE, range(1), MUCH))
    small, report = explain(TWICE, first)
    assert small.sim.faults == Faults(duplicate=["Charge"])
    assert report.causes == [
        "Without duplicate 'Charge' it passes.",
        "The order of steps is the calm one: it takes no race.",
    ]
    assert "faults = Faults(duplicate=['Charge'])" in str(report)


def test_a_fault_that_the_seed_adds_is_found_and_kept() -> None:
    first = first_failure(sweep(TWICE, range(400), Faults(), max_faults=2))
    small, _ = explain(TWICE, first)
    assert small.sim.faults.count == 1
    assert small.surprises == 0


def test_a_failure_of_another_kind_is_no_smaller_form_of_it() -> None:
    def act(sim: Simulation) -> None:
        sim.dispatch(charge.task(1))
        sim.run()
        if len(sim.faults.crash_at) == 2:  # type: ignore[arg-type]
            raise KeyError("both")
        assert not sim.faults.count, "one"

    first = first_failure(sweep(scenario([charge], act), range(1), Faults(crash_at=[2, after(3)])))
    small, _ = explain(scenario([charge], act), first)
    assert isinstance(small.error, KeyError)
    assert small.sim.faults.count == 2


def test_a_failure_that_does_not_come_again_is_said_to_be_unstable() -> None:
    times: list[int] = []

    def act(sim: Simulation) -> None:
        times.append(1)
        assert len(times) > 1

    first = first_failure(sweep(scenario([charge], act), range(1), Faults()))
    run, report = explain(scenario([charge], act), first)
    assert run is first
    assert report.causes == [UNSTABLE]


def test_the_search_ends_when_there_were_runs_enough(race: Run) -> None:
    shrink = Shrink(RACE.run, race, most_runs=5)
    shrink.search()
    assert shrink.runs == 5
    assert shrink.best.fails_as(race)


def test_a_run_without_a_bug_passes_from_every_seed() -> None:
    @task(name="Charge")
    def idempotent(ctx: TaskContext) -> None:
        Box.charged = 1

    def act(sim: Simulation) -> None:
        sim.dispatch(idempotent.task())
        sim.run(until=drained)
        sim.check_all()
        assert Box.charged == 1

    assert [run.error for run in sweep(scenario([idempotent], act), range(20), MUCH, 2)] == [None] * 20
