"""Delays between restarts."""

import math
from typing import Any

import pytest
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st

from everact.supervision.backoff import Backoff
from everact.tasks.errors import ConfigurationError

CHANCES = st.floats(0, 1, exclude_max=True)
RESTARTS = st.integers(0, 5_000)


@st.composite
def backoffs(draw: st.DrawFn, jitter: st.SearchStrategy[float] = st.floats(0, 10)) -> Backoff:  # noqa: B008 - a strategy is a value
    least, most = sorted((draw(st.floats(0, 1e9)), draw(st.floats(0, 1e9))))
    return Backoff(least, most=most, factor=draw(st.floats(1, 1e6)), jitter=draw(jitter))


@given(backoffs(), RESTARTS, CHANCES)
@example(Backoff(1e300, most=1e300, factor=1e300, jitter=1e300), 5_000, 0.99)
def test_a_delay_lies_between_least_and_most(backoff: Backoff, restarts: int, random: float) -> None:
    assert backoff.least <= backoff.delay(restarts, random) <= backoff.most


NUMBERS = st.floats(0, allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS, st.floats(1, allow_infinity=False), NUMBERS, st.integers(0, 10**9), CHANCES)
def test_jitter_never_passes_the_cap_whatever_the_numbers(
    one: float, other: float, factor: float, jitter: float, restarts: int, random: float
) -> None:
    least, most = sorted((one, other))
    delay = Backoff(least, most=most, factor=factor, jitter=jitter).delay(restarts, random)
    assert least <= delay <= most


@given(NUMBERS, st.integers(0, 50), CHANCES)
def test_at_the_cap_jitter_adds_nothing(most: float, restarts: int, random: float) -> None:
    assert Backoff(most, most=most, jitter=1.0).delay(restarts, random) == most


def test_positive_control_akkas_jitter_which_comes_after_the_cap_would_be_seen() -> None:
    def akkas(backoff: Backoff, restarts: int, random: float) -> float:
        return min(backoff.most, backoff.least * backoff.factor**restarts) * (1 + backoff.jitter * random)

    backoff, restarts, random = find(
        st.tuples(backoffs(), st.integers(0, 30), CHANCES),
        lambda case: akkas(*case) > case[0].most,
        settings=settings(phases=[Phase.generate]),  # any case will do; the smallest takes long to find
    )
    assert backoff.delay(restarts, random) <= backoff.most


@given(backoffs(jitter=st.just(0.0)), RESTARTS)
def test_without_jitter_delays_never_shrink(backoff: Backoff, restarts: int) -> None:
    assert backoff.delay(restarts, 0.5) <= backoff.delay(restarts + 1, 0.5)


@given(backoffs(), st.integers(0, 30), CHANCES)
def test_jitter_adds_at_most_its_share_and_before_the_cap(backoff: Backoff, restarts: int, random: float) -> None:
    plain = backoff.least * backoff.factor**restarts
    jittered = backoff.delay(restarts, random)
    assert min(plain, backoff.most) <= jittered <= plain * (1 + backoff.jitter) * (1 + 1e-9)
    if plain * (1 + backoff.jitter * random) <= backoff.most:
        assert math.isclose(jittered, plain * (1 + backoff.jitter * random), rel_tol=1e-9)


def test_delays_double_from_least_to_most() -> None:
    backoff = Backoff(0.5, most=3, factor=2, jitter=0)
    assert [backoff.delay(n, 0.9) for n in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_growth_beyond_every_number_is_most() -> None:
    assert Backoff(0.2, most=60).delay(100_000, 0.5) == 60.0


def test_no_delay_stays_no_delay_however_many_restarts_there_were() -> None:
    assert Backoff(0.0, most=60).delay(100_000, 0.5) == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"least": -0.1},
        {"least": 10, "most": 5},
        {"least": math.nan},
        {"most": math.inf},
        {"factor": 0.5},
        {"factor": math.nan},
        {"jitter": math.inf},
        {"jitter": -0.1},
        {"least": "1"},
        {"most": None},
    ],
    ids=str,
)
def test_numbers_without_meaning_are_refused_with_what_must_hold(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="has no meaning; 0 <= least <= most and factor >= 1"):
        Backoff(**options)
