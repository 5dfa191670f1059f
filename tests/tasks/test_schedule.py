"""When a task is due: `delay` and `at`."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everact.tasks.record import instant
from everact.tasks.schedule import due_at

NOW = 1_767_225_600_123_456  # 2026-01-01T00:00:00.123456Z
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
MOMENTS = st.integers(0, 2 * NOW)
ZONES = st.timezones() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def test_without_delay_or_at_a_task_is_due_now() -> None:
    assert due_at(NOW) == NOW


@given(MOMENTS, st.integers(0, 10**9))
def test_whole_seconds_are_counted_from_now(now: int, seconds: int) -> None:
    assert due_at(now, delay=seconds) == now + seconds * 1_000_000


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=36_500)))
def test_a_timedelta_counts_to_the_microsecond(now: int, delay: timedelta) -> None:
    assert due_at(now, delay=delay) == now + delay // timedelta(microseconds=1)


@given(st.integers(0, 10**13))
@example(1_001_000)  # 1.001 * 1_000_000 is a little less than that
@example(1)
def test_seconds_mean_the_microsecond_that_is_nearest_as_in_a_timedelta(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert due_at(NOW, delay=seconds) == due_at(NOW, delay=timedelta(seconds=seconds)) == NOW + microseconds


@given(st.datetimes(datetime(2026, 1, 2), datetime(9999, 12, 30), timezones=ZONES))  # noqa: DTZ001 - the zone is drawn
@example(datetime(2026, 7, 1, 12, 0, 0, 1, UTC))
@example(datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1))
def test_an_instant_is_kept_to_the_microsecond_in_whatever_zone_it_is_given(at: datetime) -> None:
    assert instant(due_at(NOW, at=at)) == at.astimezone(UTC)


@given(st.floats(max_value=0.0, allow_nan=False, allow_infinity=False) | st.timedeltas(max_value=timedelta(0)))
@example(-1e308)
@example(timedelta.min)
@example(-(10**400))
def test_a_delay_that_is_zero_or_negative_means_now(delay: float | timedelta) -> None:
    assert due_at(NOW, delay=delay) == NOW


@given(st.datetimes(max_value=datetime(2025, 12, 30), timezones=ZONES))  # noqa: DTZ001 - the zone is drawn
@example(datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))
def test_an_instant_in_the_past_means_now(at: datetime) -> None:
    assert due_at(NOW, at=at) == NOW


@given(st.data(), MOMENTS)
def test_nothing_is_ever_due_before_now(data: st.DataObject, now: int) -> None:
    delay = data.draw(st.floats(-(10**9), 10**9) | st.timedeltas(timedelta(-10_000), timedelta(10_000)))
    assert due_at(now, delay=delay) >= now


def test_the_last_second_of_the_year_9999_is_accepted() -> None:
    assert instant(due_at(NOW, at=LAST)) == LAST


@pytest.mark.parametrize(
    "options",
    [
        {"at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))},
        {"delay": timedelta.max},
        {"delay": 10**12},
        {"delay": 1e300},
        {"delay": 1e308},
        {"delay": 10**400},
    ],
    ids=["at", "timedelta", "seconds", "1e300", "1e308", "10**400"],
)
def test_what_would_be_due_after_the_year_9999_is_a_value_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"9999|finite"):
        due_at(NOW, **options)


@pytest.mark.parametrize("delay", [float("inf"), float("-inf"), float("nan")], ids=str)
def test_a_delay_that_is_not_finite_is_refused(delay: float) -> None:
    with pytest.raises(ValueError, match=f"delay={delay!r} is not a finite number of seconds"):
        due_at(NOW, delay=delay)


def test_delay_and_at_together_are_refused() -> None:
    with pytest.raises(ValueError, match="give delay or at, not both"):
        due_at(NOW, delay=0, at=LAST)


@pytest.mark.parametrize("at", [datetime(2026, 1, 1), datetime(9999, 12, 31)], ids=str)  # noqa: DTZ001 - naive on purpose
def test_a_naive_datetime_is_refused_with_the_way_to_write_it(at: datetime) -> None:
    with pytest.raises(ValueError, match=r"has no timezone; write datetime\(..., tzinfo=timezone.utc\)"):
        due_at(NOW, at=at)


@pytest.mark.parametrize("delay", ["5", True, Decimal(5), [1], 1j], ids=repr)
def test_a_delay_that_is_no_number_is_refused(delay: Any) -> None:
    with pytest.raises(TypeError, match=f"delay must be seconds or a timedelta, not {type(delay).__name__}"):
        due_at(NOW, delay=delay)


@pytest.mark.parametrize("at", ["2026-01-01T00:00:00Z", 1_767_225_600, date(2026, 1, 1), timedelta(1)], ids=repr)
def test_an_at_that_is_no_datetime_is_refused(at: Any) -> None:
    with pytest.raises(TypeError, match=f"at must be a timezone-aware datetime, not {type(at).__name__}; use delay"):
        due_at(NOW, at=at)
