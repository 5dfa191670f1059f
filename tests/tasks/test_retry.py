"""Retry policies: pure decisions about whether and when."""

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everact.tasks.errors import ConfigurationError, ResultError, TaskTimeout, UnexpectedCancel
from everact.tasks.retry import Retry

CHANCES = st.floats(0, 1, exclude_max=True)
ATTEMPTS = st.integers(1, 5_000)
SECONDS = st.floats(0, 1e9)


def timeout() -> TaskTimeout:
    return TaskTimeout(UUID(int=7), 1, 5.0)


@st.composite
def policies(draw: st.DrawFn, jitter: st.SearchStrategy[float] = st.floats(0, 10)) -> Retry:  # noqa: B008 - a strategy is a value
    return Retry(
        attempts=draw(ATTEMPTS),
        delay=draw(SECONDS),
        factor=draw(st.floats(1, 1e6)),
        max_delay=draw(SECONDS),
        jitter=draw(jitter),
    )


# When


@given(policies(), ATTEMPTS, CHANCES)
@example(Retry(delay=1e308, factor=1e308, jitter=1e308), 5_000, 0.99)
def test_no_delay_is_longer_than_max_delay_or_negative(policy: Retry, attempt: int, random: float) -> None:
    assert 0 <= policy.delay_after(attempt, random) <= policy.max_delay


@given(policies(jitter=st.just(0.0)), ATTEMPTS)
def test_without_jitter_delays_never_shrink_from_attempt_to_attempt(policy: Retry, attempt: int) -> None:
    assert policy.delay_after(attempt, 0.5) <= policy.delay_after(attempt + 1, 0.5)


@given(policies(), ATTEMPTS)
def test_the_first_delay_is_delay_itself(policy: Retry, attempt: int) -> None:
    assert policy.delay_after(1, 0.0) == min(policy.delay, policy.max_delay)
    constant = Retry(delay=policy.delay, max_delay=1e9)
    assert constant.delay_after(attempt, 0.0) == policy.delay


@given(policies(), st.integers(1, 30), CHANCES)
def test_jitter_adds_at_most_its_share_and_before_the_cap(policy: Retry, attempt: int, random: float) -> None:
    plain = policy.delay * policy.factor ** (attempt - 1)
    jittered = policy.delay_after(attempt, random)
    assert jittered >= min(plain, policy.max_delay)
    assert jittered <= plain * (1 + policy.jitter) * (1 + 1e-9)
    if plain * (1 + policy.jitter * random) <= policy.max_delay:
        assert math.isclose(jittered, plain * (1 + policy.jitter * random), rel_tol=1e-9)


