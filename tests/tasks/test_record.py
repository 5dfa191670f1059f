"""The row of a task, and the picture of it that users see."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.tasks import status
from everact.tasks.record import (
    HistoryEntry,
    HistoryRow,
    Record,
    TaskError,
    TaskRecord,
    instant,
    merge_history,
    public_record,
)
from everact.tasks.status import TaskStatus

CREATED = 1_767_225_600_000_000
LAST_SECOND = 253_402_300_799_000_000
MINE, PARENT, ROOT, FAILED_ONE = (UUID(int=n) for n in (1, 2, 3, 4))


def row(**columns: object) -> Record:
    usual: dict[str, object] = {
        "id": MINE.bytes,
        "type": "shop.Pay",
        "payload": b"{}",
        "due": CREATED,
        "created": CREATED,
    }
    return Record(**{**usual, **columns})  # type: ignore[arg-type]


def shown(record: Record, now: int = CREATED) -> TaskRecord:
    return public_record(record, None, now)


@given(st.integers(0, LAST_SECOND))
def test_an_instant_keeps_every_microsecond(microseconds: int) -> None:
    since_epoch = instant(microseconds) - datetime(1970, 1, 1, tzinfo=UTC)
    assert (since_epoch.days * 86_400 + since_epoch.seconds) * 1_000_000 + since_epoch.microseconds == microseconds
    assert instant(microseconds).tzinfo is UTC


def test_a_root_is_its_own_workflow() -> None:
    assert row().workflow_id == MINE.bytes
    assert shown(row()).workflow_id == MINE
    assert shown(row()).parent_id is None


def test_a_child_belongs_to_the_workflow_of_its_root() -> None:
    child = row(parent=PARENT.bytes, workflow=ROOT.bytes)
    assert child.workflow_id == ROOT.bytes
    assert (shown(child).workflow_id, shown(child).parent_id) == (ROOT, PARENT)


def test_a_picture_has_everything_that_the_row_has() -> None:
    error = TaskError("ValueError", "no")
    full = row(
        status=status.FAILED,
        parent=PARENT.bytes,
        workflow=ROOT.bytes,
        retry_of=FAILED_ONE.bytes,
        attempt=3,
        error=error,
        key="order-7",
        priority=-5,
        queue="slow",
        tags=("a", "b"),
        headers={"trace": "1"},
        due=CREATED + 1,
        started=CREATED + 2,
        finished=CREATED + 3,
        cancel_requested="typo",
        crashes=2,
        kind="cleanup",
    )
    assert public_record(full, "result", CREATED + 9) == TaskRecord(
        id=MINE,
        type="shop.Pay",
        status=TaskStatus.FAILED,
        workflow_id=ROOT,
        parent_id=PARENT,
        attempt=3,
        result="result",
        error=error,
        key="order-7",
        priority=-5,
        queue="slow",
        tags=("a", "b"),
        headers={"trace": "1"},
        due=instant(CREATED + 1),
        created=instant(CREATED),
        started=instant(CREATED + 2),
        finished=instant(CREATED + 3),
        retry_of=FAILED_ONE,
        cancel_requested="typo",
        crashes=2,
        kind="cleanup",
    )


def test_what_a_row_does_not_have_is_none_or_empty_in_the_picture() -> None:
    picture = shown(row())
    assert (picture.started, picture.finished, picture.retry_of, picture.error) == (None, None, None, None)
    assert (picture.key, picture.cancel_requested, picture.tags, picture.headers) == (None, None, (), {})


def test_changing_the_headers_of_a_picture_does_not_change_the_row() -> None:
    record = row(headers={"trace": "1"})
    shown(record).headers["trace"] = "2"
    assert record.headers == {"trace": "1"}


@pytest.mark.parametrize(
    ("now", "expected"),
    [(CREATED, TaskStatus.SCHEDULED), (CREATED + 10, TaskStatus.QUEUED), (CREATED + 11, TaskStatus.QUEUED)],
)
def test_a_scheduled_row_that_has_come_due_is_shown_as_queued(now: int, expected: TaskStatus) -> None:
    record = row(status=status.SCHEDULED, due=CREATED + 10)
    assert shown(record, now).status is expected
    assert record.status == status.SCHEDULED


@pytest.mark.parametrize("kept", [s for s in TaskStatus if s is not TaskStatus.SCHEDULED], ids=str)
def test_every_other_status_is_shown_as_it_is(kept: TaskStatus) -> None:
    assert shown(row(status=int(kept)), CREATED + 10).status is kept


def test_a_picture_is_frozen() -> None:
    with pytest.raises(AttributeError):
        shown(row()).attempt = 7  # type: ignore[misc]


def test_an_error_reads_as_type_and_message_with_a_failed_hook_beside_it() -> None:
    assert str(TaskError("ValueError", "no")) == "ValueError: no"
    beside = TaskError("ValueError", "no", hook="on_error", hook_error="KeyError: 'x'")
    assert str(beside) == "ValueError: no (on_error raised KeyError: 'x')"


def test_an_error_survives_the_way_storages_keep_it() -> None:
    error = TaskError("ValueError", "no", "Traceback ...", "on_completed", "KeyError: 'x'")
    assert msgspec.json.decode(msgspec.json.encode(error), type=TaskError) == error


# History


def test_the_history_of_a_plain_task_is_its_own_times() -> None:
    done = row(status=status.COMPLETED, attempt=1, started=CREATED + 5, finished=CREATED + 9)
    assert merge_history(done, []) == [
        HistoryEntry(instant(CREATED), "created"),
        HistoryEntry(instant(CREATED + 5), "started", 1),
        HistoryEntry(instant(CREATED + 9), "completed", 1),
    ]


def test_a_task_that_waits_has_only_been_created() -> None:
    assert [entry.event for entry in merge_history(row(), [])] == ["created"]


def test_a_running_first_attempt_is_attempt_one() -> None:
    running = row(status=status.RUNNING, attempt=0, started=CREATED + 5)
    assert merge_history(running, [])[1] == HistoryEntry(instant(CREATED + 5), "started", 1)


@pytest.mark.parametrize("end", [s for s in TaskStatus if s.terminal], ids=str)
def test_the_last_entry_says_how_it_ended_and_with_which_error(end: TaskStatus) -> None:
    error = TaskError("ValueError", "no")
    ended = row(status=int(end), attempt=4, error=error, finished=CREATED + 9)
    assert merge_history(ended, [])[-1] == HistoryEntry(instant(CREATED + 9), str(end), 4, "ValueError: no")


def test_what_was_out_of_the_ordinary_stands_between_the_times_of_the_record() -> None:
    rows = [
        HistoryRow(MINE.bytes, CREATED + 7, "cancel_requested", 2, "typo"),
        HistoryRow(MINE.bytes, CREATED + 3, "retry", 1, "OSError: gone"),
    ]
    ended = row(status=status.CANCELLED, attempt=2, started=CREATED + 5, finished=CREATED + 9)
    assert [(entry.event, entry.attempt, entry.detail) for entry in merge_history(ended, rows)] == [
        ("created", 0, ""),
        ("retry", 1, "OSError: gone"),
        ("started", 2, ""),
        ("cancel_requested", 2, "typo"),
        ("cancelled", 2, ""),
    ]


@given(st.lists(st.integers(0, 20)))
def test_a_history_is_in_order_of_time_and_loses_no_row(moments: list[int]) -> None:
    rows = [HistoryRow(MINE.bytes, CREATED + moment, "retry", n) for n, moment in enumerate(moments)]
    entries = merge_history(row(status=status.COMPLETED, started=CREATED + 10, finished=CREATED + 20), rows)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert sorted(entry.attempt for entry in entries if entry.event == "retry") == list(range(len(moments)))
    assert entries[0].event == "created"
    assert len(entries) == len(rows) + 3
