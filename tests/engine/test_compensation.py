"""A workflow that is undone: over a crash, when it is stuck, beside alerts, and when it is not to be undone at all."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import pytest

from everact import (
    ActorSystem,
    Retry,
    Saga,
    Step,
    TaskContext,
    TaskHandler,
    TaskStatus,
    TaskTimeout,
    Workflow,
    WorkflowState,
)
from tests.engine.conftest import BRIEF, WAIT, Alarm, Bang, Diary, Job, Lab, Next, make_handler, until

LAST = 3
NOTE = "refunded by hand"
TWICE = Retry(attempts=2, delay=0)


@dataclass(frozen=True)
class Rollback:
    order: int


@dataclass(frozen=True)
class SendAlert:
    message: str


def chain(kind: str, diary: Diary, undo: Callable[[int], Any], **members: Any) -> type[TaskHandler[Any]]:
    """Jobs 1 to 3, each the follow-up of the one before; the last one fails. `undo` may be a generator function."""

    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note(f"step {task.n}")
        if task.n == LAST:
            raise Bang
        ctx.dispatch(Job(task.n + 1))

    def compensate(task: Job, ctx: TaskContext) -> Any:
        diary.note(f"undo {task.n}")
        return undo(task.n)

    members.setdefault("retry", TWICE)
    return make_handler(kind, Job, handle, compensate=compensate, **members)


def stuck(system: ActorSystem) -> Workflow:
    """Wait until one workflow is stuck."""
    until(lambda: system.workflows(state=WorkflowState.STUCK), "a workflow that is stuck")
    return system.workflows(state=WorkflowState.STUCK)[0]


def states(workflow: Workflow) -> list[str]:
    return [entry.state for entry in workflow.undo_log]


# -- over a crash ------------------------------------------------------------------------------------------


def test_an_unwinding_in_the_middle_of_a_crash_goes_on_at_the_next_start_where_it_was(
    lab: Lab, kind: str, diary: Diary
) -> None:
    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()

    def handle(task: Job, ctx: TaskContext) -> None:
        if task.n == LAST:
            raise Bang
        ctx.dispatch(Job(task.n + 1))

    def compensate(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note(f"undo {task.n}")
        if task.n == 1 and not restarted.is_set():
            inside.set()
            yield never, "deaf"

    handler = make_handler(kind, Job, handle, compensate=compensate, retry=TWICE)
    old = lab.system(handler)
    root = old.dispatch(Job(1))
    inside.pass_through()
    lab.crash(old)
    assert diary == ["undo 2", "undo 1"]
    restarted.set()
    system = lab.system(handler)
    found = system.wait_workflow(root.id, WAIT)
    assert (found.state, states(found)) == (WorkflowState.COMPENSATED, ["played", "played"])
    assert diary == ["undo 2", "undo 1", "undo 1"]  # what was done before the crash is not done again


def test_a_step_that_ran_when_its_process_died_is_undone_as_one_that_may_have_worked(
    lab: Lab, kind: str, diary: Diary
) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        if not restarted.is_set():
            inside.set()
            yield never, "deaf"
        raise Bang

    def compensate(task: Job, ctx: TaskContext) -> None:
        diary.note(ctx.outcome)

    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, compensate=compensate, retry=TWICE)
    old = lab.system(handler)
    root = old.dispatch(Job())
    inside.pass_through()
    lab.crash(old)
    restarted.set()
    assert lab.system(handler).wait_workflow(root.id, WAIT).state is WorkflowState.COMPENSATED
    assert diary == ["unknown"]


@pytest.mark.parametrize("differ", [False, True])
def test_what_several_attempts_may_have_done_is_undone_once_if_it_is_the_same(
    lab: Lab, kind: str, diary: Diary, differ: bool
) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        ctx.compensate_with(Next(ctx.attempt if differ else 0))
        yield never

    def compensate(task: Job, ctx: TaskContext) -> None:
        diary.note(("own", ctx.outcome))

    never, retry = lab.gate(), Retry(attempts=3, delay=0, on=(TaskTimeout,))
    handlers = (
        make_handler(kind, Job, handle, compensate=compensate, retry=retry, timeout=BRIEF),
        make_handler("sync", Next, lambda task, ctx: diary.note((task.n, ctx.outcome))),
    )
    system = lab.system(*handlers)
    root = system.dispatch(Job())
    assert system.wait_workflow(root.id, WAIT).state is WorkflowState.COMPENSATED
    promised = [1, 2, 3] if differ else [0]
    assert sorted(diary.lines, key=str) == sorted([(n, "unknown") for n in promised] + [("own", "unknown")], key=str)
    assert diary.count(("own", "unknown")) == 1


# -- stuck -------------------------------------------------------------------------------------------------


def test_a_stuck_workflow_is_listed_waits_over_a_crash_and_goes_on_when_it_is_resumed(
    lab: Lab, kind: str, diary: Diary
) -> None:
    mended = lab.gate()
    handler = chain(kind, diary, lambda n: None if n == 1 or mended.is_set() else 1 / 0)
    old = lab.system(handler)
    root = old.dispatch(Job(1))
    found = stuck(old)
    assert (found.id, states(found)) == (root.id, ["pending", "stuck"])
    assert "ZeroDivisionError" in found.reason
    lab.crash(old)
    mended.set()
    system = lab.system(handler)
    system.wait_idle(WAIT)
    assert system.workflow(root.id).state is WorkflowState.STUCK  # that it works now, nobody can know
    assert diary.count("undo 1") == 0
    system.resume(root.id, note="the bank is back")
    found = system.wait_workflow(root.id, WAIT)
    assert (found.state, states(found)) == (WorkflowState.COMPENSATED, ["played", "played"])
    assert [entry.round for entry in found.undo_log] == [0, 1]
    assert diary.lines[-2:] == ["undo 2", "undo 1"]
    assert ("resumed", "the bank is back") in [(line.event, line.detail) for line in system.history(root.id)]
    assert system.workflows(state=WorkflowState.STUCK) == []


def test_what_is_skipped_is_not_undone_and_the_note_stays_with_it_and_in_the_history(
    lab: Lab, kind: str, diary: Diary
) -> None:
    handler = chain(kind, diary, lambda n: None if n == 1 else 1 / 0)
    old = lab.system(handler)
    root = old.dispatch(Job(1))
    stuck(old)
    tried = diary.count("undo 2")
    old.resume(root.id, skip=True, note=NOTE)
    found = old.wait_workflow(root.id, WAIT)
    assert (found.state, states(found)) == (WorkflowState.COMPENSATED, ["played", "skipped"])
    assert (diary.count("undo 2"), diary.count("undo 1")) == (tried, 1)
    lab.crash(old)
    system = lab.system(handler)
    assert system.workflow(root.id).undo_log[1].note == NOTE
    events = [(line.event, line.detail) for line in system.history(root.id)]
    assert ("skipped", NOTE) in events
    told = ["compensating", "stuck", "skipped", "compensated"]
    assert [event for event, _ in events if event in told] == told


# -- alerts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("undoable", [True, False])
def test_the_rollback_and_the_alert_of_a_failing_order_are_delivered_though_its_workflow_is_undone(
    lab: Lab, kind: str, diary: Diary, undoable: bool
) -> None:
    def handle(task: Next, ctx: TaskContext) -> None:
        raise Bang

    def on_error(ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(Rollback(ctx.task.n))
        ctx.dispatch(SendAlert(type(error).__name__))

    undo = {"compensate": lambda task, ctx: diary.note("undo")} if undoable else {}
    system = lab.system(
        make_handler(kind, Job, lambda task, ctx: ctx.dispatch(Next(7)) and None, **undo),
        make_handler(kind, Next, handle, on_error=on_error, retry=TWICE),
        make_handler("sync", Rollback, lambda task, ctx: diary.note(f"rollback {task.order}")),
        make_handler("sync", SendAlert, lambda task, ctx: diary.note(f"alert {task.message}")),
    )
    root = system.dispatch(Job(1))
    found = system.wait_workflow(root.id, WAIT)
    assert found.state is (WorkflowState.COMPENSATED if undoable else WorkflowState.FAILED)
    assert sorted(diary.lines) == ["alert Bang", "rollback 7"] + (["undo"] if undoable else [])
    alerts = [(task.kind, task.status) for task in found.tasks if task.type.endswith(("Rollback", "SendAlert"))]
    assert alerts == [("cleanup", TaskStatus.COMPLETED)] * 2


def test_an_alert_that_fails_undoes_nothing_more_and_stops_nothing(lab: Lab, kind: str, diary: Diary) -> None:
    def on_error(ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(Alarm("off the hook"))

    def fail(task: Alarm, ctx: TaskContext) -> None:
        raise Bang

    handlers = (chain(kind, diary, lambda n: None, on_error=on_error), make_handler(kind, Alarm, fail, retry=TWICE))
    system = lab.system(*handlers)
    root = system.dispatch(Job(1))
    found = system.wait_workflow(root.id, WAIT)
    assert (found.state, states(found)) == (WorkflowState.COMPENSATED, ["played", "played"])
    assert [str(task.status) for task in found.tasks if task.kind == "cleanup"] == ["failed"]


# -- not undone --------------------------------------------------------------------------------------------


def test_a_stop_in_the_middle_of_a_workflow_undoes_nothing_and_the_next_start_completes_it(
    lab: Lab, kind: str, diary: Diary
) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        diary.note(f"step {task.n}")
        if task.n < LAST:
            ctx.dispatch(Job(task.n + 1))
        if task.n == 2 and not restarted.is_set():
            inside.set()
            yield never

    def forbidden(*args: object) -> None:
        diary.note("undone, or told of an error")

    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, compensate=forbidden, on_error=forbidden)
    old = lab.system(handler)
    root = old.dispatch(Job(1))
    inside.pass_through()
    old.stop(timeout=0)
    restarted.set()
    system = lab.idle_system(handler)
    found = system.workflow(root.id)
    assert (found.state, states(found), found.reason) == (WorkflowState.RUNNING, ["pending", "held"], "")
    lab.crash(system)
    system = lab.system(handler)
    assert system.wait_workflow(root.id, WAIT).state is WorkflowState.COMPLETED
    assert diary == ["step 1", "step 2", "step 2", "step 3"]


def test_an_interrupted_step_that_then_fails_is_one_that_may_have_worked(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        if not restarted.is_set():
            inside.set()
            yield never
        raise Bang

    def compensate(task: Job, ctx: TaskContext) -> None:
        diary.note(ctx.outcome)

    inside, never, restarted = lab.gate(), lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle, compensate=compensate, retry=TWICE)
    old = lab.system(handler)
    root = old.dispatch(Job())
    inside.pass_through()
    old.stop(timeout=0)
    restarted.set()
    assert lab.system(handler).wait_workflow(root.id, WAIT).state is WorkflowState.COMPENSATED
    assert diary == ["unknown"]


def test_an_email_that_is_not_critical_fails_without_undoing_the_order(lab: Lab, kind: str, diary: Diary) -> None:
    def fail(task: Next, ctx: TaskContext) -> None:
        diary.note("mail")
        raise Bang

    system = lab.system(
        make_handler(
            kind, Job, lambda task, ctx: ctx.dispatch(Next()) and None, compensate=lambda task, ctx: diary.note("undo")
        ),
        make_handler(kind, Next, fail, critical=False, retry=TWICE),
    )
    root = system.dispatch(Job())
    found = system.wait_workflow(root.id, WAIT)
    assert [str(task.status) for task in found.tasks] == ["completed", "failed"]
    assert (found.state, states(found)) == (WorkflowState.COMPLETED, ["pending"])
    assert diary == ["mail", "mail"]


def test_a_saga_goes_on_without_an_email_that_is_not_critical(lab: Lab, kind: str, diary: Diary) -> None:
    def fail(task: Next, ctx: TaskContext) -> None:
        raise Bang

    saga = Saga(
        "order",
        Step(Job, undo=Rollback),
        Step(Next, critical=False),
        Step(lambda n: Alarm(str(n)), name="archive"),
        input=int,
    )
    system = lab.system(
        saga,
        make_handler(kind, Job, lambda task, ctx: diary.note("pay")),
        make_handler(kind, Next, fail, retry=TWICE),
        make_handler(kind, Alarm, lambda task, ctx: diary.note("archive")),
        make_handler(kind, Rollback, lambda task, ctx: diary.note("undo")),
    )
    root = system.dispatch(saga(5))
    assert system.wait_workflow(root.id, WAIT).state is WorkflowState.COMPLETED
    assert diary == ["pay", "archive"]
