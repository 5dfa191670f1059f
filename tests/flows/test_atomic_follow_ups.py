"""A follow-up exists if and only if the outcome that it belongs to does, whenever the process dies."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from everact import ActorSystem, TaskRecord, TaskStatus

pytestmark = pytest.mark.crash
DEADLY_ORDERS = (
    ["0", "1", "57", "200", "399"] if "EVERACT_LONG_TESTS" in os.environ else ["0", "200", "399"]
)  # make long
TERMINAL = {TaskStatus.COMPLETED, TaskStatus.FAILED}


def _records(database: str) -> list[TaskRecord]:
    """What is on disk, read by a system that handles nothing and so changes nothing."""
    with ActorSystem("inspector", storage=database) as system:
        return system.tasks(limit=10_000)


def _names(records: list[TaskRecord]) -> list[tuple[str, TaskStatus]]:
    return [(record.type.rpartition(".")[2], record.status) for record in records]


def _die(launch: Callable[..., Any], *arguments: str) -> None:
    code, _ = launch("continuing.py", *arguments).finish()
    assert code == -signal.SIGKILL


def _recover(launch: Callable[..., Any], database: str) -> None:
    code, _ = launch("continuing.py", database, "recover").finish()
    assert code == 0


def test_killed_in_on_completed_there_is_neither_a_completion_nor_a_child(
    database: str, launch: Callable[..., Any]
) -> None:
    _die(launch, database, "die-in-on-completed")
    assert _names(_records(database)) == [("PayOrder", TaskStatus.QUEUED)]


def test_the_second_start_completes_it_with_exactly_one_child(database: str, launch: Callable[..., Any]) -> None:
    _die(launch, database, "die-in-on-completed")
    _recover(launch, database)
    pay, ship = _records(database)
    assert _names([pay, ship]) == [("PayOrder", TaskStatus.COMPLETED), ("ShipOrder", TaskStatus.COMPLETED)]
    assert (ship.parent_id, ship.workflow_id) == (pay.id, pay.id)


def test_killed_in_on_error_there_is_neither_a_failure_nor_an_alert(database: str, launch: Callable[..., Any]) -> None:
    _die(launch, database, "die-in-on-error")
    assert _names(_records(database)) == [("PayOrder", TaskStatus.QUEUED)]
    _recover(launch, database)
    assert _names(_records(database)) == [("PayOrder", TaskStatus.FAILED), ("SendAlert", TaskStatus.COMPLETED)]


@pytest.mark.parametrize("deadly_order", DEADLY_ORDERS)
def test_killed_among_many_each_order_has_both_its_completion_and_its_child_or_neither(
    database: str, launch: Callable[..., Any], deadly_order: str
) -> None:
    _die(launch, database, "die-among-many", deadly_order)
    records = _records(database)
    payments = [record for record in records if record.parent_id is None]
    assert len(payments) == 400  # acknowledged by dispatch_many, so all there
    children = Counter(record.parent_id for record in records if record.parent_id is not None)
    assert children == Counter(record.id for record in payments if record.status in TERMINAL)

    _recover(launch, database)
    records = _records(database)
    assert {record.status for record in records} == {TaskStatus.COMPLETED}
    children = Counter(record.parent_id for record in records if record.parent_id is not None)
    assert children == Counter(record.id for record in payments)
