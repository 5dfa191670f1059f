"""pykka's two races, forced: everact's actors show neither. `make ask-races ASKS=1000000` does the same in full."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("programs") / "ask_races.py"
ASKS = 5000


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Figures of one run of both kinds of actors."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--asks", str(ASKS)], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@pytest.mark.slow
def test_every_ask_of_an_actor_that_is_stopping_gets_an_answer(found: dict[str, Any]) -> None:
    assert found["everact"]["late asks"] == ASKS
    assert found["everact"]["without an answer"] == 0


@pytest.mark.slow
def test_an_actor_survives_that_somebody_else_sets_the_futures_of_its_replies(found: dict[str, Any]) -> None:
    assert found["everact"]["foreign sets"] == ASKS
    assert found["everact"]["set first"] > 0
    assert found["everact"]["zombies"] == 0


@pytest.mark.slow
def test_stock_pykka_shows_a_zombie_in_the_same_run(found: dict[str, Any]) -> None:
    assert found["pykka"]["set first"] > 0
    assert found["pykka"]["zombies"] > 0


@pytest.mark.slow
def test_no_thread_of_all_these_actors_is_left(found: dict[str, Any]) -> None:
    assert found["threads_left"] == 1
