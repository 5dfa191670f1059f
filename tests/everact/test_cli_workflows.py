"""The commands about workflows, against real databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from everact import ActorSystem, Retry, TaskContext, TaskHandler, WorkflowState, bind, task
from everact.cli import main

ONCE = Retry(attempts=1)
WAIT = 30.0
UNKNOWN = "00000000-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Reserve:
    n: int


class ReserveHandler(TaskHandler[Reserve]):
    task_name = "shop.Reserve"
    retry = ONCE

    def __init__(self, *, locked: bool) -> None:
        self.locked = locked

    def handle(self, task: Reserve, ctx: TaskContext) -> None:
        ctx.dispatch(charge.task())

    def compensate(self, task: Reserve, ctx: TaskContext) -> None:
        if self.locked:
            msg = "locked \x1b[31m"
            raise RuntimeError(msg)


@task(name="shop.Charge", retry=ONCE)
def charge() -> None:
    msg = "declined"
    raise RuntimeError(msg)


def handlers(*, locked: bool) -> list[object]:
    return [bind(ReserveHandler, lambda: ReserveHandler(locked=locked)), charge]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
def stuck(shop: Path) -> Iterator[UUID]:
    with ActorSystem(handlers=handlers(locked=True), storage=f"sqlite:///{shop}?durability=process") as system:
        order = system.dispatch(Reserve(1))
        system.wait_idle(WAIT)
        assert system.workflow(order.id).state is WorkflowState.STUCK
    return order.id  # type: ignore[return-value]


def run(shop: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--storage", str(shop)])


def test_a_stuck_workflow_is_listed_with_its_reason(shop: Path, stuck: UUID) -> None:
    shown = run(shop, "workflows", "--state", "stuck")
    assert shown.exit_code == 0
    assert str(stuck) in shown.output
    assert "locked \\x1b[31m" in shown.output
    assert run(shop, "workflows", "--state", "completed").output.count("\n") == 1
    (row,) = json.loads(run(shop, "workflows", "--json").output)["workflows"]
    assert (row["id"], row["state"], row["pending"]) == (str(stuck), "stuck", 1)


def test_a_workflow_is_shown_with_its_tasks_and_its_undo_log(shop: Path, stuck: UUID) -> None:
    lines = run(shop, "workflow", str(stuck)).output.splitlines()
    assert "state   stuck" in lines
    assert lines[4:7] == ["shop.Reserve completed", "  shop.Charge failed", "  shop.Reserve (compensation) failed"]
    assert lines[-1].startswith(str(stuck))
    data = json.loads(run(shop, "workflow", str(stuck), "--json").output)
    assert (data["state"], len(data["tasks"]), data["undo_log"][0]["state"]) == ("stuck", 3, "stuck")


def test_a_workflow_that_is_resumed_goes_on_when_its_application_starts(shop: Path, stuck: UUID) -> None:
    answer = run(shop, "resume", str(stuck), "--note", "unlocked it")
    assert answer.exit_code == 0
    assert "resumed: compensating; it goes on where its application runs" in answer.output
    with ActorSystem(handlers=handlers(locked=False), storage=f"sqlite:///{shop}?durability=process") as system:
        assert system.wait_workflow(stuck, WAIT).state is WorkflowState.COMPENSATED
        assert "unlocked it" in [row.detail for row in system.history(stuck)]


def test_a_workflow_that_is_resumed_goes_on_in_the_living_application(shop: Path, stuck: UUID) -> None:
    with ActorSystem(handlers=handlers(locked=False), storage=f"sqlite:///{shop}?durability=process") as system:
        assert run(shop, "resume", str(stuck)).exit_code == 0
        assert system.wait_workflow(stuck, WAIT).state is WorkflowState.COMPENSATED


def test_what_is_stuck_can_be_passed_over(shop: Path, stuck: UUID) -> None:
    answer = run(shop, "resume", str(stuck), "--skip", "--note", "by hand")
    assert "skipped: compensated" in answer.output


def test_what_is_not_there_or_not_stuck_is_told(shop: Path, stuck: UUID) -> None:
    run(shop, "resume", str(stuck), "--skip")
    again = run(shop, "resume", str(stuck))
    assert again.exit_code == 1
    assert "only a stuck one can be resumed" in again.output
    for command in ("workflow", "resume"):
        assert run(shop, command, UNKNOWN).exit_code == 3
