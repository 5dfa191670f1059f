"""When a task is due: pure functions from a caller's `delay` or `at` to microseconds since the epoch."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = 253_402_300_799 * MICROSECONDS
"""The last second of the year 9999; what is due later than that is refused."""


def due_at(now: int, delay: float | timedelta | None = None, at: datetime | None = None) -> int:
    """Work out when a task is due.

    Args:
        now: Wall-clock microseconds since the Unix epoch.
        delay: Seconds or a timedelta from now; zero or negative means now.
        at: A timezone-aware instant; one in the past means now.

    Returns:
        Microseconds since the epoch, never before `now`.

    Raises:
        ValueError: Both are given, `at` is naive, or the result is not a finite time before the year 10000.
        TypeError: `delay` is not a number or timedelta, or `at` is not a datetime.

    Example:
        >>> due_at(1_000_000, delay=2.5)
        3500000
    """
    if delay is None and at is None:
        return now
    if delay is not None and at is not None:
        msg = "give delay or at, not both: delay counts from now, at is an instant"
        raise ValueError(msg)
    due = _instant(at) if at is not None else now + _microseconds(delay)
    if due > FOREVER:
        msg = f"a task cannot be due after the year 9999 (delay={delay!r}, at={at!r})"
        raise ValueError(msg)
    return max(due, now)


def _instant(at: datetime) -> int:
    if not isinstance(at, datetime):
        msg = f"at must be a timezone-aware datetime, not {type(at).__name__}; use delay for seconds from now"
        raise TypeError(msg)
    if at.tzinfo is None or at.utcoffset() is None:
        msg = f"at={at!r} has no timezone; write datetime(..., tzinfo=timezone.utc), or use zoneinfo"
        raise ValueError(msg)
    return (at - EPOCH) // timedelta(microseconds=1)


def _microseconds(delay: float | timedelta | None) -> int:
    if isinstance(delay, timedelta):
        return delay // timedelta(microseconds=1)
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        msg = f"delay must be seconds or a timedelta, not {type(delay).__name__}"
        raise TypeError(msg)
    if isinstance(delay, float) and not math.isfinite(delay):
        msg = f"delay={delay!r} is not a finite number of seconds"
        raise ValueError(msg)
    return round(delay * MICROSECONDS) if abs(delay) < FOREVER else (FOREVER + 1 if delay > 0 else 0)
