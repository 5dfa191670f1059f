"""Spill: a bounded mailbox that changes nothing about the order in which tasks run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.actors.pool_mailbox import ABOVE_ALL
from everact.actors.spill import LOW, Spill
from everact.actors.ticket import Ticket
from everact.tasks.record import Record
from everact.tasks.status import RUNNING

POOL: Any = None
HIGH = 4


def ticket(priority: int = 0, seq: int = 0, **fields: Any) -> Ticket:
    return Ticket(Record(id=b"", type="t", payload=b"", due=0, created=0, seq=seq, priority=priority, **fields), POOL)


def test_everything_fits_while_there_is_no_bound() -> None:
    tickets = [ticket() for _ in range(100)]
    assert Spill().fit(tickets, 10**6) == (tickets, [])


def test_what_is_over_the_mark_is_left_in_storage_and_what_follows_it_too() -> None:
    spill, tickets = Spill(HIGH), [ticket(seq=n) for n in range(3)]
    assert spill.fit(tickets, 2, 0) == (tickets[:2], tickets[2:])
    assert spill.fit(tickets, 0) == ([], tickets)


def test_what_is_more_urgent_than_all_that_was_left_is_let_in() -> None:
    spill = Spill(HIGH)
    spill.fit([ticket(1)], HIGH, 1)
    urgent, equal = ticket(2), ticket(1)
    assert spill.fit([urgent, equal], HIGH) == ([urgent], [equal])


def test_what_is_more_urgent_than_something_in_a_full_mailbox_is_let_in() -> None:
    spill, urgent, usual = Spill(HIGH), ticket(1), ticket(0)
    assert spill.fit([urgent, usual], HIGH, 0) == ([urgent], [usual])


def test_urgent_tasks_are_let_in_however_many_there_are_and_others_make_room() -> None:
    spill = Spill(HIGH)
    spill.fit([ticket()], HIGH, 0)
    urgent = [ticket(5) for _ in range(9)]
    assert spill.fit(urgent, HIGH) == (urgent, [])
    assert spill.leave(ticket(0))
    assert spill.rank == 0
    assert spill.leave(ticket(2))
    assert spill.rank == 2


@pytest.mark.parametrize("fields", [{"cancel_requested": "why"}, {"status": RUNNING}])
def test_what_no_page_has_does_not_make_room(fields: dict[str, Any]) -> None:
    spill = Spill(HIGH)
    assert not spill.leave(ticket(**fields))
    assert spill.rank is None


def test_a_cancel_between_two_attempts_is_let_in_at_once() -> None:
    spill, cancelled = Spill(HIGH), ticket(-9, cancel_requested="why")
    spill.open()
    assert spill.fit([cancelled], 99) == ([cancelled], [])


def test_a_task_that_was_claimed_is_let_in_as_no_page_has_it() -> None:
    spill, claimed = Spill(HIGH), ticket(-9, status=RUNNING)
    spill.open()
    assert spill.fit([claimed], 99) == ([claimed], [])


def test_while_anything_may_wait_in_storage_nothing_is_let_in() -> None:
    spill, new = Spill(HIGH), ticket(100)
    spill.open()
    assert spill.fit([new], 0) == ([], [new])


def test_a_page_says_how_urgent_the_rest_can_be() -> None:
    spill = Spill(HIGH)
    spill.open()
    spill.paged(3)
    above, same = ticket(4), ticket(3)
    assert spill.fit([above, same], 0) == ([above], [same])
    spill.paged(None)
    assert spill.fit([same], 0) == ([same], [])


@given(st.lists(st.integers(-2, 2) | st.just("take"), max_size=80))
def test_tasks_come_out_as_if_there_were_no_bound(steps: list[int | str]) -> None:
    """A mailbox with storage behind it, against one list in order."""
    spill, mailbox, storage = Spill(HIGH), list[tuple[int, int]](), list[tuple[int, int]]()
    model: list[tuple[int, int]] = []
    for number, step in enumerate([*steps, *["take"] * len(steps)]):
        if isinstance(step, int):
            new = ticket(step, number)
            model = sorted([*model, (-step, number)])
            kept, _ = spill.fit([new], len(mailbox), -max(mailbox, default=(0, 0))[0])
            target = mailbox if kept else storage
            target.append((-step, number))
            if len(mailbox) > 2 * HIGH:
                last = max(mailbox)
                mailbox.remove(last)
                storage.append(last)
                assert spill.leave(ticket(-last[0]))
        elif model:
            if spill.rank is not None and len(mailbox) <= spill.low:
                page = sorted(storage)[:2]
                mailbox += page
                storage = [row for row in storage if row not in page]
                spill.paged(-page[-1][0] if len(page) == 2 else None)
            mailbox.sort()
            assert mailbox.pop(0) == model.pop(0)
        assert len(mailbox) <= 2 * HIGH


def test_what_was_claimed_is_never_left_as_no_page_would_have_it() -> None:
    spill = Spill(HIGH)
    spill.open()
    claimed = ticket(-9, status=RUNNING)
    assert spill.fit([claimed], 9 * HIGH) == ([claimed], [])


def test_what_is_more_urgent_than_something_that_was_let_in_just_before_is_let_in_too() -> None:
    spill, full, urgent = Spill(HIGH), [ticket(-5) for _ in range(HIGH)], ticket(-1)
    assert spill.fit([*full, urgent], 0, ABOVE_ALL) == ([*full, urgent], [])


def test_a_page_is_read_when_half_is_left_and_of_a_large_mailbox_when_little_is() -> None:
    assert [Spill(high).low for high in (10, 1000, 10_000)] == [5, LOW, LOW]
