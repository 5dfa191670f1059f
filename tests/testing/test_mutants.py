"""Each bug that is planted into the engine is found by random worlds and the kit's checkers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from everact.actors.journal import Journal
from tests.testing.programs.hunt import RUNS, found_at, hunt, is_the_bugs, passes, shrunk
from tests.testing.programs.mutants import MUTANTS, Mutant
from tests.testing.programs.planting import Planting

LONG = "EVERACT_LONG_TESTS" in os.environ  # make long
NEAR = 40
PAGE = Path(__file__).resolve().parents[2] / "docs" / "simulation-mutants.md"
FOUND = found_at(PAGE)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """What the engine says of all that goes wrong would be most of the work."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.plant.__name__)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """Where the page says; with the large figures, from the beginning, and made smaller.

    The control is the engine without that bug: it passes the very same worlds.
    """
    first, runs = (0, RUNS) if LONG else (FOUND[mutant.name] - 1, NEAR)
    found = hunt(mutant.plant, first, runs)
    assert found is not None, "not found near there any more; run `make mutants`"
    seed, failure = found
    assert passes(seed)
    if LONG:
        small = shrunk(mutant.plant, failure)
        assert small.size <= failure.size
        assert is_the_bugs(small)


@pytest.mark.slow
def test_where_there_is_no_bug_none_is_found() -> None:
    assert hunt(lambda patch: None, 0, NEAR // 2) is None


def test_a_patch_that_does_not_fit_the_engine_is_no_bug_that_is_found() -> None:
    def plant(patch: Planting) -> None:
        patch.setattr(Journal, "flush", lambda journal: journal.what_is_not_there)

    with pytest.raises(AssertionError, match="the patch does not fit the engine"):
        hunt(plant, 0, NEAR)


def test_the_page_names_all_bugs_and_each_was_found_in_time() -> None:
    assert FOUND.keys() == {mutant.name for mutant in MUTANTS}
    assert len(MUTANTS) >= 20
    assert max(FOUND.values()) <= RUNS
