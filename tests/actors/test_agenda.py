"""The agenda: the nearest due times in memory, the rest in storage, and nothing between the two is lost."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from everact.actors.agenda import Agenda
from everact.actors.ticket import CANCELLED, Ticket
from everact.tasks.record import Record

POOL: Any = None
BOUND = 8


def ticket(due: int, seq: int = 0, priority: int = 0) -> Ticket:
    return Ticket(Record(id=b"", type="t", payload=b"", due=due, created=0, seq=seq, priority=priority), POOL)


def seqs(tickets: list[Ticket]) -> list[int]:
    return [each.record.seq for each in tickets]


def test_what_is_due_comes_out_in_order_of_time_then_urgency_then_arrival() -> None:
    agenda = Agenda()
    assert agenda.add([ticket(5, 1), ticket(3, 2), ticket(5, 3, priority=9), ticket(9, 4), ticket(3, 5)]) == []
    assert agenda.next_due(0) == 3
    assert seqs(agenda.take_due(5)) == [2, 5, 3, 1]
    assert agenda.next_due(5) == 9


def test_what_was_cancelled_does_not_come_out() -> None:
    agenda, gone = Agenda(), ticket(1, 1)
    agenda.add([gone, ticket(1, 2)])
    gone.leave_queue(CANCELLED)
    assert seqs(agenda.take_due(1)) == [2]


def test_an_empty_agenda_has_no_next_time() -> None:
    assert Agenda().next_due(0) is None
    assert Agenda().take_due(1) == []


def test_the_later_half_is_left_in_storage_when_there_is_too_much() -> None:
    agenda = Agenda(BOUND)
    left = agenda.add([ticket(due, due) for due in range(1, BOUND + 2)])
    assert seqs(left) == [5, 6, 7, 8, 9]
    assert (len(agenda), agenda.horizon) == (4, 4)
    assert seqs(agenda.add([ticket(4, 40), ticket(5, 50)])) == [50]


def test_cancelled_tickets_make_room_before_any_is_left_in_storage() -> None:
    agenda = Agenda(BOUND)
    tickets = [ticket(due, due) for due in range(BOUND)]
    agenda.add(tickets)
    for gone in tickets[::2]:
        gone.leave_queue(CANCELLED)
    assert agenda.add([ticket(99, 99)]) == []
    assert (len(agenda), agenda.horizon) == (5, math.inf)


def test_tasks_that_are_scheduled_and_cancelled_over_and_over_do_not_pile_up() -> None:
    agenda = Agenda()
    for _ in range(5000):
        debounced = ticket(1000)
        agenda.add([debounced])
        debounced.leave_queue(CANCELLED)
    assert len(agenda) < 1100


def test_a_page_is_wanted_when_little_is_left_or_the_horizon_is_reached() -> None:
    agenda = Agenda(BOUND)
    agenda.add([ticket(due, due) for due in range(1, BOUND + 2)])
    assert not agenda.wants_page(4)
    assert agenda.wants_page(5)
    agenda.take_due(2)
    assert agenda.wants_page(2)
    assert agenda.next_due(2) == 3


def test_a_horizon_that_was_reached_wakes_nobody_until_a_page_has_moved_it() -> None:
    agenda = Agenda(BOUND)
    agenda.add([ticket(due, due) for due in range(1, BOUND + 2)])
    assert agenda.horizon == 4
    agenda.take_due(4)
    assert (agenda.next_due(4), agenda.next_due(5)) == (5, None)


def test_a_horizon_that_an_adoption_brought_nearer_is_not_moved_away_by_what_is_here() -> None:
    agenda = Agenda(BOUND)
    agenda.add([ticket(1000 + n, n) for n in range(BOUND)])
    agenda.horizon = 10  # adopted: what is due between 10 and 1000 may be in storage
    page = [ticket(11 + n, 100 + n) for n in range(agenda.page_size)]
    agenda.extend(page, page[-1].record.due)
    assert agenda.horizon == page[-1].record.due - 1


def test_a_page_moves_the_horizon_and_the_last_one_takes_it_away() -> None:
    agenda = Agenda(BOUND)
    agenda.add([ticket(due, due) for due in range(1, BOUND + 2)])
    agenda.take_due(4)
    assert agenda.extend([ticket(5, 5), ticket(6, 6), ticket(6, 7)], 6) == []
    assert agenda.horizon == 5
    assert agenda.beyond(5) == {6, 7}
    agenda.extend([ticket(9, 9)], None)
    assert agenda.horizon == math.inf


class World:
    """An agenda with the storage behind it, and the pools that look there for what is due."""

    def __init__(self) -> None:
        self.agenda = Agenda(BOUND)
        self.stored: dict[int, Ticket] = {}
        self.resident: set[int] = set()
        self.out: list[int] = []
        self.now = 0

    def add(self, due: int) -> None:
        new = ticket(self.now + 1 + due, len(self.stored) + len(self.out) + 1)
        self.stored[new.record.seq] = new
        self.resident.add(new.record.seq)
        self.leave(self.agenda.add([new]))

    def leave(self, tickets: list[Ticket]) -> None:
        self.resident -= set(seqs(tickets))

    def pass_time(self, steps: int) -> None:
        for _ in range(steps):
            self.now += 1
            due = self.agenda.next_due(self.now - 1)
            assert due is None or due >= self.now, "it would have been woken before"
            self.hand_over(seqs(self.agenda.take_due(self.now)))
            if self.agenda.wants_page(self.now):
                self.page()

    def page(self) -> None:
        agenda = self.agenda
        if self.now > agenda.horizon:
            self.hand_over([s for s, t in self.stored.items() if t.record.due <= self.now and s not in self.resident])
            agenda.horizon = self.now
        after = int(agenda.horizon)
        skip = agenda.beyond(after)
        waiting = sorted((t.record.due, s) for s, t in self.stored.items() if t.record.due > after and s not in skip)
        rows = [seq for _, seq in waiting[: agenda.page_size]]
        self.resident.update(rows)
        full = len(rows) == agenda.page_size
        last = self.stored[rows[-1]].record.due if full else None
        self.leave(agenda.extend([ticket(self.stored[seq].record.due, seq) for seq in rows], last))

    def hand_over(self, due: list[int]) -> None:
        self.out += due
        for seq in due:
            assert self.stored.pop(seq).record.due == self.now, "it is handed over when it is due, and once"
            self.resident.discard(seq)


@given(st.lists(st.integers(0, 12) | st.tuples(st.integers(1, 4)), max_size=120))
def test_everything_comes_out_when_it_is_due_however_much_there_is(steps: list[int | tuple[int]]) -> None:
    world = World()
    for step in steps:
        if isinstance(step, tuple):
            world.pass_time(step[0])
        else:
            world.add(step)
        assert len(world.agenda) <= BOUND
    world.pass_time(20)
    assert world.stored == {}
    assert len(set(world.out)) == len(world.out)
