"""Who waits for which task, also when another node ends it."""

from __future__ import annotations

from typing import Any

from everact.actors.baton import AnyWaiter
from everact.actors.watchers import LOOKED_AT, Watchers
from everact.tasks.record import Record
from everact.tasks.status import COMPLETED, QUEUED


class Settled:
    """Stands for a waiter."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def settle(self, answer: Any) -> None:
        self.answers.append(answer)


def waiter() -> Any:
    return Settled()


def row(number: int, status: int = COMPLETED) -> Record:
    return Record(id=number.to_bytes(16, "big"), type="t", payload=b"", due=0, created=0, status=status)


def waiting(*numbers: int) -> tuple[Watchers, list[Any]]:
    watchers, waiters = Watchers(), [waiter() for _ in numbers]
    for number, each in zip(numbers, waiters, strict=True):
        watchers.add(row(number).id, each)
    return watchers, waiters


def test_everybody_who_waits_for_a_task_is_told_its_end_once() -> None:
    watchers, (first, second, other) = waiting(1, 1, 2)
    assert watchers.tell(row(1)) == [first, second]
    assert watchers.tell(row(1)) == []
    assert (first.answers, other.answers) == ([row(1)], [])


def test_who_has_given_up_is_not_told() -> None:
    watchers, (first, second) = waiting(1, 1)
    watchers.remove(row(1).id, first)
    watchers.remove(row(9).id, first)
    assert len(watchers) == 1
    assert watchers.tell(row(1)) == [second]


def test_the_end_of_a_task_in_other_hands_is_looked_up() -> None:
    rows = {record.id: record for record in (row(1), row(2, QUEUED), row(3))}
    watchers, (first, second, third, unknown) = waiting(1, 2, 3, 4)
    mine: Any = {row(3).id: object()}
    assert watchers.look(mine, rows.get) == [first]
    assert [each.answers for each in (second, third, unknown)] == [[], [], []]


def test_many_are_looked_at_in_turns() -> None:
    numbers = range(2 * LOOKED_AT + 5)
    watchers, _ = waiting(*numbers)
    asked: list[bytes] = []
    for _ in range(3):
        before = len(asked)
        watchers.look({}, asked.append)
        assert len(asked) - before <= LOOKED_AT
    assert sorted(asked) == [row(number).id for number in numbers]


def test_all_can_be_taken_out_at_the_end() -> None:
    watchers, waiters = waiting(1, 2, 2)
    left: list[AnyWaiter] = watchers.take_all()
    assert sorted(map(id, left)) == sorted(map(id, waiters))
    assert len(watchers) == 0
