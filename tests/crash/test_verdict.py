"""What the ledger and the records say together, class by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everact import TaskStatus
from ledger import (
    Acknowledged,
    Born,
    CancelAnswered,
    CancelIntended,
    Complained,
    Intended,
    Ledger,
    Line,
    Started,
    read_ledger,
)
from rows import Row
from verdict import Verdict, classify

COMPLETED, FAILED, CANCELLED = TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED
SAID: list[Line] = [Intended(1, ("a",)), Acknowledged(1, ("a",), ("id-a",))]


def row(name: str, status: TaskStatus = COMPLETED, kind: str = "Plain", **fields: Any) -> Row:
    payload = {"name": name, "failures": fields.pop("failures", 0)}
    return Row(**{"id": f"id-{name}", "kind": kind, "status": status, "payload": payload, **fields})


def steps(name: str, *roles: str) -> list[Row]:
    return [row(f"{name}/{role}", kind="Step", parent=f"id-{name}") for role in roles]


def whole(name: str, **fields: Any) -> list[Row]:
    return [row(name, **fields), *steps(name, "inside", "after")]


def found(lines: list[Line], rows: list[Row]) -> dict[str, int]:
    """How much there is of each class of which there must be nothing."""
    return {name: len(sentences) for name, sentences in classify(lines, rows).wrongs.items() if sentences}


def test_an_acknowledged_task_with_its_continuations_is_as_it_should_be() -> None:
    verdict = classify(SAID, whole("a"))
    assert verdict == Verdict(records=3, acknowledged=1)
    assert verdict.clean


def test_an_acknowledged_task_without_a_record_is_lost() -> None:
    assert found(SAID, []) == {"lost": 1}


@pytest.mark.parametrize("status", [TaskStatus.SCHEDULED, TaskStatus.QUEUED, TaskStatus.RUNNING])
def test_a_task_that_has_not_ended_is_lost(status: TaskStatus) -> None:
    assert found(SAID, [row("a", status)]) == {"lost": 1}


def test_a_continuation_that_a_completed_task_lacks_is_lost() -> None:
    assert found(SAID, whole("a")[:2]) == {"lost": 1}


def test_a_follow_up_of_a_retry_that_is_not_there_is_lost() -> None:
    flaky = [row("a", kind="Flaky", failures=2), *steps("a", "inside", "after", "retry-1")]
    assert found(SAID, flaky) == {"lost": 1}
    assert found(SAID, [*flaky, *steps("a", "retry-2")]) == {}


def test_a_task_acknowledged_under_the_id_of_another_is_lost_unless_that_one_holds_its_key() -> None:
    lines: list[Line] = [*SAID, Intended(1, ("b",)), Acknowledged(1, ("b",), ("id-a",))]
    assert found(lines, whole("a")) == {"lost": 1}
    assert found(lines, whole("a", key="k")) == {}


def test_a_record_that_nobody_intended_is_unexpected() -> None:
    assert found([], whole("a")) == {"unexpected": 1}


def test_a_continuation_of_a_task_that_did_not_complete_is_unexpected() -> None:
    lines = [*SAID, CancelIntended(1, "id-a")]
    assert found(lines, [row("a", CANCELLED), *steps("a", "inside")]) == {"unexpected": 1}


def test_a_continuation_without_its_parent_is_unexpected() -> None:
    assert found([], steps("a", "inside")) == {"unexpected": 1}


def test_two_records_for_one_intent_are_duplicated() -> None:
    twin = [row("a", id="id-b"), *(row(f"a/{role}", kind="Step", parent="id-b") for role in ("inside", "after"))]
    assert "duplicated" in found(SAID, [*whole("a"), *twin])


def test_two_records_for_one_continuation_are_duplicated() -> None:
    twin = row("a/inside", kind="Step", parent="id-a", id="id-twin")
    assert found(SAID, [*whole("a"), twin]) == {"duplicated": 1}


def test_a_task_that_a_later_process_finished_is_recovered() -> None:
    first, second = Started(1, "id-a", 1, 0.0), Started(2, "id-a", 1, 0.0)
    assert classify([*SAID, first], whole("a")).recovered == 0
    assert classify([*SAID, first, second], whole("a")).recovered == 1
    assert classify([*SAID, second], [row("a", TaskStatus.QUEUED)]).recovered == 0


def test_what_a_call_left_that_did_not_return_is_counted_and_allowed() -> None:
    intended = Intended(1, ("a",))
    assert classify([intended], whole("a")) == Verdict(records=3, unacknowledged=1)
    assert classify([intended], []) == Verdict(absent=1)


def test_an_attempt_that_was_begun_twice_is_counted_and_allowed() -> None:
    begun = [Started(1, "id-a", 1, 0.0), Started(2, "id-a", 1, 0.0), Started(2, "id-a", 2, 0.0)]
    verdict = classify([*SAID, *begun], whole("a"))
    assert (verdict.clean, verdict.repeated) == (True, 1)


def test_a_part_of_what_was_dispatched_together_is_torn() -> None:
    together = Intended(1, ("a", "b"))
    assert found([together], whole("a")) == {"torn": 1}
    assert found([together], [*whole("a"), *whole("b")]) == {}
    assert found([together], []) == {}


def test_a_start_after_an_acknowledged_cancel_is_disobedience() -> None:
    cancel, start = CancelAnswered(1, "id-a", "cancelled"), Started(2, "id-a", 1, 0.0)
    lines = [*SAID, CancelIntended(1, "id-a")]
    assert found([*lines, cancel, start], [row("a", CANCELLED)]) == {"disobeyed": 1}
    # A crash may have forgotten an attempt that had begun, before another process cancelled.
    assert found([*lines, start, cancel], [row("a", CANCELLED)]) == {}


def test_an_acknowledged_cancel_that_did_not_cancel_is_disobedience() -> None:
    lines = [*SAID, CancelIntended(1, "id-a"), CancelAnswered(1, "id-a", "cancelled")]
    assert found(lines, whole("a")) == {"disobeyed": 1}


def test_a_cancel_that_was_only_signalled_may_come_too_late() -> None:
    lines = [*SAID, CancelIntended(1, "id-a"), CancelAnswered(1, "id-a", "signalled"), Started(1, "id-a", 1, 0.0)]
    assert found(lines, whole("a")) == {}


@pytest.mark.parametrize("status", [CANCELLED, TaskStatus.QUARANTINED])
def test_an_end_that_nothing_called_for_is_wrong(status: TaskStatus) -> None:
    assert found(SAID, [row("a", status)]) == {"wrong": 1}


def test_a_task_fails_if_and_only_if_all_its_attempts_do() -> None:
    failed = steps("a", "alert", "retry-1", "retry-2")
    assert found(SAID, [row("a", FAILED, "Flaky", failures=3), *failed]) == {}
    assert found(SAID, [row("a", FAILED, "Flaky", failures=2), *failed]) == {"wrong": 1}


def test_a_call_that_raised_is_a_complaint() -> None:
    assert found([Complained(1, "no room")], []) == {"complaints": 1}


def test_only_processes_that_were_killed_count_as_lives() -> None:
    assert classify([Born(1, True, 0.0), Born(2, False, 0.0)], []).lives == 1


def test_the_verdict_shows_every_count_and_the_first_sentences_of_what_is_wrong() -> None:
    lines = [Acknowledged(1, (f"n{number}",), (f"id-{number}",)) for number in range(1000, 3000)]
    shown = str(classify(lines, []))
    assert shown.startswith("lost 2,000, unexpected 0, duplicated 0")
    assert "n1000 was acknowledged as id-1000, of which there is no record" in shown
    assert len(shown.splitlines()) == 6


def test_a_line_that_a_kill_has_cut_off_was_never_written_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines: list[Line] = [Born(1, True, 0.5), *SAID, Complained(1, "torn\n\u2028")]
    assert read_ledger(path) == []
    ledger = Ledger(path)
    for line in lines:
        ledger.write(line)
    with path.open("ab") as file:
        file.write(b'\n{"type":"intended","li')
    ledger.write(Born(2, True, 1.5))
    ledger.close()
    assert read_ledger(path) == [*lines, Born(2, True, 1.5)]
