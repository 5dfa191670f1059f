"""Tickets and deliveries: who may move one, when many try."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from everact.actors.ticket import CANCELLED, DONE, QUEUED, STARTED, Delivery, Ticket, Tickets, current_delivery
from everact.tasks.cancellation import CancelReason
from everact.tasks.context import context_of
from everact.tasks.record import Record

ROUNDS, THREADS = 300, 4
POOL: Any = object()


class Cell:
    """Notes which deliveries it is asked to interrupt."""

    def __init__(self) -> None:
        self.interrupted: list[Delivery] = []

    def interrupt(self, delivery: Delivery) -> None:
        self.interrupted.append(delivery)


def ticket(number: int = 1) -> Ticket:
    record = Record(id=UUID(int=number).bytes, type="shop.Pay", payload=b"{}", due=0, created=0)
    return Ticket(record, POOL, "the task")


def delivery(of: Ticket, cell: Cell | None = None) -> Delivery:
    services: Any = SimpleNamespace(lock=threading.Lock())
    return Delivery(of, context_of(services, of.record, of.task), cell or Cell(), started=7)


def winners(contest: Callable[[], Callable[[int], bool]]) -> list[list[bool]]:
    """Let a few threads try the same move at the same moment, many times; return each round's answers.

    `contest` makes what one round is about, and returns what contender number n does.
    """
    rounds = []
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(ROUNDS):
            move, start = contest(), threading.Barrier(THREADS)

            def contender(n: int, move: Callable[[int], bool] = move, start: threading.Barrier = start) -> bool:
                start.wait(10)
                return move(n)

            rounds.append(list(threads.map(contender, range(THREADS), timeout=10)))
    return rounds


# Tickets


def test_a_fresh_ticket_is_queued_and_belongs_to_nobody() -> None:
    fresh = ticket()
    assert (fresh.state, fresh.delivery, fresh.unclaimed) == (QUEUED, None, False)
    assert (fresh.pool, fresh.task) == (POOL, "the task")


@pytest.mark.parametrize("state", [STARTED, CANCELLED, DONE])
def test_a_ticket_leaves_the_queue_once(state: Any) -> None:
    moved = ticket()
    assert moved.leave_queue(state)
    assert moved.state is state
    for other in (STARTED, CANCELLED, DONE):
        assert not moved.leave_queue(other)
    assert moved.state is state


def test_of_many_threads_exactly_one_takes_a_ticket_out_of_the_queue() -> None:
    def contest() -> Callable[[int], bool]:
        disputed = ticket()
        return lambda n: disputed.leave_queue(STARTED if n % 2 else CANCELLED)

    assert all(sorted(answers) == [False] * (THREADS - 1) + [True] for answers in winners(contest))


def test_the_state_is_the_one_that_the_winner_asked_for() -> None:
    disputed: list[Ticket] = []

    def contest() -> Callable[[int], bool]:
        disputed.append(ticket())
        return lambda n: disputed[-1].leave_queue(STARTED if n % 2 else CANCELLED)

    for answers, one in zip(winners(contest), disputed, strict=True):
        assert one.state is (STARTED if answers.index(True) % 2 else CANCELLED)


def test_the_successor_of_a_ticket_can_be_taken_again_and_decodes_anew() -> None:
    first = ticket()
    first.leave_queue(STARTED)
    following = first.successor()
    assert (following.record, following.pool, following.task) == (first.record, POOL, None)
    assert following.leave_queue(STARTED)


# Deliveries


def test_a_fresh_delivery_is_open_and_has_no_outcome() -> None:
    fresh = delivery(ticket())
    assert not fresh.closed
    assert (fresh.error, fresh.hook, fresh.hook_error, fresh.result) == (None, None, None, None)
    assert (fresh.abandoned, fresh.interruptible, fresh.started) == (False, False, 7)


def test_the_end_of_a_delivery_is_claimed_once() -> None:
    ending = delivery(ticket())
    assert ending.close()
    assert ending.closed
    assert not ending.close()


def test_of_many_threads_exactly_one_says_how_a_delivery_ended() -> None:
    def contest() -> Callable[[int], bool]:
        disputed = delivery(ticket())
        return lambda n: disputed.close()

    assert all(answers.count(True) == 1 for answers in winners(contest))


def test_a_signal_fires_the_token_and_interrupts_the_cell() -> None:
    cell = Cell()
    running = delivery(ticket(), cell)
    assert running.signal(CancelReason.TIMEOUT)
    assert running.ctx.cancellation.reason is CancelReason.TIMEOUT
    assert cell.interrupted == [running]


def test_a_signal_that_does_not_stand_interrupts_nobody() -> None:
    cell = Cell()
    running = delivery(ticket(), cell)
    running.signal(CancelReason.USER)
    assert not running.signal(CancelReason.TIMEOUT)
    assert running.ctx.cancellation.reason is CancelReason.USER
    assert cell.interrupted == [running]


def test_outside_of_handlers_nothing_is_being_delivered() -> None:
    assert current_delivery.get() is None


# The table


def test_a_table_is_idle_when_all_that_is_resident_waits_for_a_later_time() -> None:
    tickets, waiting, parked = Tickets(), ticket(1), ticket(2)
    assert tickets.idle
    tickets.resident[parked.record.id] = tickets.parked[parked.record.id] = parked
    assert tickets.idle
    tickets.resident[waiting.record.id] = waiting
    assert not tickets.idle


def test_only_started_tickets_are_running() -> None:
    tickets, states = Tickets(), [QUEUED, STARTED, CANCELLED, DONE]
    for number, state in enumerate(states):
        one = ticket(number)
        if state is not QUEUED:
            one.leave_queue(state)
        tickets.resident[one.record.id] = one
    assert [one.state for one in tickets.running()] == [STARTED]
