"""The restart budget: OTP's sliding window."""

import math
from typing import Any

import pytest
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st

from everact.supervision.intensity import Intensity
from everact.tasks.errors import ConfigurationError

# Quarters of a second are exact in binary, so a restart on the very edge of a window is drawn, not rounded.
QUARTER = 0.25


def admitted(intensity: Intensity, moments: list[float]) -> list[bool]:
    """Return of each restart whether it was allowed; as a supervisor does, one that was not is forgotten."""
    history: tuple[float, ...] = ()
    answers = []
    for moment in moments:
        following = intensity.admit(moment, history)
        answers.append(following is not None)
        history = history if following is None else following
    return answers


def otp(intensity: Intensity, moments: list[float]) -> list[bool]:
    """`add_restart` of supervisor.erl by brute force: look back from each restart over everything admitted."""
    kept: list[float] = []
    answers = []
    for moment in moments:
        inside = [earlier for earlier in kept if moment - earlier <= intensity.within]
        answers.append(intensity.restarts is None or len(inside) + 1 <= intensity.restarts)
        if answers[-1]:
            kept.append(moment)
    return answers


@st.composite
def histories(draw: st.DrawFn) -> tuple[Intensity, list[float]]:
    """Draw a budget, and restarts whose distances lie on, just before and just after the edge of its window."""
    within = draw(st.integers(1, 40)) * QUARTER
    edges = st.sampled_from([0.0, QUARTER, within - QUARTER, within, within + QUARTER, within / 2, 2 * within])
    gaps = draw(st.lists(edges | st.integers(0, 50).map(lambda n: n * QUARTER), max_size=30))
    moments, moment = [], draw(st.integers(-1000, 1000)) * QUARTER
    for gap in gaps:
        moment += gap
        moments.append(moment)
    return Intensity(draw(st.integers(0, 6)), within=within), moments


@given(histories())
@example((Intensity(1, within=10.0), [0.0, 10.0]))
@example((Intensity(1, within=10.0), [0.0, 10.25]))
@example((Intensity(2, within=1.0), [5.0, 5.0, 5.0]))
def test_a_restart_is_admitted_exactly_when_otp_admits_it(case: tuple[Intensity, list[float]]) -> None:
    intensity, moments = case
    assert admitted(intensity, moments) == otp(intensity, moments)


@given(histories())
def test_no_window_ever_holds_more_than_the_allowed_restarts(case: tuple[Intensity, list[float]]) -> None:
    intensity, moments = case
    allowed = [m for m, ok in zip(moments, admitted(intensity, moments), strict=True) if ok]
    assert intensity.restarts is not None
    for start in allowed:
        assert sum(start <= moment <= start + intensity.within for moment in allowed) <= intensity.restarts


@given(histories())
def test_a_restart_is_refused_only_if_its_window_is_full(case: tuple[Intensity, list[float]]) -> None:
    intensity, moments = case
    answers = admitted(intensity, moments)
    for place, moment in enumerate(moments):
        if not answers[place]:
            earlier = [m for m, ok in zip(moments[:place], answers[:place], strict=True) if ok]
            assert sum(moment - intensity.within <= m for m in earlier) == intensity.restarts


def _forgets_too_early(intensity: Intensity, moments: list[float]) -> list[bool]:
    """A window that is open where OTP's is closed."""
    kept: list[float] = []
    answers = []
    for moment in moments:
        kept = [earlier for earlier in kept if moment - earlier < intensity.within]
        answers.append(intensity.restarts is None or len(kept) + 1 <= intensity.restarts)
        kept += [moment] * answers[-1]
    return answers


def _fixed_window(intensity: Intensity, moments: list[float]) -> list[bool]:
    """Akka's window, which the first restart opens and which does not slide."""
    opened, count, answers = -math.inf, 0, []
    for moment in moments:
        if moment - opened > intensity.within:
            opened, count = moment, 0
        answers.append(intensity.restarts is None or count < intensity.restarts)
        count += answers[-1]
    return answers


@pytest.mark.parametrize("wrong", [_forgets_too_early, _fixed_window])
def test_positive_control_the_histories_tell_other_windows_from_otps(wrong: Any) -> None:
    some = settings(max_examples=10_000, phases=[Phase.generate], database=None)  # any will do, however long
    case = find(histories(), lambda case: wrong(*case) != otp(*case), settings=some)
    assert admitted(*case) != wrong(*case)


@given(histories())
def test_the_history_is_newest_first_and_no_longer_than_the_budget(case: tuple[Intensity, list[float]]) -> None:
    intensity, moments = case
    history: tuple[float, ...] = ()
    for moment in moments:
        following = intensity.admit(moment, history)
        if following is None:
            continue
        assert following[0] == moment
        assert list(following) == sorted(following, reverse=True)
        assert intensity.restarts is None or len(following) <= intensity.restarts
        history = following


def test_a_restart_exactly_one_window_old_still_counts() -> None:
    assert Intensity(1, within=10).admit(110.0, (100.0,)) is None
    assert Intensity(1, within=10).admit(110.25, (100.0,)) == (110.25,)


def test_zero_restarts_make_the_first_one_fatal() -> None:
    assert Intensity(0, within=60).admit(5.0, ()) is None


def test_the_history_that_is_passed_in_is_not_changed() -> None:
    history = (3.0, 2.0)
    Intensity(9, within=60).admit(4.0, history)
    assert history == (3.0, 2.0)


@pytest.mark.parametrize(
    "options",
    [
        {"restarts": -1},
        {"within": 0},
        {"within": -60},
        {"within": math.inf},
        {"within": math.nan},
        {"restarts": 2.5},
        {"restarts": math.nan},
        {"restarts": "3"},
        {"within": "60"},
        {"within": None},
    ],
    ids=str,
)
def test_a_budget_without_meaning_is_refused_with_an_example(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"has no meaning; use e\.g\. Intensity\(3, within=60\)"):
        Intensity(**options)


def test_the_default_is_three_restarts_a_minute() -> None:
    assert (Intensity().restarts, Intensity().within) == (3, 60.0)


def test_a_budget_without_end_admits_every_restart_and_remembers_none() -> None:
    for _ in range(1000):
        assert Intensity(None).admit(5.0, ()) == ()


def test_a_large_budget_is_cut_and_not_looked_through() -> None:
    looked_at = 0

    class Moment(float):
        def __neg__(self) -> float:
            nonlocal looked_at
            looked_at += 1
            return -float(self)

    history = tuple(Moment(moment) for moment in range(5000, 0, -1))
    following = Intensity(10_000, within=1000).admit(5000.0, history)
    assert following is not None
    assert len(following) == 1002
    assert looked_at <= 14
