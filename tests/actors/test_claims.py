"""Which adopted task starts next: suspects alone, the others a window at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from everact.actors.claims import ALONE_SECONDS, WIDEST_WINDOW, Claims
from everact.actors.ticket import CANCELLED, Ticket
from everact.tasks.record import Record


def pool(concurrency: int = 2) -> Any:
    made = SimpleNamespace(spec=SimpleNamespace(concurrency=concurrency), stalled=False)
    return _Hashable(made)


class _Hashable:
    def __init__(self, inner: SimpleNamespace) -> None:
        self.spec, self.stalled = inner.spec, inner.stalled


def tickets(of: Any, *numbers: int, suspect: bool = False) -> list[Ticket]:
    return [
        Ticket(Record(id=bytes([n]), type="t", payload=b"", due=0, created=0, seq=n, suspect=suspect), of)
        for n in numbers
    ]


def seqs(chosen: list[Ticket]) -> list[int]:
    return [each.record.seq for each in chosen]


def test_as_many_are_claimed_as_the_handler_has_cells() -> None:
    claims, two, one = Claims(), pool(2), pool(1)
    claims.add([*tickets(two, 1, 2, 3), *tickets(one, 4, 5)])
    assert seqs(claims.next(0)) == [1, 2, 4]
    assert claims.next(0) == []
    assert (claims.waiting(two), claims.waiting(one)) == (1, 1)


def test_the_window_doubles_after_each_that_ended_well_up_to_a_limit() -> None:
    claims, small = Claims(), pool(1)
    claims.add(tickets(small, *[1] * 2000))
    sizes = []
    while chosen := claims.next(0):
        sizes.append(len(chosen))
        for each in chosen:
            claims.ended(each)
    assert sizes[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(sizes[9:-1]) == {WIDEST_WINDOW}
    assert sum(sizes) == 2000
    assert not claims


def test_suspects_run_one_at_a_time() -> None:
    claims, here = Claims(), pool(9)
    claims.add(tickets(here, 1, 2, suspect=True))
    (first,) = claims.next(0)
    assert claims.next(100) == []
    claims.ended(first)
    assert seqs(claims.next(101)) == [2]


def test_a_suspect_has_its_first_second_to_itself() -> None:
    claims, here = Claims(), pool(9)
    claims.add([*tickets(here, 1), *tickets(here, 2, suspect=True)])
    assert seqs(claims.next(0)) == [2]
    assert claims.seconds_alone(0.25) == ALONE_SECONDS - 0.25
    assert claims.next(ALONE_SECONDS - 0.01) == []
    assert seqs(claims.next(ALONE_SECONDS)) == [1]


def test_the_others_start_as_soon_as_the_last_suspect_has_ended() -> None:
    claims, here = Claims(), pool(9)
    claims.add([*tickets(here, 1), *tickets(here, 2, suspect=True)])
    (suspect,) = claims.next(0)
    claims.ended(suspect)
    assert seqs(claims.next(0.01)) == [1]
    assert not claims


def test_what_was_cancelled_is_not_claimed() -> None:
    claims, here = Claims(), pool(1)
    gone, suspect = tickets(here, 1)[0], tickets(here, 2, suspect=True)[0]
    claims.add([gone, *tickets(here, 3), suspect, *tickets(here, 4, suspect=True)])
    gone.leave_queue(CANCELLED)
    suspect.leave_queue(CANCELLED)
    assert seqs(claims.next(0)) == [4]
    assert seqs(claims.next(ALONE_SECONDS)) == [3]


def test_a_pool_that_starts_nothing_claims_nothing_and_holds_nobody_up() -> None:
    claims, stuck, free = Claims(), pool(1), pool(1)
    stuck.stalled = True
    claims.add([*tickets(stuck, 1, 2, suspect=True), *tickets(stuck, 3), *tickets(free, 4, suspect=True)])
    assert seqs(claims.next(0)) == [4]
    assert claims.next(ALONE_SECONDS) == []
    stuck.stalled = False
    claims.ended(tickets(free, 4)[0])
    assert seqs(claims.next(2)) == [1]
