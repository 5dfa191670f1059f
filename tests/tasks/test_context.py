"""The context of one delivery, on engine services that only note what they are asked."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from everact.actors.runtime import ThreadRuntime
from everact.tasks.cancellation import CancelReason, Gate
from everact.tasks.context import context_of
from everact.tasks.errors import AttemptOver, PayloadError
from everact.tasks.record import Record

MINE, PARENT, ROOT = (UUID(int=n) for n in (1, 2, 3))


def row(**columns: object) -> Record:
    usual: dict[str, object] = {"id": MINE.bytes, "type": "shop.Pay", "payload": b"{}", "due": 0, "created": 0}
    return Record(**{**usual, **columns})  # type: ignore[arg-type]


@dataclass
class Prepared:
    record: Record


@dataclass
class Services:
    """What a context needs from the engine."""

    system: Any = "the system"
    asked: list[tuple[object, dict[str, Any], Record]] = field(default_factory=list)
    error: Exception | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self, task: object, options: dict[str, Any], parent: Record) -> Prepared:
        if self.error is not None:
            raise self.error
        self.asked.append((task, options, parent))
        return Prepared(row(id=UUID(int=100 + len(self.asked)).bytes))

    def lookup(self, id: bytes) -> Record | None:
        raise NotImplementedError

    def result_of(self, record: Record) -> object:
        raise NotImplementedError

    def is_critical(self, record: Record) -> bool:
        raise NotImplementedError

    def gate(self) -> Gate:
        return ThreadRuntime().gate()

    def call_back(self, fn: Callable[[], object]) -> None:
        fn()


@pytest.fixture
def services() -> Services:
    return Services()


def test_a_context_tells_which_task_it_is_for(services: Services) -> None:
    task = object()
    ctx = context_of(services, row(parent=PARENT.bytes, workflow=ROOT.bytes), task)
    assert (ctx.task, ctx.task_id, ctx.parent_id, ctx.workflow_id) == (task, MINE, PARENT, ROOT)
    assert ctx.system == "the system"


def test_the_context_of_a_root_has_no_parent_and_its_own_workflow(services: Services) -> None:
    ctx = context_of(services, row(), None)
    assert (ctx.parent_id, ctx.workflow_id) == (None, MINE)


@pytest.mark.parametrize("ended", [0, 1, 6])
def test_attempts_are_counted_from_one(services: Services, ended: int) -> None:
    assert context_of(services, row(attempt=ended), None).attempt == ended + 1


def test_there_is_no_result_before_handle_has_returned(services: Services) -> None:
    assert context_of(services, row(), None).result is None


def test_a_token_is_made_when_it_is_first_looked_at_and_is_one_for_all_threads(services: Services) -> None:
    for _ in range(200):
        ctx = context_of(services, row(), None)
        assert ctx._stop_reason is None
        start = threading.Barrier(2)

        def fire(ctx: Any = ctx, start: Any = start) -> None:
            start.wait(5)
            ctx.cancellation._fire(CancelReason.USER)

        other = threading.Thread(target=fire)
        other.start()
        start.wait(5)
        token = ctx.cancellation
        other.join(5)
        assert ctx.cancellation is token
        assert token.reason is ctx._stop_reason is CancelReason.USER


def test_state_is_one_dict_for_the_whole_delivery(services: Services) -> None:
    ctx = context_of(services, row(), None)
    ctx.state["paid"] = True
    assert ctx.state == {"paid": True}
    assert context_of(services, row(), None).state == {}


def test_headers_can_be_read_and_not_changed(services: Services) -> None:
    record = row(headers={"trace": "1"})
    headers: Any = context_of(services, record, None).headers
    assert dict(headers) == {"trace": "1"}
    with pytest.raises(TypeError):
        headers["trace"] = "2"
    assert dict(context_of(services, row(), None).headers) == {}


def test_the_token_of_a_context_fires_on_the_services_it_was_made_with(services: Services) -> None:
    calls: list[str] = []
    ctx = context_of(services, row(), None)
    ctx.cancellation.on_cancel(lambda: calls.append("called"))
    ctx.cancellation._fire(CancelReason.USER)
    assert calls == ["called"]


def test_a_follow_up_is_prepared_as_a_child_and_its_id_returned(services: Services) -> None:
    record = row()
    assert context_of(services, record, None).dispatch("ship") == UUID(int=101)
    assert services.asked == [
        (
            "ship",
            {"id": None, "delay": None, "at": None, "key": None, "priority": 0, "tags": (), "headers": None},
            record,
        )
    ]


def test_every_option_of_a_follow_up_is_passed_on(services: Services) -> None:
    options: dict[str, Any] = {
        "id": UUID(int=9),
        "delay": timedelta(hours=1),
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "key": "order-7",
        "priority": 5,
        "tags": ["a"],
        "headers": {"trace": "1"},
    }
    context_of(services, row(), None).dispatch("ship", **options)
    assert services.asked[0][1] == options


def test_follow_ups_wait_in_the_order_in_which_they_were_dispatched(services: Services) -> None:
    ctx = context_of(services, row(), None)
    given = [ctx.dispatch(n) for n in range(5)]
    assert ctx._buffer is not None
    assert [UUID(bytes=follow_up.record.id) for follow_up in ctx._buffer] == given


def test_a_follow_up_that_cannot_be_encoded_leaves_the_others_in_place(services: Services) -> None:
    ctx = context_of(services, row(), None)
    ctx.dispatch("good")
    services.error = PayloadError("bad")
    with pytest.raises(PayloadError):
        ctx.dispatch("bad")
    assert ctx._buffer is not None
    assert len(ctx._buffer) == 1


def test_after_the_attempt_a_dispatch_is_refused_and_prepares_nothing(services: Services) -> None:
    ctx = context_of(services, row(attempt=1), None)
    ctx._over = True
    with pytest.raises(AttemptOver) as refusal:
        ctx.dispatch("late")
    assert (refusal.value.task_id, refusal.value.attempt) == (MINE, 2)
    assert services.asked == []


def test_records_of_its_logger_carry_task_and_attempt(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    ctx = context_of(services, row(attempt=1, workflow=ROOT.bytes), None)
    with caplog.at_level(logging.INFO, "everact.task"):
        ctx.logger.info("paying %s", 7)
    (record,) = caplog.records
    facts: Any = record
    assert record.getMessage() == "paying 7"
    assert (facts.task_id, facts.task_type, facts.attempt) == (str(MINE), "shop.Pay", 2)
    assert facts.workflow_id == str(ROOT)


def test_what_a_handler_adds_to_a_log_record_is_kept_too(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "everact.task"):
        context_of(services, row(), None).logger.info("paying", extra={"order": 7})
    facts: Any = caplog.records[0]
    assert (facts.order, facts.task_id) == (7, str(MINE))


def test_a_context_shows_type_id_and_attempt(services: Services) -> None:
    assert repr(context_of(services, row(), None)) == f"<TaskContext shop.Pay {MINE} attempt 1>"
