"""A process under load is killed at random instants, and nothing that it promised is lost."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from faults import Fault
from ledger import Born, read_ledger
from rows import read_rows
from tests.crash.conftest import Launch, until
from verdict import Verdict, classify

pytestmark = pytest.mark.crash
CYCLES = 50
SECONDS = 4


def verdict_of(folder: Path) -> Verdict:
    return classify(read_ledger(folder / "ledger.jsonl"), read_rows(folder / "tasks.db"))


def test_a_process_killed_at_fifty_random_instants_loses_and_doubles_nothing(tmp_path: Path, launch: Launch) -> None:
    seed = random.randrange(1_000_000)
    code, printed, complained = launch("campaign.py", tmp_path, "--cycles", str(CYCLES), "--seed", str(seed)).finish()
    verdict = verdict_of(tmp_path)
    print(f"seed {seed}: {verdict}")
    assert (verdict.clean, complained, code) == (True, "", 0), f"seed {seed}: {printed}"
    assert verdict.lives == CYCLES
    # It would be nothing to lose nothing, had the kills not come in the middle of things.
    assert verdict.acknowledged > CYCLES
    assert verdict.recovered > 0
    assert verdict.repeated > 0
    assert verdict.unacknowledged > 0
    assert verdict.cancelled > 0


@pytest.mark.parametrize(
    ("fault", "seen_as"),
    [
        (Fault.EARLY_ACKNOWLEDGEMENT, "lost"),
        (Fault.OUTSIDE_THE_TRANSACTION, "duplicated"),
        (Fault.UNSAID, "unexpected"),
        (Fault.EARLY_CANCEL, "disobeyed"),
        (Fault.BROKEN_BATCH, "torn"),
    ],
)
def test_the_same_kills_show_a_bug_that_is_planted(tmp_path: Path, launch: Launch, fault: Fault, seen_as: str) -> None:
    arguments = ("--fault", fault.value, "--settle-every", "4", "--cycles", "80", "--until", seen_as)
    code, _, complained = launch("campaign.py", tmp_path, *arguments).finish()
    assert (code, complained) == (1, "")
    assert verdict_of(tmp_path).wrongs[seen_as]


def test_a_run_of_kills_that_was_killed_itself_goes_on_where_it_was(tmp_path: Path, launch: Launch) -> None:
    def killed() -> int:
        return sum(isinstance(line, Born) and line.doomed for line in read_ledger(tmp_path / "ledger.jsonl"))

    first = launch("campaign.py", tmp_path, "--cycles", "1000")
    until(lambda: killed() > 2, "three processes under load have been started")
    first.kill()
    before = killed()
    code, printed, complained = launch("campaign.py", tmp_path, "--cycles", str(before + 2)).finish()
    assert (code, complained) == (0, ""), printed
    verdict = verdict_of(tmp_path)
    assert (verdict.clean, verdict.lives) == (True, before + 2)


def test_under_fire_it_goes_on_working_and_loses_nothing(tmp_path: Path, launch: Launch) -> None:
    code, printed, complained = launch("fire.py", tmp_path, "--seconds", str(SECONDS)).finish()
    print(printed)
    assert (code, complained) == (0, ""), printed
    verdict = verdict_of(tmp_path)
    assert (verdict.clean, verdict.lives) == (True, SECONDS)
    assert re.search(r"[\d,]+ acknowledged and [1-9][\d,]* completed tasks/s, 0 lost", printed)
