"""Random worlds over what users do, with everything going wrong that can, held to all promises."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Iterator

import pytest

from tests.testing.programs.simulate import Campaign

LONG = "EVERACT_LONG_TESTS" in os.environ  # make long
RUNS, MOST = (2000, 4000) if LONG else (120, 800)
SECONDS = float(os.environ.get("EVERACT_CAMPAIGN_SECONDS", "0"))  # CI gives it what it has
FIRST = 100_000
RARE = (100_404, 100_173)
"""Worlds that come by what few do: a cancel too late for the pivot, a workflow stuck and resumed."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """What the engine says of all that goes wrong would be most of the work."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_promise_is_broken_and_every_dangerous_place_is_reached() -> None:
    """As many worlds as there is time for, and more only until all goals are reached."""
    campaign, until = Campaign(), time.monotonic() + SECONDS
    for seed in itertools.chain(RARE, itertools.count(FIRST)):
        campaign.play(seed)
        if campaign.runs >= RUNS and time.monotonic() >= until and not (campaign.missed and campaign.runs < MOST):
            break
    print(campaign)
    assert not campaign.broken
    assert campaign.missed == []