@given(policies(), ATTEMPTS, CHANCES, CHANCES)
def test_a_greater_chance_never_means_a_shorter_delay(policy: Retry, attempt: int, one: float, other: float) -> None:
    small, great = sorted((one, other))
    assert policy.delay_after(attempt, small) <= policy.delay_after(attempt, great)


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    policy = Retry(delay=0.5, factor=2, max_delay=3)
    assert [policy.delay_after(n, 0.0) for n in (1, 2, 3, 4, 5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("factor", [2, 2.0, 1e300])
def test_growth_beyond_every_number_is_the_cap(factor: float) -> None:
    assert Retry(delay=0.5, factor=factor, max_delay=7).delay_after(100_000, 0.5) == 7.0


@pytest.mark.parametrize("factor", [1, 2, 2.0, 1e300])
@pytest.mark.parametrize("delay", [0, 0.0])
def test_no_delay_stays_no_delay_however_many_attempts_there_were(delay: float, factor: float) -> None:
    assert Retry(delay=delay, factor=factor, jitter=0.5).delay_after(100_000, 0.5) == 0.0


# Whether


def test_by_default_every_ordinary_exception_is_retried() -> None:
    assert all(Retry().covers(error) for error in (ValueError(), OSError(), ExceptionGroup("x", [KeyError()])))


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_bare_base_exception_is_retried_only_when_on_names_it(error: BaseException) -> None:
    assert not Retry().covers(error)
    assert Retry(on=(type(error),)).covers(error)


def test_a_cancellation_nobody_asked_for_is_an_ordinary_error() -> None:
    assert Retry().covers(UnexpectedCancel(UUID(int=7), asyncio.CancelledError()))


def test_on_takes_subclasses_too() -> None:
    policy = Retry(on=(OSError, KeyError))
    assert policy.covers(FileNotFoundError())
    assert policy.covers(KeyError())
    assert not policy.covers(ValueError())


def test_never_wins_over_on() -> None:
    policy = Retry(on=(OSError,), never=(FileNotFoundError,))
    assert policy.covers(PermissionError())
    assert not policy.covers(FileNotFoundError())


@pytest.mark.parametrize("on", [(Exception,), (TimeoutError,), (OSError,), (BaseException,)], ids=repr)
def test_a_timeout_is_not_retried_for_the_sake_of_a_base_class(on: tuple[type[BaseException], ...]) -> None:
    assert not Retry(on=on).covers(timeout())


def test_a_timeout_is_retried_when_on_names_it_itself() -> None:
    assert Retry(on=(TaskTimeout,)).covers(timeout())
    assert not Retry(on=(TaskTimeout,)).covers(TimeoutError())
    assert not Retry(on=(TaskTimeout,), never=(TimeoutError,)).covers(timeout())


def test_an_unnamed_timeout_is_not_even_a_question_for_when() -> None:
    assert not Retry().covers(timeout(), verdict=True)
    assert Retry(on=(TaskTimeout,)).covers(timeout(), verdict=None)
    assert not Retry(on=(TaskTimeout,)).covers(timeout(), verdict=False)


@pytest.mark.parametrize("on", [(Exception,), (ResultError,)], ids=repr)
@pytest.mark.parametrize("verdict", [None, True])
def test_a_result_that_cannot_be_stored_is_never_retried(
    on: tuple[type[BaseException], ...], verdict: bool | None
) -> None:
    assert not Retry(on=on).covers(ResultError("it would be the same again"), verdict)


def test_the_verdict_of_when_goes_before_never_and_on() -> None:
    policy = Retry(on=(OSError,), never=(FileNotFoundError,))
    assert policy.covers(FileNotFoundError(), verdict=True)
    assert policy.covers(ValueError(), verdict=True)
    assert not policy.covers(PermissionError(), verdict=False)


def test_without_an_opinion_of_when_never_and_on_decide() -> None:
    policy = Retry(on=(OSError,), never=(FileNotFoundError,))
    assert policy.covers(PermissionError(), verdict=None)
    assert not policy.covers(FileNotFoundError(), verdict=None)


@given(st.integers(1, 20), st.integers(1, 40))
def test_attempts_counts_calls_of_handle(attempts: int, attempt: int) -> None:
    decision = Retry(attempts=attempts, delay=2.0).decide(attempt, OSError(), random=0.0)
    assert decision == (2.0 if attempt < attempts else None)


def test_one_attempt_means_no_retry() -> None:
    assert Retry(attempts=1).decide(1, OSError(), random=0.0, verdict=True) is None


def test_an_error_that_is_not_covered_ends_the_task_whatever_attempts_are_left() -> None:
    policy = Retry(on=(OSError,))
    assert policy.decide(1, ValueError(), random=0.0) is None
    assert policy.decide(1, OSError(), random=0.0, verdict=False) is None
    assert policy.decide(1, ValueError(), random=0.0, verdict=True) == 0.5


def test_a_decision_takes_its_delay_from_attempt_and_chance() -> None:
    policy = Retry(attempts=9, delay=1.0, factor=2, jitter=0.5, max_delay=100)
    assert policy.decide(3, OSError(), random=0.5) == policy.delay_after(3, 0.5) == 5.0


# Construction


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("attempts", 0, "at least 1 (1 means no retry)"),
        ("attempts", -3, "at least 1 (1 means no retry)"),
        ("delay", -0.1, "a number of at least 0"),
        ("delay", math.inf, "a number of at least 0"),
        ("delay", math.nan, "a number of at least 0"),
        ("factor", 0.99, "a number of at least 1"),
        ("factor", math.inf, "a number of at least 1"),
        ("max_delay", -1, "a number of at least 0"),
        ("max_delay", math.nan, "a number of at least 0"),
        ("jitter", -0.5, "a number of at least 0"),
        ("jitter", math.inf, "a number of at least 0"),
    ],
)
def test_a_number_out_of_range_is_refused_with_the_range(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Retry(**{name: value})
    assert str(refusal.value) == f"Retry({name}={value!r}) has no meaning; {name} must be {wanted}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attempts", "3"),
        ("attempts", 2.5),
        ("attempts", None),
        ("delay", "1"),
        ("delay", timedelta(seconds=1)),
        ("factor", None),
        ("max_delay", timedelta(minutes=5)),
        ("jitter", "0.1"),
        ("when", True),
    ],
)
def test_a_value_of_another_kind_is_a_configuration_error_that_names_it(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Retry(**{name: value})


@pytest.mark.parametrize("name", ["on", "never"])
@pytest.mark.parametrize(
    "errors",
    [
        ("OSError",),
        (OSError, int),
        (OSError(),),
        (None,),
        OSError,  # `except OSError` needs no tuple, so this is what one writes first
        "OSError",
    ],
    ids=repr,
)
def test_what_is_no_tuple_of_exception_classes_is_refused(name: str, errors: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a tuple of exception classes"):
        Retry(**{name: errors})


@pytest.mark.parametrize("name", ["on", "never"])
def test_a_list_of_exception_classes_is_refused_or_works(name: str) -> None:
    """It must not wait for the first failure to be found out."""
    options: dict[str, Any] = {name: [OSError]}
    try:
        policy = Retry(**options)
    except ConfigurationError:
        return
    assert policy.covers(OSError()) == (name == "on")


def test_a_policy_is_frozen_and_equal_by_value() -> None:
    policy = Retry(attempts=2)
    assert policy == Retry(attempts=2) != Retry(attempts=3)
    with pytest.raises(AttributeError):
        policy.attempts = 3  # type: ignore[misc]


def test_the_defaults_are_those_of_the_design() -> None:
    policy = Retry()
    when: Callable[[BaseException], bool | None] | None = policy.when
    assert (policy.attempts, policy.delay, policy.factor, policy.max_delay, policy.jitter) == (4, 0.5, 1.0, 300, 0.0)
    assert (policy.on, policy.never, when) == ((Exception,), (), None)
