"""The mailbox that the cells of a pool share: by priority, then first in, first out."""

import threading
from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from everact.actors.pool_mailbox import ABOVE_ALL, PoolMailbox
from everact.actors.ticket import Ticket
from everact.tasks.record import Record

PRIORITIES = st.integers(-100, 100) | st.sampled_from([0, 0, -1, 1])
STEPS = st.lists(st.lists(PRIORITIES, max_size=6) | st.just("take"), max_size=40)
POOL: Any = None


def ticket(priority: int, number: int = 0) -> Ticket:
    record = Record(id=number.to_bytes(16, "big"), type="shop.Pay", payload=b"", due=0, created=0, priority=priority)
    return Ticket(record, POOL)


@given(STEPS)
def test_tickets_come_out_by_priority_and_within_one_in_the_order_of_arrival(steps: list[list[int] | str]) -> None:
    """Against a sorted list, with any mix of adding and taking."""
    mailbox, model, arrived = PoolMailbox(), list[tuple[int, int, Ticket]](), 0
    for step in steps:
        if isinstance(step, list):
            tickets = [ticket(priority) for priority in step]
            mailbox.extend(tickets)
            model += [(-t.record.priority, arrived + n, t) for n, t in enumerate(tickets)]
            arrived += len(tickets)
            model.sort(key=lambda entry: entry[:2])
        else:
            assert mailbox.take() is (model.pop(0)[2] if model else None)
        assert len(mailbox) == len(model)
    while model:
        assert mailbox.take() is model.pop(0)[2]
    assert mailbox.take() is None
    assert len(mailbox) == 0


def test_an_empty_mailbox_gives_nothing() -> None:
    mailbox = PoolMailbox()
    assert mailbox.take() is None
    mailbox.extend([])
    assert (mailbox.take(), len(mailbox)) == (None, 0)


def test_a_higher_priority_that_comes_later_goes_first() -> None:
    mailbox = PoolMailbox()
    low, usual, high = ticket(-100), ticket(0), ticket(100)
    mailbox.extend([low, usual])
    mailbox.extend([high])
    assert [mailbox.take() for _ in range(3)] == [high, usual, low]


def test_the_list_that_was_added_is_not_kept() -> None:
    mailbox, tickets = PoolMailbox(), [ticket(0), ticket(5)]
    mailbox.extend(tickets)
    tickets.clear()
    assert len(mailbox) == 2


def test_a_lane_that_another_cell_has_just_emptied_is_passed_over() -> None:
    class JustEmptied(deque[Ticket]):
        def __bool__(self) -> bool:
            return True

    mailbox, usual = PoolMailbox(), ticket(0)
    mailbox.extend([usual])
    mailbox._order = (JustEmptied(), *mailbox._order, JustEmptied())
    assert mailbox.take() is usual
    assert mailbox.take() is None


def test_many_cells_take_each_ticket_exactly_once_while_more_arrive() -> None:
    mailbox, count = PoolMailbox(), 6_000
    tickets = [ticket(n % 5 - 2, n) for n in range(count)]
    start, filled = threading.Barrier(5), threading.Event()
    taken: list[list[Ticket]] = [[] for _ in range(4)]

    def cell(mine: list[Ticket]) -> None:
        start.wait(10)
        while True:
            done = filled.is_set()  # asked before the mailbox, so that nothing can arrive between the two
            found = mailbox.take()
            if found is not None:
                mine.append(found)
            elif done:
                return

    cells = [threading.Thread(target=cell, args=(mine,), daemon=True) for mine in taken]
    for thread in cells:
        thread.start()
    start.wait(10)
    for first in range(0, count, 50):
        mailbox.extend(tickets[first : first + 50])
    filled.set()
    for thread in cells:
        thread.join(10)
    numbers = [int.from_bytes(t.record.id, "big") for mine in taken for t in mine]
    assert sorted(numbers) == list(range(count))
    for mine in taken:  # what one cell takes of one priority is in order of arrival
        for priority in range(-2, 3):
            lane = [t.record.id for t in mine if t.record.priority == priority]
            assert lane == sorted(lane)


def test_what_has_waited_through_a_crash_goes_before_the_others_of_its_priority_in_order() -> None:
    mailbox = PoolMailbox()
    usual, urgent, claimed = ticket(0), ticket(1), [ticket(0), ticket(0), ticket(0)]
    mailbox.extend([usual, urgent])
    mailbox.extend_first(claimed[:2])
    mailbox.extend_first(claimed[2:])
    assert [mailbox.take() for _ in range(5)] == [urgent, *claimed, usual]


def test_the_lowest_priority_is_that_of_the_tickets_that_are_there() -> None:
    mailbox = PoolMailbox()
    assert mailbox.lowest == ABOVE_ALL
    mailbox.extend([ticket(7)])
    mailbox.extend_first([ticket(-3)])
    assert mailbox.lowest == -3
    mailbox.take()
    mailbox.take()
    mailbox.extend([ticket(5)])
    assert mailbox.lowest == 5


def test_the_last_of_the_least_urgent_can_be_taken_out_again() -> None:
    mailbox = PoolMailbox()
    first, last, urgent, claimed = ticket(-1), ticket(-1), ticket(3), ticket(-1)
    mailbox.extend([first, last, urgent])
    mailbox.extend_first([claimed])
    assert [mailbox.drop_last() for _ in range(4)] == [last, first, urgent, None]
    assert mailbox.take() is claimed


def test_what_has_waited_through_a_crash_can_be_taken_out_again() -> None:
    mailbox = PoolMailbox()
    usual, claimed = ticket(0), [ticket(0), ticket(2)]
    mailbox.extend([usual])
    mailbox.extend_first(claimed)
    assert sorted(mailbox.take_first_lanes(), key=id) == sorted(claimed, key=id)
    assert (mailbox.take_first_lanes(), mailbox.take()) == ([], usual)
