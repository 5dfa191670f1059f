"""One seed is one history: event for event, in another process, by its schedule, and on another storage."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from everact.testing import Drawn, Faults, Pct, StaleSchedule, differences
from tests.testing.programs import orders
from tests.testing.programs.orders import drawn_faults, play

SCHEDULES = 500 if "EVERACT_LONG_TESTS" in os.environ else 60  # make long
SEEDS = 300
PROGRAM = Path(orders.__file__)


def hashes_of_another_process(first: int, last: int, hash_seed: str) -> list[str]:
    command = [sys.executable, str(PROGRAM), str(first), str(last)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [line.split()[1] for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_schedules_run_twice_and_in_another_process_have_equal_hashes() -> None:
    once = [play(seed).history.hash for seed in range(SCHEDULES)]
    assert [play(seed).history.hash for seed in range(SCHEDULES)] == once
    assert hashes_of_another_process(0, SCHEDULES, "4711") == once
    assert len(set(once)) > SCHEDULES * 0.9, "the seeds show the same history again and again"


@pytest.mark.parametrize("seed", range(5))
def test_a_schedule_replays_its_history(seed: int) -> None:
    sim = play(seed)
    assert differences(sim.history, play(seed, schedule=sim.schedule).history) == ""


def test_other_choices_are_another_history() -> None:
    assert differences(play(3, Faults()).history, play(3, Faults(), policy=Pct(4)).history) != ""


def test_a_history_of_calm_choices_has_the_shortest_schedule() -> None:
    sim = play(5, Faults(), policy=Drawn(lambda count: 0))
    assert sim.schedule.endswith(":0:")
    assert differences(sim.history, play(5, Faults(), schedule=sim.schedule).history) == ""


def test_a_schedule_of_another_application_is_refused_by_name() -> None:
    schedule = play(3, Faults(), nodes=1, storage="memory").schedule
    with pytest.raises(StaleSchedule, match="2 node.* on sqlite, handlers for Reserve, Charge") as caught:
        play(3, Faults(), schedule=schedule, nodes=2, storage="sqlite")
    assert schedule.split(":")[1] in str(caught.value)


def test_a_schedule_that_takes_what_is_not_there_is_refused() -> None:
    version, mark, seed, _ = play(3, Faults(), nodes=1, storage="memory").schedule.split(":")
    with pytest.raises(StaleSchedule, match="takes option 100"):
        play(3, Faults(), schedule=f"{version}:{mark}:{seed}:AGQ", nodes=1, storage="memory")


@pytest.mark.parametrize("seed", range(8))
def test_storages_agree_on_what_happens(seed: int) -> None:
    """C20. Only a cancel is seen a step earlier in memory, where storage and cell have one record in their hands."""
    faults = replace(drawn_faults(random.Random(seed)), cancel=(), cancel_workflow=())
    histories = [play(seed, faults, nodes=1, storage=storage).history for storage in ("memory", "sqlite")]
    assert differences(*histories) == ""


@pytest.mark.parametrize("seed", range(12))
def test_faults_that_the_seed_adds_are_told_as_a_plan_that_replays_them(seed: int) -> None:
    sim = play(seed, Faults(), max_faults=3)
    assert sim.faults.count <= 3
    assert differences(sim.history, play(seed, sim.faults, schedule=sim.schedule).history) == ""


def test_some_seeds_add_faults_of_each_kind_and_some_none() -> None:
    missing = {"crash_at", "fail", "fail_after", "commit_unknown", "commit_lost", "busy", "none"}
    for seed in range(SEEDS):
        missing -= play(seed, Faults(), max_faults=2).faults.to_data().keys() or {"none"}
        if not missing:
            return
    assert not missing


def test_faults_are_drawn_on_the_thread_of_the_test_too() -> None:
    asked: list[int] = []

    def draw(count: int) -> int:
        assert threading.current_thread() is threading.main_thread()
        asked.append(count)
        return 1 if count == 6 and len(asked) > 20 else 0  # at a commit: no fault, or one of five

    sim = play(2, Faults(), max_faults=1, policy=Drawn(draw))
    assert len(sim.faults.crash_at) == 1  # type: ignore[arg-type]
    assert differences(sim.history, play(2, sim.faults, schedule=sim.schedule).history) == ""
