"""How long a commit waits for another process's lock, decided by a pure function and obeyed on a virtual clock."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.actors.patience import FIRST_WAIT, LONGEST_WAIT, SHARE, STOP_SECONDS, Patience, next_wait
from everact.storage.protocol import NOTHING_LOST, Batch, Committed
from everact.tasks.errors import StorageBusy, StorageFull
from everact.testing.seeded import SeededRuntime

NOW = 1_700_000_000_000_000
TRIES = st.integers(1, 100_000)
CHANCES = st.floats(0, 1, exclude_max=True)


class Busy:
    """A storage that is locked until a moment of the runtime's clock."""

    def __init__(self, runtime: SeededRuntime, until: float, *, inline: bool = False) -> None:
        self.runtime, self.until, self.inline = runtime, until, inline
        self.tries: list[float] = []

    def commit(self, batch: Batch) -> Committed:
        """Refuse, or take the batch."""
        now = self.runtime.monotonic()
        self.tries.append(now)
        if now < self.until:
            raise StorageBusy("locked")
        return NOTHING_LOST


def patience(storage: Any, *, stopping: bool = False, seconds: float = 30.0) -> Patience:
    made = Patience(storage.runtime, storage, lambda: stopping)
    made.seconds = seconds
    return made


@given(TRIES, st.floats(0, 100), st.floats(0, 100), CHANCES)
def test_a_wait_ends_before_the_limit_and_is_never_long(
    tries: int, elapsed: float, limit: float, random: float
) -> None:
    wait = next_wait(tries, elapsed, limit, random)
    if elapsed >= limit:
        assert wait is None
    else:
        assert wait is not None
        assert 0 < wait <= min(LONGEST_WAIT, limit - elapsed)


@given(TRIES, CHANCES)
def test_waits_grow_with_the_tries_up_to_the_longest(tries: int, random: float) -> None:
    one, next_one = (next_wait(number, 0.0, 1e9, random) for number in (tries, tries + 1))
    assert one is not None
    assert next_one is not None
    assert one <= next_one
    assert one >= FIRST_WAIT / 2


@given(TRIES)
def test_chance_tells_apart_who_asks_next(tries: int) -> None:
    assert next_wait(tries, 0.0, 1e9, 0.0) != next_wait(tries, 0.0, 1e9, 0.9)


@pytest.mark.parametrize("seed", range(20))
def test_a_commit_is_tried_until_the_lock_is_free(seed: int) -> None:
    storage = Busy(SeededRuntime(seed), until=5.0)
    assert patience(storage).commit(Batch(NOW)) is NOTHING_LOST
    gaps = [later - earlier for earlier, later in zip(storage.tries, storage.tries[1:], strict=False)]
    assert len(gaps) > 5.0 / LONGEST_WAIT
    assert max(gaps) <= LONGEST_WAIT
    assert len(set(gaps)) > len(gaps) / 2, "the waits are not jittered"


def test_a_lock_that_stays_is_told_before_callers_give_up() -> None:
    storage = Busy(SeededRuntime(1), until=1e9)
    with pytest.raises(StorageBusy):
        patience(storage, seconds=10.0).commit(Batch(NOW))
    assert storage.runtime.monotonic() == pytest.approx(10.0 * SHARE)


def test_a_journal_that_is_to_stop_waits_a_short_time_for_all_its_commits_together() -> None:
    storage = Busy(SeededRuntime(1), until=1e9)
    stopping = patience(storage, stopping=True)
    for _ in range(3):
        with pytest.raises(StorageBusy):
            stopping.commit(Batch(NOW))
    assert storage.runtime.monotonic() == pytest.approx(STOP_SECONDS)


def test_where_a_commit_runs_in_the_callers_thread_nobody_waits() -> None:
    storage = Busy(SeededRuntime(1), until=1.0, inline=True)
    with pytest.raises(StorageBusy):
        patience(storage).commit(Batch(NOW))
    assert storage.tries == [0.0]


def test_another_error_is_not_waited_for() -> None:
    class Full(Busy):
        def commit(self, batch: Batch) -> Committed:
            super().commit(batch)
            raise StorageFull("no room")

    storage = Full(SeededRuntime(1), until=0.5)
    with pytest.raises(StorageFull):
        patience(storage).commit(Batch(NOW))
    assert len(storage.tries) > 1
    assert storage.runtime.monotonic() < 1.0


def test_a_long_wait_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    storage = Busy(SeededRuntime(1), until=5.0)
    with caplog.at_level(logging.WARNING, "everact.journal"):
        patience(storage).commit(Batch(NOW))
        patience(storage).commit(Batch(NOW))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "locked for 1.0 s" in caplog.text
