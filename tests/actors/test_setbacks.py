"""Which messages of a failed batch are refused, and which are tried again: pure decisions."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everact.actors.baton import Waiter
from everact.actors.messages import AwaitIdle, CancelTasks, ClaimTasks, StoreTasks
from everact.actors.pool import Pool
from everact.actors.reserve import Reserve
from everact.actors.runtime import LockGate
from everact.actors.setbacks import divide, may_be_written, settled, told
from everact.actors.ticket import Ticket
from everact.storage.memory import MemoryStorage
from everact.tasks.errors import EverActError, StorageBusy, StorageError, StorageFull, StorageUnavailable
from everact.tasks.record import Record

NOW = 1_700_000_000_000_000


def store(number: int) -> StoreTasks:
    record = Record(id=number.to_bytes(16, "big"), type="t", payload=b"{}", due=NOW, created=NOW)
    return StoreTasks([Ticket(record, Pool.nowhere())], Waiter(LockGate))


def idle() -> AwaitIdle:
    return AwaitIdle(Waiter(LockGate))


def reserve() -> Reserve:
    return Reserve(MemoryStorage(), lambda message: None)


def play(messages: list[Any], bad: set[int]) -> tuple[list[Any], list[Any], int]:
    """Commit as the journal does, against a storage that takes no batch with a bad message in it."""
    taken: list[Any] = []
    refused: list[Any] = []
    commits = 0
    parts = [messages]
    while parts:
        part = parts.pop(0)
        commits += 1
        if not any(messages.index(message) in bad for message in part):
            taken += part
            continue
        told_now, again = divide(part, StorageError("bad row"), reserve())
        refused += told_now
        parts = again + parts
    return taken, refused, commits


@given(st.integers(1, 70), st.sets(st.integers(0, 69), max_size=5))
@example(64, set(range(64)))
def test_halving_refuses_the_offenders_alone_and_keeps_the_order(count: int, places: set[int]) -> None:
    messages = [store(number) for number in range(count)]
    bad = {place for place in places if place < count}
    taken, refused, _ = play(messages, bad)
    assert taken == [message for place, message in enumerate(messages) if place not in bad]
    assert refused == [messages[place] for place in sorted(bad)]


@pytest.mark.parametrize("place", [0, 1, 999, 1000, 1999])
def test_one_offender_among_two_thousand_costs_two_commits_per_halving(place: int) -> None:
    _, refused, commits = play([store(number) for number in range(2000)], {place})
    assert len(refused) == 1
    assert commits <= 2 * math.ceil(math.log2(2000)) + 1


@pytest.mark.parametrize(
    "error",
    [
        StorageBusy("locked"),
        StorageUnavailable("fsync failed", outcome="unknown"),
        StorageUnavailable("not open"),
        OSError("disk gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_about_a_message_refuses_all_at_once(error: Exception) -> None:
    messages = [store(number) for number in range(5)]
    assert divide(messages, error, reserve()) == (messages, [])


@pytest.mark.parametrize("error", [StorageError("bad row"), StorageFull("no room")], ids=repr)
def test_a_message_that_writes_nothing_is_never_refused(error: Exception) -> None:
    waiting, one, two = idle(), store(1), store(2)
    refused, parts = divide([waiting, one, two], error, reserve())
    assert waiting not in refused
    assert parts[-1] == [waiting]


@pytest.mark.parametrize(
    "error",
    [StorageFull("no room"), StorageUnavailable("SQLITE_IOERR_SHMSIZE", outcome="unknown", no_room=True)],
    ids=lambda error: type(error).__name__,
)
def test_on_a_full_disk_new_tasks_are_refused_first_then_the_reserve_is_used_once(error: StorageError) -> None:
    class Released(MemoryStorage):
        def release_reserve(self) -> bool:
            return True

    kept = Reserve(Released(), lambda message: None)
    one, cancel = store(1), CancelTasks([UUID(int=1).bytes], "", Waiter(LockGate))
    assert divide([one, cancel], error, kept) == ([one], [[cancel]])
    assert not kept.used
    assert divide([cancel], error, kept) == ([], [[cancel]])
    assert kept.used
    assert divide([cancel], error, kept) == ([cancel], [])


def test_claims_alone_start_new_work_and_do_not_use_the_reserve() -> None:
    kept, claim = reserve(), ClaimTasks([])
    assert divide([claim], StorageFull("no room"), kept) == ([claim], [])
    assert not kept.used


def test_an_error_about_nothing_that_was_to_be_written_is_told_and_not_tried_for_ever() -> None:
    waiting = idle()
    assert divide([waiting], StorageError("a bug"), reserve()) == ([waiting], [])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StorageUnavailable("x", outcome="unknown"), True),
        (ValueError("a bug"), True),
        (KeyboardInterrupt(), True),
        (StorageUnavailable("x"), False),
        (StorageBusy("x"), False),
        (StorageFull("x"), False),
        (StorageError("x"), False),
    ],
    ids=repr,
)
def test_what_may_have_been_written_is_told_from_what_was_not(error: BaseException, expected: bool) -> None:
    assert may_be_written(error) is expected


@pytest.mark.parametrize(
    "error",
    [StorageUnavailable("fsync failed", outcome="unknown"), StorageBusy("x"), StorageFull("x"), StorageError("x")],
    ids=lambda error: type(error).__name__,
)
def test_every_caller_gets_an_error_of_its_own(error: StorageError) -> None:
    one, two = told(store(1), error), told(store(2), error)
    assert one is not two
    assert one is not error
    assert type(one) is type(error)
    assert one.__cause__ is error


@pytest.mark.parametrize(
    "message", [store(7), CancelTasks([(7).to_bytes(16, "big")], "", None)], ids=["store", "cancel"]
)
@pytest.mark.parametrize("error", [StorageUnavailable("fsync failed", outcome="unknown"), ValueError("fsync failed")])
def test_an_unknown_outcome_names_the_id_to_ask_again_with(message: Any, error: BaseException) -> None:
    own = told(message, error)
    assert isinstance(own, StorageUnavailable)
    assert (own.task_id, own.outcome) == (UUID(int=7), "unknown")
    assert "00000000-0000-0000-0000-000000000007" in str(own)
    assert "fsync failed" in str(own)


def test_an_error_beside_no_task_names_none() -> None:
    own: EverActError = told(idle(), StorageUnavailable("x"))
    assert isinstance(own, StorageUnavailable)
    assert own.task_id is None


def test_who_has_an_answer_is_left_alone() -> None:
    answered, waiting = store(1), store(2)
    assert answered.waiter is not None
    answered.waiter.settle(None)
    assert (settled(answered), settled(waiting)) == (True, False)
