"""Retention: a walk over finished tasks that rests until there is something to delete."""

from __future__ import annotations

import heapq
import itertools
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.actors.retention import LEAST_STEP, PAUSE_SECONDS, STEP, STEP_SECONDS, Retention, next_limit
from everact.storage.protocol import Storage, Sweep
from everact.tasks.errors import StorageUnavailable

SECOND = 1_000_000
NOW = 1_000 * SECOND


class Scripted:
    """A storage that answers sweeps as written, and notes what it was asked."""

    def __init__(self, *answers: Sweep | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, int, int]] = []

    def sweep(self, before: int, after: int, limit: int) -> Sweep:
        self.asked.append((before, after, limit))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def retention(storage: Any, seconds: float | None = 10.0) -> tuple[Retention, list[float]]:
    made, again = Retention(storage, seconds, lambda: 0.0), list[float]()
    made.call_again = again.append
    return made, again


def test_nothing_is_looked_at_if_tasks_are_kept_for_ever() -> None:
    storage = Scripted()
    retention(storage, None)[0].step(NOW)
    assert storage.asked == []


def test_each_step_goes_on_where_the_last_one_ended() -> None:
    storage = Scripted(Sweep(last=7, deleted=0, oldest=NOW), Sweep(last=9, deleted=0, oldest=NOW))
    made, again = retention(storage)
    made.step(NOW)
    made.step(NOW + 1)
    assert storage.asked == [(NOW - 10 * SECOND, 0, STEP), (NOW + 1 - 10 * SECOND, 7, STEP)]
    assert again == []


def test_while_there_is_something_to_delete_the_next_step_comes_soon() -> None:
    made, again = retention(Scripted(Sweep(last=7, deleted=1, oldest=None)))
    made.step(NOW)
    assert again == [PAUSE_SECONDS]


def test_after_a_lap_it_rests_until_the_oldest_is_due() -> None:
    oldest = NOW - 4 * SECOND
    storage = Scripted(
        Sweep(last=7, deleted=0, oldest=NOW), Sweep(last=None, deleted=0, oldest=oldest), Sweep(None, 1, None)
    )
    made, _ = retention(storage)
    for time in (NOW, NOW, NOW + 1, oldest + 10 * SECOND):
        made.step(time)
    assert len(storage.asked) == 2
    made.step(oldest + 10 * SECOND + 1)
    assert storage.asked[2] == (oldest + 1, 0, STEP)


def test_an_empty_storage_lets_it_rest_for_as_long_as_tasks_are_kept() -> None:
    storage = Scripted(Sweep(None, 0, None), Sweep(None, 0, None))
    made, _ = retention(storage)
    made.step(NOW)
    made.step(NOW + 10 * SECOND)
    assert len(storage.asked) == 1
    made.step(NOW + 10 * SECOND + 1)
    assert len(storage.asked) == 2


@pytest.mark.parametrize("error", [StorageUnavailable("locked")])
def test_a_step_that_fails_is_made_again(error: Exception) -> None:
    storage = Scripted(error, Sweep(None, 0, None))
    made, _ = retention(storage)
    made.step(NOW)
    made.step(NOW)
    assert [after for _, after, _ in storage.asked] == [0, 0]


class Endless:
    """A storage in which every row is old, and which takes time for each."""

    def __init__(self, per_row: float) -> None:
        self.now, self.per_row = 0.0, per_row
        self.steps: list[tuple[float, float, int]] = []

    def sweep(self, before: int, after: int, limit: int) -> Sweep:
        self.steps.append((self.now, limit * self.per_row, limit))
        self.now += limit * self.per_row
        return Sweep(last=after + limit, deleted=limit, oldest=None)


def play(storage: Endless, seconds: float) -> None:
    """Tick twice a second, and call again when that is asked for."""
    made = Retention(cast("Storage", storage), 10.0, lambda: storage.now)
    order = itertools.count()
    calls = [(0.5, next(order), True)]
    made.call_again = lambda pause: heapq.heappush(calls, (storage.now + pause, next(order), False))
    while storage.now < seconds:
        due, _, tick = heapq.heappop(calls)
        storage.now = max(storage.now, due)
        made.step(NOW + int(storage.now * SECOND))
        if tick:
            heapq.heappush(calls, (due + 0.5, next(order), True))


def test_a_long_series_of_steps_gets_no_faster() -> None:
    """Each tick used to begin a series of its own, so that after a minute the journal did nothing else."""
    storage = Endless(per_row=1e-6)
    play(storage, 60.0)
    assert 1.0 / PAUSE_SECONDS * 60 * 0.9 < len(storage.steps) < 1.0 / PAUSE_SECONDS * 60 * 1.1


def test_steps_become_as_short_as_rows_take_long() -> None:
    storage = Endless(per_row=STEP_SECONDS / 100)
    play(storage, 20.0)
    assert storage.steps[0][2] == STEP
    assert all(took <= STEP_SECONDS for _, took, _ in storage.steps[10:])
    assert storage.steps[-1][2] >= 50


@given(st.integers(LEAST_STEP, STEP), st.floats(0, 1e6))
def test_a_limit_stays_between_the_least_and_the_greatest_step(limit: int, seconds: float) -> None:
    following = next_limit(limit, seconds)
    assert LEAST_STEP <= following <= STEP
    assert (following < limit) == (seconds > STEP_SECONDS and limit > LEAST_STEP)
