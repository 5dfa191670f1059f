"""What every storage keeps to, whatever it is made of: see `everact/storage/protocol.py`."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Batch, CancelRequest, Claim, Outcome, Selection, Storage, Waiting
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import StorageError, StorageUnavailable
from everact.tasks.record import HistoryRow, Record, TaskError
from everact.tasks.schedule import FOREVER
from everact.tasks.status import CANCELLED, COMPLETED, FAILED, QUARANTINED, QUEUED, RUNNING, SCHEDULED

NOW = 1_700_000_000_000_000
ME = 1
TYPE = "shop.Order"

Node = Callable[[], Storage]
"""Makes another storage on the same data, as another start of the application does; not opened yet."""


@pytest.fixture(params=["memory", "sqlite"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    made: list[Storage] = []
    memory = MemoryStorage()

    def make() -> Storage:
        storage = memory if request.param == "memory" else SqliteStorage(tmp_path / "tasks.db", "process")
        made.append(storage)
        return storage

    yield make
    for storage in made:
        storage.close()


@pytest.fixture
def storage(node: Node) -> Storage:
    opened = node()
    assert opened.open(NOW) == ME
    return opened


def task_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def record(number: int, **fields: Any) -> Record:
    values: dict[str, Any] = {"id": task_id(number), "type": TYPE, "payload": b"{}", "due": NOW, "created": NOW}
    return Record(**values | {"seq": number, "owner": ME} | fields)


def outcome(number: int, **fields: Any) -> Outcome:
    values: dict[str, Any] = {"id": task_id(number), "seq": number, "owner": ME, "expected": 0}
    values |= {"status": COMPLETED, "attempt": 1, "due": NOW, "finished": NOW + 9}
    return Outcome(**values | fields)


def note(number: int, event: str = "retry", at: int = NOW) -> HistoryRow:
    return HistoryRow(task=task_id(number), at=at, event=event, attempt=1, detail="why")


def insert(storage: Storage, *records: Record) -> None:
    answer = storage.commit(Batch(NOW, inserts=list(records)))
    assert (answer.lost, answer.taken) == (set(), {})


def rows(storage: Storage) -> list[Record]:
    return storage.select(Selection(limit=10_000))


def numbers(records: list[Record]) -> list[int]:
    return [row.seq for row in records]


def status_of(storage: Storage, number: int) -> int | None:
    row = storage.get(task_id(number))
    return None if row is None else row.status


# Rows

EVERY_FIELD = record(
    7,
    status=FAILED,
    codec="cloudpickle",
    version=3,
    key_id="2024",
    priority=-100,
    key="order-7",
    queue="slow",
    kind="cleanup",
    tags=("a", "ü"),
    headers={"traceparent": "00-1"},
    parent=task_id(1),
    workflow=task_id(2),
    retry_of=task_id(3),
    attempt=4,
    crashes=2,
    suspect=True,
    cancel_requested="user",
    result=b"\x00\xff",
    error=TaskError("ValueError", "no", "Traceback", "on_error", "KeyError: 1"),
    started=NOW + 1,
    finished=NOW + 2,
    checksum=0xFFFFFFFF,
    payload=b"\x80\x00bytes",
)


def test_every_field_comes_back_as_it_was_stored(storage: Storage) -> None:
    insert(storage, EVERY_FIELD)
    expected = copy.copy(EVERY_FIELD)
    assert storage.get(task_id(7)) == expected
    assert rows(storage) == [expected]


def test_a_row_of_defaults_comes_back_as_it_was_stored(storage: Storage) -> None:
    insert(storage, record(1))
    assert storage.get(task_id(1)) == record(1)


def test_what_is_empty_is_not_taken_for_what_is_missing(storage: Storage) -> None:
    empty: dict[str, Any] = {"payload": b"", "result": b"", "key": "", "key_id": "", "headers": {}, "checksum": 0}
    stored = record(1, cancel_requested="", queue="", kind="", **empty)
    insert(storage, copy.copy(stored))
    assert storage.get(task_id(1)) == stored


integers = st.integers(-(2**63) + 1, 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
maybe_texts = st.none() | texts
maybe_ids = st.none() | st.binary(min_size=16, max_size=16)
some_records = st.builds(
    Record,
    id=st.binary(min_size=16, max_size=16),
    type=texts,
    payload=st.binary(max_size=40),
    due=integers,
    created=integers,
    status=st.integers(SCHEDULED, QUARANTINED),
    seq=integers,
    owner=integers,
    codec=texts,
    version=integers,
    key_id=maybe_texts,
    priority=st.integers(-100, 100),
    key=maybe_texts,
    queue=texts,
    kind=texts,
    tags=st.lists(texts, max_size=3).map(tuple),
    headers=st.none() | st.dictionaries(texts, texts, max_size=3),
    parent=maybe_ids,
    workflow=maybe_ids,
    retry_of=maybe_ids,
    attempt=integers,
    crashes=integers,
    suspect=st.booleans(),
    cancel_requested=maybe_texts,
    result=st.none() | st.binary(max_size=20),
    error=st.none() | st.builds(TaskError, texts, texts, texts, maybe_texts, maybe_texts),
    started=st.none() | integers,
    finished=st.none() | integers,
    checksum=st.none() | st.integers(0, 0xFFFFFFFF),
)


@settings(max_examples=60, deadline=None)
@given(stored=some_records)
def test_whatever_a_record_holds_comes_back(stored: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for storage in (MemoryStorage(), SqliteStorage(Path(folder, "t.db"), "process")):
            storage.open(NOW)
            storage.commit(Batch(NOW, inserts=[copy.copy(stored)]))
            assert storage.get(stored.id) == stored
            storage.close()


def test_what_is_read_is_a_copy(storage: Storage) -> None:
    insert(storage, record(1))
    read = storage.get(task_id(1))
    assert read is not None
    read.status = FAILED
    rows(storage)[0].status = FAILED
    assert status_of(storage, 1) == QUEUED


def test_a_row_that_is_not_there_is_none(storage: Storage) -> None:
    assert storage.get(task_id(1)) is None


# Outcomes and their fence


def test_an_outcome_changes_its_row(storage: Storage) -> None:
    insert(storage, record(1), record(2))
    error = TaskError("ValueError", "no")
    answer = storage.commit(
        Batch(
            NOW,
            outcomes=[
                outcome(1, started=NOW + 1, result=b"1"),
                outcome(2, status=SCHEDULED, due=NOW + 5, finished=None, error=error),
            ],
        )
    )
    assert (answer.lost, answer.taken) == (set(), {})
    assert rows(storage) == [
        record(1, status=COMPLETED, attempt=1, started=NOW + 1, finished=NOW + 9, result=b"1"),
        record(2, status=SCHEDULED, attempt=1, due=NOW + 5, error=error),
    ]


LATE = [
    pytest.param({"seq": 99}, id="no such row"),
    pytest.param({"owner": 2}, id="another owner"),
    pytest.param({"expected": 1}, id="another attempt"),
]


@pytest.mark.parametrize("wrong", LATE)
@pytest.mark.parametrize("beside", [0, 1])
def test_an_outcome_that_does_not_fit_changes_nothing(storage: Storage, wrong: dict[str, int], beside: int) -> None:
    insert(storage, record(1), record(2))
    late = outcome(1, **{"follow_ups": [record(3)], "history": note(1)} | wrong)
    answer = storage.commit(Batch(NOW, outcomes=[outcome(2)] * beside + [late]))
    assert answer.lost == {late.seq}
    assert status_of(storage, 1) == QUEUED
    assert status_of(storage, 2) == (COMPLETED if beside else QUEUED)
    assert status_of(storage, 3) is None
    assert storage.history(task_id(1)) == []


@pytest.mark.parametrize("wrong", LATE)
@pytest.mark.parametrize("beside", [0, 1, 2])
def test_a_bare_outcome_that_does_not_fit_is_told_from_its_neighbours(
    storage: Storage, wrong: dict[str, int], beside: int
) -> None:
    insert(storage, record(1), record(2), record(3))
    late = outcome(1, **wrong)
    answer = storage.commit(Batch(NOW, outcomes=[late, outcome(2), outcome(3)][: beside + 1]))
    assert answer.lost == {late.seq}
    assert [row.status for row in rows(storage)] == [QUEUED] + [COMPLETED] * beside + [QUEUED] * (2 - beside)


@pytest.mark.parametrize("status", [COMPLETED, FAILED, CANCELLED, QUARANTINED])
def test_a_terminal_row_never_changes_again(storage: Storage, status: int) -> None:
    insert(storage, record(1, status=status))
    before = storage.get(task_id(1))
    answer = storage.commit(
        Batch(
            NOW,
            outcomes=[outcome(1, status=FAILED)],
            cancels=[outcome(1, status=CANCELLED, history=note(1))],
            requests=[CancelRequest(task_id(1), 1, "user", NOW)],
            claims=[Claim(seq=1, owner=ME, expected=0)],
        )
    )
    assert answer.lost == {1}
    assert storage.get(task_id(1)) == before
    assert storage.history(task_id(1)) == []


def test_of_two_outcomes_of_one_attempt_the_first_counts(storage: Storage) -> None:
    insert(storage, record(1))
    answer = storage.commit(Batch(NOW, outcomes=[outcome(1, status=FAILED), outcome(1, result=b"late")]))
    assert answer.lost == {1}
    assert rows(storage) == [record(1, status=FAILED, attempt=1, finished=NOW + 9)]


def test_two_attempts_may_end_in_one_batch(storage: Storage) -> None:
    insert(storage, record(1))
    retry = outcome(1, status=QUEUED, finished=None)
    answer = storage.commit(Batch(NOW, outcomes=[retry, outcome(1, expected=1, attempt=2)]))
    assert answer.lost == set()
    assert rows(storage) == [record(1, status=COMPLETED, attempt=2, finished=NOW + 9)]


def test_follow_ups_and_history_come_with_the_outcome(storage: Storage) -> None:
    insert(storage, record(1))
    storage.commit(Batch(NOW, outcomes=[outcome(1, follow_ups=[record(3), record(2)], history=note(1))]))
    assert numbers(rows(storage)) == [1, 2, 3]
    assert storage.history(task_id(1)) == [note(1)]


# All or nothing


def test_a_batch_that_cannot_be_written_leaves_nothing_behind(storage: Storage) -> None:
    insert(storage, record(1), record(2))
    batch = Batch(
        NOW,
        outcomes=[outcome(1, follow_ups=[record(3)], history=note(1))],
        inserts=[record(4), record(5, seq=2)],
        history=[note(2)],
    )
    with pytest.raises(StorageError, match="nothing was stored"):
        storage.commit(batch)
    assert rows(storage) == [record(1), record(2)]
    assert storage.history(task_id(1)) + storage.history(task_id(2)) == []


def test_a_seq_given_twice_in_a_batch_is_refused_whole(storage: Storage) -> None:
    with pytest.raises(StorageError):
        storage.commit(Batch(NOW, inserts=[record(1), record(2, seq=1)]))
    assert rows(storage) == []


def test_an_empty_batch_is_no_error(storage: Storage) -> None:
    answer = storage.commit(Batch(NOW))
    assert (answer.lost, answer.taken) == (set(), {})


# Ids and keys


def test_a_taken_id_is_left_out_and_its_row_is_told(storage: Storage) -> None:
    insert(storage, record(1, payload=b"first"))
    answer = storage.commit(Batch(NOW, inserts=[record(2), record(3, id=task_id(1), payload=b"second"), record(4)]))
    assert answer.taken == {task_id(1): record(1, payload=b"first")}
    assert rows(storage) == [record(1, payload=b"first"), record(2), record(4)]


def test_the_same_row_sent_again_counts_as_stored(storage: Storage) -> None:
    insert(storage, record(1))
    insert(storage, record(1), record(2))
    assert rows(storage) == [record(1), record(2)]


def test_a_key_belongs_to_one_unfinished_task_of_its_type(storage: Storage) -> None:
    insert(storage, record(1, key="k"))
    answer = storage.commit(Batch(NOW, inserts=[record(2, key="k"), record(3, key="k", type="other"), record(4)]))
    assert answer.taken == {task_id(2): record(1, key="k")}
    assert numbers(rows(storage)) == [1, 3, 4]


def test_of_two_equal_keys_in_one_batch_the_first_wins(storage: Storage) -> None:
    answer = storage.commit(Batch(NOW, inserts=[record(1, key="k"), record(2, key="k"), record(3, key="k")]))
    assert answer.taken == {task_id(2): record(1, key="k"), task_id(3): record(1, key="k")}
    assert numbers(rows(storage)) == [1]


def test_the_same_id_is_told_before_the_holder_of_the_key(storage: Storage) -> None:
    insert(storage, record(1, key="k"), record(2))
    answer = storage.commit(Batch(NOW, inserts=[record(3, id=task_id(2), key="k")]))
    assert answer.taken == {task_id(2): record(2)}


def test_a_finished_task_lets_go_of_its_key(storage: Storage) -> None:
    insert(storage, record(1, key="k"))
    storage.commit(Batch(NOW, outcomes=[outcome(1)]))
    insert(storage, record(2, key="k"))
    assert numbers(rows(storage)) == [1, 2]


def test_a_retry_keeps_the_key(storage: Storage) -> None:
    insert(storage, record(1, key="k"))
    storage.commit(Batch(NOW, outcomes=[outcome(1, status=SCHEDULED)]))
    assert set(storage.commit(Batch(NOW, inserts=[record(2, key="k")])).taken) == {task_id(2)}


def test_a_row_stored_as_finished_takes_no_key(storage: Storage) -> None:
    insert(storage, record(1, key="k"), record(2, key="k", status=CANCELLED))
    assert numbers(rows(storage)) == [1, 2]


def test_a_handler_may_dispatch_its_own_key_again(storage: Storage) -> None:
    insert(storage, record(1, key="k"))
    answer = storage.commit(Batch(NOW, outcomes=[outcome(1, follow_ups=[record(2, key="k")])]))
    assert answer.taken == {}
    assert [row.status for row in rows(storage)] == [COMPLETED, QUEUED]


def test_follow_ups_come_before_other_inserts(storage: Storage) -> None:
    insert(storage, record(1))
    answer = storage.commit(
        Batch(NOW, outcomes=[outcome(1, follow_ups=[record(3, key="k")])], inserts=[record(2, key="k")])
    )
    assert answer.taken == {task_id(2): record(3, key="k")}


def test_a_follow_up_that_meets_a_taken_key_is_told_in_its_parents_history(storage: Storage) -> None:
    insert(storage, record(1), record(2, key="k"))
    parent = outcome(1, follow_ups=[record(3, key="k"), record(4, id=task_id(2))], history=note(1, at=NOW - 1))
    answer = storage.commit(Batch(NOW, outcomes=[parent]))
    assert set(answer.taken) == {task_id(3), task_id(2)}
    first, second = storage.history(task_id(1))
    assert first == note(1, at=NOW - 1)
    assert (second.event, second.at, second.attempt) == ("key_taken", NOW, 1)
    assert "00000000-0000-0000-0000-000000000002" in second.detail


# Cancels, requests, claims, history


def test_cancels_come_after_inserts(storage: Storage) -> None:
    storage.commit(Batch(NOW, inserts=[record(1)], cancels=[outcome(1, status=CANCELLED, attempt=0)]))
    assert rows(storage) == [record(1, status=CANCELLED, finished=NOW + 9)]


def test_a_lost_cancel_is_told_from_its_neighbours(storage: Storage) -> None:
    insert(storage, record(1), record(2, attempt=1), record(3))
    cancels = [outcome(n, status=CANCELLED, attempt=0, history=note(n, "cancelled")) for n in (1, 2, 3)]
    assert storage.commit(Batch(NOW, cancels=cancels)).lost == {2}
    assert [row.status for row in rows(storage)] == [CANCELLED, QUEUED, CANCELLED]
    assert storage.history(task_id(2)) == []
    assert storage.history(task_id(3)) == [note(3, "cancelled")]


def test_a_cancel_request_is_kept_and_told_in_the_history(storage: Storage) -> None:
    insert(storage, record(1, status=RUNNING, attempt=2), record(2))
    storage.commit(Batch(NOW, outcomes=[outcome(2)]))
    wanted = [CancelRequest(task_id(n), n, "too late", NOW + 3) for n in (1, 2, 3)]
    assert storage.commit(Batch(NOW, requests=wanted)).late == {2, 3}
    assert storage.get(task_id(1)) == record(1, status=RUNNING, attempt=2, cancel_requested="too late")
    asked = HistoryRow(task_id(1), NOW + 3, "cancel_requested", 0, "too late")
    assert [storage.history(task_id(n)) for n in (1, 2)] == [[asked], []]


def test_a_claim_makes_a_waiting_row_this_nodes_and_running(storage: Storage) -> None:
    insert(storage, record(1, owner=77, suspect=True), record(2, owner=77, status=SCHEDULED), record(3))
    claims = [
        Claim(seq=1, owner=77, expected=0),
        Claim(seq=2, owner=77, expected=0),
        Claim(seq=3, owner=ME, expected=0),
    ]
    assert storage.commit(Batch(NOW, claims=claims)).unclaimed == set()
    assert [(row.owner, row.status, row.suspect) for row in rows(storage)] == [
        (ME, RUNNING, True),
        (ME, RUNNING, False),
        (ME, RUNNING, False),
    ]


@pytest.mark.parametrize(
    "stored",
    [{"owner": 78}, {"attempt": 1}, {"status": RUNNING}, {"status": COMPLETED}, {"seq": 9}],
    ids=["owner", "attempt", "running", "finished", "missing"],
)
def test_a_claim_that_does_not_fit_is_told(storage: Storage, stored: dict[str, int]) -> None:
    before = record(1, **{"owner": 77} | stored)
    insert(storage, copy.copy(before), record(2, owner=77))
    claims = [Claim(seq=1, owner=77, expected=0), Claim(seq=2, owner=77, expected=0)]
    answer = storage.commit(Batch(NOW, claims=claims))
    assert (answer.lost, answer.unclaimed) == (set(), {1})
    assert storage.get(task_id(1)) == before
    assert status_of(storage, 2) == RUNNING


def test_a_lost_claim_does_not_double_what_else_the_batch_says(storage: Storage) -> None:
    insert(storage, record(1), record(2), record(3))
    claims = [Claim(seq=2, owner=77, expected=0), Claim(seq=3, owner=ME, expected=0)]
    answer = storage.commit(Batch(NOW, outcomes=[outcome(1, history=note(1))], claims=claims, history=[note(2)]))
    assert (answer.lost, answer.unclaimed) == (set(), {2})
    assert [row.status for row in rows(storage)] == [COMPLETED, QUEUED, RUNNING]
    assert [storage.history(task_id(n)) for n in (1, 2, 3)] == [[note(1)], [note(2)], []]


def test_what_ends_a_row_is_not_lost_because_a_claim_of_it_is(storage: Storage) -> None:
    insert(storage, record(1), record(2))
    claims = [Claim(seq=1, owner=77, expected=0), Claim(seq=2, owner=ME, expected=0)]
    batch = Batch(NOW, outcomes=[outcome(1)], cancels=[outcome(2, status=CANCELLED)], claims=claims)
    answer = storage.commit(batch)
    assert (answer.lost, answer.unclaimed) == (set(), {1, 2})
    assert [row.status for row in rows(storage)] == [COMPLETED, CANCELLED]


def test_history_is_told_oldest_first_and_in_the_order_it_was_written(storage: Storage) -> None:
    written = [note(1, "c", NOW + 2), note(1, "a", NOW), note(1, "b", NOW + 1), note(2), note(1, "d", NOW + 2)]
    storage.commit(Batch(NOW, history=written))
    assert [row.event for row in storage.history(task_id(1))] == ["a", "b", "c", "d"]
    assert storage.history(task_id(3)) == []


def test_history_keeps_rows_that_are_equal(storage: Storage) -> None:
    storage.commit(Batch(NOW, history=[note(1)] * 9))
    assert storage.history(task_id(1)) == [note(1)] * 9


# Lists and counts


@pytest.fixture
def listed(storage: Storage) -> Storage:
    root = task_id(1)
    insert(
        storage,
        record(3, status=FAILED, workflow=root, parent=root),
        record(1),
        record(2, type="other", workflow=root, parent=root),
        record(5, status=SCHEDULED),
        record(4, status=COMPLETED),
    )
    return storage


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), [1, 2, 3, 4, 5]),
        (Selection(limit=2), [1, 2]),
        (Selection(after=2), [3, 4, 5]),
        (Selection(after=2, limit=1), [3]),
        (Selection(statuses=[QUEUED, FAILED]), [1, 2, 3]),
        (Selection(statuses=frozenset({COMPLETED})), [4]),
        (Selection(statuses=()), []),
        (Selection(type=TYPE), [1, 3, 4, 5]),
        (Selection(workflow=task_id(1)), [1, 2, 3]),
        (Selection(workflow=task_id(3)), []),
        (Selection(workflow=task_id(1), type=TYPE, statuses=[FAILED], after=1), [3]),
    ],
)
def test_a_selection_lists_rows_by_seq(listed: Storage, selection: Selection, expected: list[int]) -> None:
    assert numbers(listed.select(selection)) == expected


def test_counts_are_by_status(listed: Storage) -> None:
    counted = listed.counts(NOW - 1)
    assert {status: n for status, n in counted.items() if n} == {SCHEDULED: 1, QUEUED: 2, COMPLETED: 1, FAILED: 1}


def test_what_is_due_counts_as_queued(listed: Storage) -> None:
    counted = listed.counts(NOW)
    assert {status: n for status, n in counted.items() if n} == {QUEUED: 3, COMPLETED: 1, FAILED: 1}


def test_what_waits_is_counted_by_type(listed: Storage) -> None:
    counted = {each.type: (each.ready, each.scheduled, each.oldest) for each in listed.waiting(NOW - 1, ())}
    everything = {each.type: each.ready + each.scheduled for each in listed.waiting(NOW, ())}
    assert sum(ready for ready, _, _ in counted.values()) == 2
    assert sum(later for _, later, _ in counted.values()) == 1
    assert sum(everything.values()) == 3


def test_what_waits_names_the_oldest_that_is_ready(storage: Storage) -> None:
    insert(storage, record(1, due=NOW - 5), record(2, due=NOW - 9), record(3, due=NOW + 5, status=SCHEDULED))
    assert storage.waiting(NOW, ()) == [Waiting(TYPE, 2, 1, NOW - 9)]
    assert storage.waiting(NOW, (2,)) == [Waiting(TYPE, 1, 1, NOW - 5)]
    assert storage.waiting(NOW, (1, 2)) == [Waiting(TYPE, 0, 1, None)]


def test_what_is_queued_is_ready_though_the_clock_was_set_back(storage: Storage) -> None:
    insert(storage, record(1, due=NOW))
    assert storage.waiting(NOW - 9, ()) == [Waiting(TYPE, 1, 0, NOW)]


def test_what_runs_or_has_ended_does_not_wait(storage: Storage) -> None:
    insert(storage, record(1), record(2))
    storage.commit(Batch(NOW, outcomes=[outcome(1)], claims=[Claim(2, ME, 0)]))
    assert storage.waiting(NOW, ()) == []


def test_an_empty_storage_counts_nothing(storage: Storage) -> None:
    assert sum(storage.counts(NOW).values()) == 0


# Retention


def test_what_ended_before_a_time_is_deleted_with_its_history(storage: Storage) -> None:
    insert(storage, *[record(n) for n in range(1, 5)])
    history = HistoryRow(task_id(1), NOW, "retry")
    ends = [outcome(1, finished=NOW - 9, history=history), outcome(2, finished=NOW), outcome(3, finished=NOW + 3)]
    storage.commit(Batch(NOW, outcomes=ends))
    assert storage.history(task_id(1)) == [history]
    sweep = storage.sweep(NOW, 0, 100)
    assert (sweep.last, sweep.deleted, sweep.oldest) == (None, 1, NOW)
    assert storage.get(task_id(1)) is None
    assert storage.history(task_id(1)) == []
    assert numbers(storage.select(Selection())) == [2, 3, 4]


def test_a_workflow_is_deleted_as_a_whole(storage: Storage) -> None:
    insert(
        storage,
        record(1),
        record(2, workflow=task_id(1), parent=task_id(1)),
        record(3, workflow=task_id(1), parent=task_id(2)),
        record(4),
        record(5, workflow=task_id(4), parent=task_id(4)),
    )
    storage.commit(Batch(NOW, outcomes=[outcome(n, finished=NOW - 9) for n in (1, 2, 4, 5)]))
    storage.sweep(NOW, 0, 100)
    assert numbers(storage.select(Selection())) == [1, 2, 3], "one task of it has not ended"
    storage.commit(Batch(NOW, outcomes=[outcome(3, finished=NOW)]))
    storage.sweep(NOW, 0, 100)
    assert numbers(storage.select(Selection())) == [1, 2, 3], "one task of it has only just ended"
    assert storage.sweep(NOW + 1, 2, 1).deleted == 3, "by whichever of its tasks it was found"
    assert storage.select(Selection()) == []


def test_what_has_not_ended_is_never_deleted(storage: Storage) -> None:
    insert(storage, record(1), record(2, status=SCHEDULED), record(3, status=RUNNING))
    sweep = storage.sweep(NOW * 2, 0, 100)
    assert (sweep.last, sweep.deleted, sweep.oldest) == (None, 0, None)
    assert numbers(storage.select(Selection())) == [1, 2, 3]


def test_the_id_and_the_key_of_a_deleted_task_are_free_again(storage: Storage) -> None:
    insert(storage, record(1, key="k"))
    storage.commit(Batch(NOW, outcomes=[outcome(1)]))
    storage.sweep(NOW * 2, 0, 100)
    again = record(2, id=task_id(1), key="k")
    insert(storage, again)
    assert storage.get(task_id(1)) == again


def test_steps_of_a_sweep_go_over_all_rows(storage: Storage) -> None:
    insert(storage, *[record(n) for n in range(1, 11)])
    storage.commit(Batch(NOW, outcomes=[outcome(n) for n in range(1, 11, 2)]))
    after: int | None = 0
    deleted = 0
    while after is not None:
        sweep = storage.sweep(NOW * 2, after, 3)
        after, deleted = sweep.last, deleted + sweep.deleted
    assert deleted == 5
    assert numbers(storage.select(Selection())) == [2, 4, 6, 8, 10]


# Many rows


def test_a_batch_of_thousands_is_written_as_its_rows_one_by_one(node: Node) -> None:
    storage = node()
    storage.open(NOW)
    insert(storage, *[record(n, key=f"k{n}") for n in range(1, 1001)])
    follow_ups = {n: [record(n + 5000, parent=task_id(n), key=f"f{n % 10}")] for n in range(1, 101)}
    ended = [
        outcome(n, expected=int(n == 500), follow_ups=follow_ups.get(n, ()), history=note(n) if n % 2 else None)
        for n in range(1, 1001)
    ]
    new = [record(n, key=f"k{n - 2000}" if n % 500 == 0 else None, tags=("t",) * (n % 2)) for n in range(2001, 4001)]
    answer = storage.commit(Batch(NOW, outcomes=ended, inserts=new, history=[note(n) for n in range(2001, 2301)]))
    assert answer.lost == {500}
    assert answer.taken.keys() == {task_id(n + 5000) for n in range(11, 101)} | {task_id(2500)}
    stored = rows(storage)
    assert numbers(stored) == [*range(1, 1001), *(n for n in range(2001, 4001) if n != 2500), *range(5001, 5011)]
    assert [row.status for row in stored[:1000]] == [QUEUED if n == 500 else COMPLETED for n in range(1, 1001)]
    assert stored[1000:2999] == [row for row in new if row.seq != 2500]
    assert [len(storage.history(task_id(n))) for n in (1, 2, 12, 13, 500, 501, 2300)] == [1, 0, 1, 2, 0, 1, 1]


# Room


def test_the_reserve_is_released_and_restored_and_commits_go_on(storage: Storage) -> None:
    assert storage.restore_reserve()
    for number in (1, 2):
        storage.release_reserve()
        insert(storage, record(number))
        assert storage.restore_reserve()
    assert numbers(rows(storage)) == [1, 2]


# Life of a storage


def test_a_closed_storage_refuses_commits(node: Node) -> None:
    storage = node()
    with pytest.raises(StorageUnavailable):
        storage.commit(Batch(NOW, inserts=[record(1)]))
    storage.open(NOW)
    storage.close()
    storage.close()
    with pytest.raises(StorageUnavailable):
        storage.commit(Batch(NOW, inserts=[record(1)]))


def test_an_open_storage_is_not_opened_twice(storage: Storage) -> None:
    with pytest.raises(StorageUnavailable, match="open already"):
        storage.open(NOW)
    insert(storage, record(1))


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_what_was_committed_is_there_after_the_next_start(node: Node, end: str) -> None:
    storage = node()
    first = storage.open(NOW)
    insert(storage, record(1), record(2))
    storage.commit(Batch(NOW, outcomes=[outcome(2, history=note(2))]))
    getattr(storage, end)()
    again = node()
    assert again.open(NOW) > first
    assert [row.status for row in rows(again)] == [QUEUED, COMPLETED]
    assert again.history(task_id(2)) == [note(2)]


def test_only_a_running_incarnation_is_alive(node: Node) -> None:
    first = node()
    number = first.open(NOW)
    assert first.alive(number)
    assert not first.alive(number + 1)
    first.abandon()
    second = node()
    assert second.alive(second.open(NOW))
    assert not second.alive(number)


# Adoption


def restart(node: Node, *records: Record, end: str = "abandon") -> Storage:
    """Leave rows behind in one incarnation, and open the next."""
    storage = node()
    me = storage.open(NOW)
    for row in records:
        row.owner = me
    insert(storage, *records)
    getattr(storage, end)()
    heir = node()
    heir.open(NOW)
    return heir


def waiting(storage: Storage, limit: int = 100) -> list[Record]:
    found: list[Record] = []
    while page := storage.ready([TYPE, "b"], FOREVER, {row.seq for row in found}, limit):
        assert len(page) <= limit
        found += page
    return found


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_what_an_incarnation_left_waiting_is_adopted_by_type(node: Node, end: str) -> None:
    left = [record(1), record(2, status=SCHEDULED, due=NOW - 1), record(3, status=COMPLETED), record(4, type="b")]
    heir = restart(node, *left, end=end)
    assert waiting(heir) == []
    adoption = heir.adopt([TYPE, "b", "never seen"], NOW)
    assert (adoption.waiting, adoption.interrupted, adoption.unhandled) == ({TYPE: 2, "b": 1}, 0, {})
    assert numbers(waiting(heir)) == [2, 1, 4]
    assert heir.get(task_id(1)) == left[0]


def test_types_without_a_handler_stay_as_they_are_and_are_counted(node: Node) -> None:
    heir = restart(node, record(1), record(2, type="b"), record(3, type="b", status=RUNNING))
    adoption = heir.adopt([TYPE], NOW)
    assert (adoption.waiting, adoption.interrupted, adoption.unhandled) == ({TYPE: 1}, 0, {"b": 2})
    assert numbers(waiting(heir)) == [1]
    assert [(row.status, row.owner) for row in rows(heir)] == [(QUEUED, 1), (QUEUED, 1), (RUNNING, 1)]


def test_what_was_running_in_a_crash_is_queued_again_as_suspect(node: Node) -> None:
    heir = restart(node, record(1, status=RUNNING, attempt=2, crashes=1, due=NOW - 5), record(2))
    adoption = heir.adopt([TYPE], NOW + 7)
    assert (adoption.waiting, adoption.interrupted) == ({TYPE: 2}, 1)
    first, second = waiting(heir)
    assert first == record(1, owner=2, attempt=2, crashes=2, suspect=True, due=NOW - 5)
    assert second == record(2, owner=1)
    (row,) = heir.history(task_id(1))
    assert (row.event, row.at, row.attempt) == ("recovered", NOW + 7, 3)
    assert "incarnation 1 died" in row.detail


def test_what_was_running_at_a_clean_end_counts_no_crash(node: Node) -> None:
    heir = restart(node, record(1, status=RUNNING), end="close")
    assert heir.adopt([TYPE], NOW).interrupted == 1
    assert waiting(heir) == [record(1, owner=2, suspect=True)]
    (row,) = heir.history(task_id(1))
    assert (row.event, "stopped" in row.detail) == ("recovered", True)


def test_a_claimed_row_is_no_longer_in_the_pages(node: Node) -> None:
    heir = restart(node, record(1), record(2, status=RUNNING), record(3))
    heir.adopt([TYPE], NOW)
    claims = [Claim(seq=row.seq, owner=row.owner, expected=row.attempt) for row in waiting(heir)[:2]]
    assert heir.commit(Batch(NOW, claims=claims)).unclaimed == set()
    assert numbers(waiting(heir)) == [3]


def test_a_suspect_is_one_until_an_attempt_has_ended(node: Node) -> None:
    heir = restart(node, record(1, status=RUNNING), record(2, status=RUNNING))
    heir.adopt([TYPE], NOW)
    retried = outcome(1, owner=2, status=SCHEDULED, finished=None)
    given_back = outcome(2, owner=2, status=QUEUED, attempt=0, finished=None)
    assert heir.commit(Batch(NOW, outcomes=[retried, given_back])).lost == set()
    assert [row.suspect for row in rows(heir)] == [False, True]


def test_the_former_owner_can_no_longer_end_what_was_recovered(node: Node) -> None:
    heir = restart(node, record(1, status=RUNNING))
    heir.adopt([TYPE], NOW)
    assert heir.commit(Batch(NOW, outcomes=[outcome(1)])).lost == {1}
    assert heir.commit(Batch(NOW, outcomes=[outcome(1, owner=2)])).lost == set()


def test_a_second_pass_finds_only_what_is_new(node: Node) -> None:
    heir = restart(node, record(1), record(2, type="b"), record(3, type="c"))
    assert heir.adopt([TYPE], NOW).waiting == {TYPE: 1}
    again = heir.adopt([TYPE], NOW)
    assert (again.waiting, again.interrupted, again.unhandled) == ({}, 0, {"b": 1, "c": 1})
    more = heir.adopt([TYPE, "b"], NOW)
    assert (more.waiting, more.unhandled) == ({"b": 1}, {"c": 1})
    assert numbers(waiting(heir)) == [1, 2]


def test_adoption_goes_over_any_number_of_dead_generations(node: Node) -> None:
    second = restart(node, record(1), record(2), record(3, status=RUNNING), record(4))
    second.adopt([TYPE], NOW)
    second.commit(Batch(NOW, claims=[Claim(seq=1, owner=1, expected=0)], inserts=[record(5, owner=2)]))
    second.abandon()
    third = node()
    me = third.open(NOW)
    adoption = third.adopt([TYPE], NOW)
    assert (adoption.waiting, adoption.interrupted) == ({TYPE: 5}, 1)
    assert [(row.seq, row.owner, row.crashes) for row in waiting(third)] == [
        (1, me, 1),
        (2, 1, 0),
        (3, 2, 1),
        (4, 1, 0),
        (5, 2, 0),
    ]


def test_nothing_to_adopt_is_no_error(storage: Storage) -> None:
    insert(storage, record(1))
    adoption = storage.adopt([TYPE], NOW)
    assert (adoption.waiting, adoption.interrupted, adoption.unhandled) == ({}, 0, {})
    assert numbers(waiting(storage)) == [1]


def test_a_page_has_what_is_due_of_the_wanted_types_and_is_not_in_hand(storage: Storage) -> None:
    later = {"status": SCHEDULED, "due": NOW + 5}
    insert(storage, record(1), record(2, type="b"), record(3, **later), record(4), record(5, status=COMPLETED))
    assert numbers(storage.ready([TYPE], NOW, (), 9)) == [1, 4]
    assert numbers(storage.ready([TYPE], NOW + 5, {1}, 9)) == [4, 3]
    assert numbers(storage.ready([TYPE, "b"], NOW, (), 2)) == [1, 2]
    assert storage.ready(["never seen"], NOW, (), 9) == []


def test_the_urgent_comes_first_whatever_else_of_its_priority_is_not_due(storage: Storage) -> None:
    insert(
        storage,
        record(1, priority=-1),
        record(2, status=SCHEDULED, due=NOW + 5),
        record(3, priority=7, due=NOW - 1),
        record(4, priority=7, due=NOW - 2),
    )
    assert numbers(storage.ready([TYPE], NOW, (), 9)) == [4, 3, 1]


def test_a_scheduled_page_has_what_is_due_after_a_time_in_order_of_time(storage: Storage) -> None:
    insert(
        storage,
        record(1),
        record(2, status=SCHEDULED, due=NOW + 5, priority=-9),
        record(3, status=SCHEDULED, due=NOW + 7, priority=9),
        record(4, status=SCHEDULED, due=NOW + 5),
        record(5, status=SCHEDULED, due=NOW + 6, type="b"),
    )
    assert numbers(storage.scheduled([TYPE, "b"], NOW, (), 9)) == [2, 4, 5, 3]
    assert numbers(storage.scheduled([TYPE], NOW + 5, (), 9)) == [3]
    assert numbers(storage.scheduled([TYPE], NOW, {2}, 1)) == [4]


def test_an_adopted_task_that_is_due_later_is_in_the_scheduled_pages(node: Node) -> None:
    heir = restart(node, record(1, status=SCHEDULED, due=NOW + 5), record(2, type="b", status=SCHEDULED, due=NOW + 6))
    assert heir.scheduled([TYPE, "b"], NOW, (), 9) == []
    heir.adopt([TYPE], NOW)
    assert numbers(heir.scheduled([TYPE, "b"], NOW, (), 9)) == [1]


def test_a_retry_that_waits_is_told_from_what_is_only_scheduled(storage: Storage) -> None:
    insert(storage, record(1, status=SCHEDULED, due=NOW + 5), record(2))
    assert not storage.retrying([TYPE])
    storage.commit(Batch(NOW, outcomes=[outcome(2, status=SCHEDULED, finished=None)]))
    assert storage.retrying([TYPE])
    assert not storage.retrying(["b"])


def test_a_retry_of_a_dead_node_counts_once_it_is_adopted(node: Node) -> None:
    heir = restart(node, record(1, status=SCHEDULED, attempt=1))
    assert not heir.retrying([TYPE])
    heir.adopt([TYPE], NOW)
    assert heir.retrying([TYPE])


waiting_rows = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(NOW, NOW + 3), st.sampled_from([SCHEDULED, QUEUED, RUNNING, FAILED])),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(drawn=waiting_rows, limit=st.integers(1, 7))
def test_ready_rows_come_page_by_page_in_their_order(drawn: list[tuple[int, int, int]], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for memory in (None, MemoryStorage()):
            heir = restart(
                lambda: memory or SqliteStorage(Path(folder, "t.db"), "process"),  # noqa: B023
                *[record(n, priority=p, due=d, status=s) for n, (p, d, s) in enumerate(drawn, 1)],
            )
            heir.adopt([TYPE], NOW)
            due = [min(d, NOW) if s == RUNNING else d for _, d, s in drawn]  # what was interrupted may start at once
            expected = sorted((-p, due[n - 1], n) for n, (p, _, s) in enumerate(drawn, 1) if s != FAILED)
            assert [(-row.priority, row.due, row.seq) for row in waiting(heir, limit)] == expected
            heir.close()


def test_what_was_interrupted_may_start_though_its_next_attempt_would_be_later(node: Node) -> None:
    heir = restart(node, record(1, status=RUNNING, attempt=1, due=NOW + 1000))
    heir.adopt([TYPE], NOW)
    assert [(row.seq, row.due) for row in heir.ready([TYPE], NOW, (), 9)] == [(1, NOW)]


def test_what_was_queued_may_start_though_the_clock_was_set_back(node: Node) -> None:
    later = NOW + 1000
    heir = restart(node, record(1, due=later, created=later), record(2, due=later, created=later, status=SCHEDULED))
    heir.adopt([TYPE], NOW)
    assert [row.seq for row in heir.ready([TYPE], NOW, (), 9)] == [1]
    assert [row.seq for row in heir.scheduled([TYPE], NOW, (), 9)] == [2]


def test_what_was_queued_after_it_was_created_may_start_though_the_clock_was_set_back(storage: Storage) -> None:
    """A saga that a commit has woken, say: the clock had shown that time."""
    storage.commit(Batch(NOW, inserts=[record(1, due=NOW, created=NOW - 1000)]))
    assert [row.seq for row in storage.ready([TYPE], NOW - 500, (), 9)] == [1]


def test_where_nobody_else_is_it_is_quiet_once_it_was_looked_at(storage: Storage) -> None:
    assert not storage.quiet()
    storage.adopt([TYPE], NOW)
    storage.quiet()
    assert storage.quiet()
