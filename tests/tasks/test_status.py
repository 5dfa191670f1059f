"""The table of legal moves, pair by pair."""

import itertools

import pytest

from everact.tasks import status
from everact.tasks.errors import IllegalMove
from everact.tasks.status import LEGAL_MOVES, TaskStatus, check_move

S = TaskStatus

# Written down a second time on purpose, from section 5 of the design and not from the code.
STORY = {
    (S.SCHEDULED, S.QUEUED): "it came due",
    (S.SCHEDULED, S.CANCELLED): "cancelled before it was due, or between two attempts",
    (S.SCHEDULED, S.QUARANTINED): "its record cannot be read",
    (S.QUEUED, S.RUNNING): "a cell took it",
    (S.QUEUED, S.CANCELLED): "cancelled before it started",
    (S.QUEUED, S.QUARANTINED): "its record cannot be read",
    (S.RUNNING, S.SCHEDULED): "a retry",
    (S.RUNNING, S.QUEUED): "a shutdown or a crash interrupted it",
    (S.RUNNING, S.COMPLETED): "handle returned",
    (S.RUNNING, S.FAILED): "attempts are exhausted",
    (S.RUNNING, S.CANCELLED): "it stopped when it was told to",
    (S.RUNNING, S.QUARANTINED): "it kept killing the process",
}
PAIRS = list(itertools.product(S, S))


@pytest.mark.parametrize(("current", "following"), PAIRS, ids=str)
def test_a_move_is_legal_if_the_design_tells_of_it_and_refused_otherwise(
    current: TaskStatus, following: TaskStatus
) -> None:
    if (current, following) in STORY:
        check_move(current, following)
        return
    with pytest.raises(IllegalMove) as refusal:
        check_move(current, following)
    assert f"cannot go from {current} to {following}" in str(refusal.value)
    assert "report this" in str(refusal.value)


def test_the_table_covers_every_status() -> None:
    assert set(LEGAL_MOVES) == set(S)


def test_exactly_the_statuses_without_a_way_out_are_terminal() -> None:
    assert {s for s in S if s.terminal} == {s for s in S if not LEGAL_MOVES[s]}
    assert {s for s in S if s.terminal} == {S.COMPLETED, S.FAILED, S.CANCELLED, S.QUARANTINED}


def test_every_task_can_still_reach_every_end() -> None:
    for start in (S.SCHEDULED, S.QUEUED, S.RUNNING):
        reached: set[int] = {start}
        for _ in S:
            reached |= {following for current in reached for following in LEGAL_MOVES[current]}
        assert {s for s in S if s.terminal} <= reached


def test_the_numbers_that_storages_keep_never_change() -> None:
    stored = {s.name: s.value for s in S}
    assert stored == {
        "SCHEDULED": 0,
        "QUEUED": 1,
        "RUNNING": 2,
        "COMPLETED": 3,
        "FAILED": 4,
        "CANCELLED": 5,
        "QUARANTINED": 6,
    }
    assert all(getattr(status, name) == value for name, value in stored.items())


def test_a_status_reads_as_a_lower_case_word() -> None:
    assert [str(s) for s in S] == [s.name.lower() for s in S]
