"""Whatever is logged while a task runs says which task that is."""

import logging
from collections.abc import Iterator

import pytest

from everact import ActorSystem, TaskContextFilter, task

logger = logging.getLogger("tests.shop")


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(TaskContextFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@task(name="Greet")
def greet(name: str) -> None:
    logger.warning("hello %s", name)


@task(name="GreetLater")
async def greet_later(name: str) -> None:
    logger.warning("hello %s", name)


@pytest.mark.parametrize("function", [greet, greet_later], ids=["sync", "async"])
def test_a_record_of_any_logger_carries_the_facts_of_the_task(kept: Kept, function: object) -> None:
    with ActorSystem(handlers=[function]) as system:
        handle = system.dispatch(function.task("you"))  # type: ignore[attr-defined]
        handle.result(timeout=10)
    (record,) = kept.records
    facts = vars(record)
    assert (facts["task_id"], facts["workflow_id"]) == (str(handle.id), str(handle.id))
    assert facts["task_type"] in {"Greet", "GreetLater"}
    assert facts["attempt"] == "1"


def test_outside_of_a_task_there_are_no_facts(kept: Kept) -> None:
    logger.warning("hello")
    assert {vars(kept.records[0])[name] for name in ("task_id", "task_type", "attempt", "workflow_id")} == {"-"}
