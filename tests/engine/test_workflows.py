"""What can be done about a workflow as a whole, and how its steps are stopped."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from everact import (
    ActorSystem,
    CancelOutcome,
    CompensationError,
    NotStuck,
    Retry,
    Saga,
    SagaError,
    Step,
    TaskCancelled,
    TaskContext,
    TaskFailed,
    TaskHandler,
    TaskNotFound,
    TaskStatus,
    WaitTimeout,
    WorkflowCancelOutcome,
    WorkflowState,
    bind,
    events,
    task,
)
from everact.actors.baton import Waiter
from everact.actors.messages import CancelTasks, InTurn
from tests.engine.conftest import WAIT, Diary, Facts, Lab, until

ONCE = Retry(attempts=1)


@dataclass(frozen=True)
class Reserve:
    n: int = 0


@dataclass(frozen=True)
class Charge:
    n: int = 0


class Steps:
    """Two handlers, `Reserve` that can be undone and `Charge` that follows it, and a diary of what they do."""

    def __init__(self, diary: Diary, charge: object = None, undo: object = None) -> None:
        class ReserveHandler(TaskHandler[Reserve]):
            retry = ONCE

            def handle(self, task: Reserve, ctx: TaskContext) -> str:
                diary.note("reserve")
                return "shelf"

            def on_completed(self, ctx: TaskContext) -> None:
                ctx.dispatch(Charge(), delay=0 if charge else 3600)

            def compensate(self, task: Reserve, ctx: TaskContext) -> None:
                diary.note(("release", ctx.result, ctx.outcome))
                if callable(undo):
                    undo(ctx)

        class ChargeHandler(TaskHandler[Charge]):
            retry = ONCE

            def handle(self, task: Charge, ctx: TaskContext) -> None:
                diary.note("charge")
                if callable(charge):
                    charge(ctx)

            def on_error(self, ctx: TaskContext, error: BaseException) -> None:
                diary.note(type(error).__name__)

        self.handlers = [ReserveHandler, ChargeHandler]


def stuck(system: ActorSystem, workflow_id: object) -> bool:
    return system.workflow(workflow_id).state is WorkflowState.STUCK  # type: ignore[arg-type]


def fails(ctx: TaskContext) -> None:
    raise ValueError("no")


def test_a_workflow_that_waits_is_cancelled_and_what_it_did_is_undone(lab: Lab, diary: Diary) -> None:
    system = lab.system(*Steps(diary).handlers)
    order = system.dispatch(Reserve())
    order.wait(WAIT)
    assert system.cancel_workflow(order.id, "no more") is WorkflowCancelOutcome.COMPENSATING
    workflow = system.wait_workflow(order.id, WAIT)
    assert (workflow.state, workflow.reason) == (WorkflowState.COMPENSATED, "no more")
    assert diary == ["reserve", ("release", "shelf", "completed")]
    charge = next(record for record in workflow.tasks if record.type.endswith("Charge"))
    assert charge.status is TaskStatus.CANCELLED
    assert system.cancel_workflow(order.id) is WorkflowCancelOutcome.ALREADY_FINISHED


def test_a_workflow_that_has_not_started_is_cancelled_without_more(lab: Lab, diary: Diary) -> None:
    system = lab.system(*Steps(diary).handlers)
    order = system.dispatch(Reserve(), delay=3600)
    assert system.cancel_workflow(order.id) is WorkflowCancelOutcome.CANCELLED
    assert system.workflow(order.id).state is WorkflowState.CANCELLED
    assert diary == []
    with pytest.raises(TaskCancelled):
        order.result(WAIT)


def test_there_is_no_workflow_of_an_unknown_or_a_childs_id(lab: Lab, diary: Diary) -> None:
    system = lab.system(*Steps(diary).handlers)
    order = system.dispatch(Reserve())
    order.wait(WAIT)
    child = system.workflow(order.id).tasks[1]
    assert system.cancel_workflow(child.id) is WorkflowCancelOutcome.NOT_FOUND
    nobody = "01890a5d-ac96-774b-bcce-b302099a8057"
    assert system.cancel_workflow(nobody) is WorkflowCancelOutcome.NOT_FOUND
    for call in (system.workflow, system.wait_workflow, system.resume):
        with pytest.raises(TaskNotFound):
            call(nobody)  # type: ignore[operator]


def test_a_running_step_is_told_to_stop_and_its_outcome_is_unknown(lab: Lab, diary: Diary) -> None:
    running = threading.Event()

    class Slow(TaskHandler[Reserve]):
        def handle(self, task: Reserve, ctx: TaskContext) -> None:
            running.set()
            ctx.cancellation.wait(WAIT)
            diary.note(ctx.cancellation.reason and ctx.cancellation.reason.value)
            ctx.cancellation.raise_if_cancelled()

        def compensate(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note((ctx.result, ctx.outcome))

    system = lab.system(Slow)
    order = system.dispatch(Reserve())
    assert running.wait(WAIT)
    assert system.cancel_workflow(order.id) is WorkflowCancelOutcome.COMPENSATING
    workflow = system.wait_workflow(order.id, WAIT)
    assert workflow.state is WorkflowState.COMPENSATED
    assert diary == ["workflow", (None, "unknown")]
    assert order.status() is TaskStatus.CANCELLED


def test_a_step_that_does_not_stop_is_left_behind_after_its_grace(lab: Lab, diary: Diary) -> None:
    running, gate = threading.Event(), lab.gate()

    class Deaf(TaskHandler[Reserve]):
        def handle(self, task: Reserve, ctx: TaskContext) -> str:
            running.set()
            gate.wait(WAIT)
            return "too late"

        def compensate(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note(ctx.outcome)

    system = lab.system(Deaf)
    facts = Facts(system)
    order = system.dispatch(Reserve())
    assert running.wait(WAIT)
    system.cancel_workflow(order.id)
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED
    assert diary == ["unknown"]
    assert facts.first(events.ThreadAbandoned).where == "handle"
    gate.set()
    assert order.record().status is TaskStatus.CANCELLED


def test_a_step_that_returns_in_time_is_undone_as_a_completed_one(lab: Lab, diary: Diary) -> None:
    running, gate = threading.Event(), lab.gate()

    class Finishes(TaskHandler[Reserve]):
        def handle(self, task: Reserve, ctx: TaskContext) -> str:
            running.set()
            ctx.cancellation.wait(WAIT)
            ctx.dispatch(Charge())
            return "done"

        def compensate(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note((ctx.result, ctx.outcome))

    system = lab.system(Finishes, Steps(diary).handlers[1])
    order = system.dispatch(Reserve())
    assert running.wait(WAIT)
    system.cancel_workflow(order.id)
    workflow = system.wait_workflow(order.id, WAIT)
    assert diary == [("done", "completed")]
    follow_up = next(record for record in workflow.tasks if record.type.endswith("Charge"))
    assert (follow_up.status, follow_up.started) == (TaskStatus.CANCELLED, None)
    gate.set()


def test_an_aborted_workflow_is_undone_with_the_step_that_aborted_it(lab: Lab, diary: Diary) -> None:
    system = lab.system(*Steps(diary, charge=lambda ctx: ctx.abort_workflow("changed my mind")).handlers)
    order = system.dispatch(Reserve())
    workflow = system.wait_workflow(order.id, WAIT)
    assert (workflow.state, workflow.reason) == (WorkflowState.COMPENSATED, "changed my mind")
    assert [record.status for record in workflow.tasks[:2]] == [TaskStatus.COMPLETED] * 2


def test_a_wish_to_abort_goes_with_the_attempt_that_raised(lab: Lab, diary: Diary) -> None:
    class Wavers(TaskHandler[Charge]):
        retry = Retry(attempts=2, delay=0)

        def handle(self, task: Charge, ctx: TaskContext) -> None:
            if ctx.attempt == 1:
                ctx.abort_workflow("no")
                raise ValueError

    system = lab.system(Wavers)
    order = system.dispatch(Charge())
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPLETED


@pytest.mark.parametrize("critical", [True, False])
def test_the_failure_of_a_task_alone_is_the_workflows_if_it_is_critical(lab: Lab, *, critical: bool) -> None:
    class Fails(TaskHandler[Charge]):
        retry = ONCE

        def handle(self, task: Charge, ctx: TaskContext) -> None:
            raise ValueError

    Fails.critical = critical
    system = lab.system(Fails)
    order = system.dispatch(Charge())
    expected = WorkflowState.FAILED if critical else WorkflowState.COMPLETED
    assert system.wait_workflow(order.id, WAIT).state is expected


def test_a_compensation_is_shielded_tried_again_and_then_stuck_until_somebody_resumes_it(
    lab: Lab, diary: Diary
) -> None:
    undoing, gate = threading.Event(), lab.gate()

    def undo(ctx: TaskContext) -> None:
        undoing.set()
        gate.wait(WAIT)
        if diary.count(("release", "shelf", "completed")) == 1:
            raise ValueError("the shelf is locked")

    system = lab.system(*Steps(diary, charge=fails, undo=undo).handlers)
    order = system.dispatch(Reserve())
    assert undoing.wait(WAIT)
    (entry,) = system.workflow(order.id).undo_log
    assert (entry.state, entry.round) == ("playing", 0)
    assert entry.compensation_id is not None
    assert system.cancel(entry.compensation_id) is CancelOutcome.SHIELDED
    assert system.cancel_workflow(order.id) is WorkflowCancelOutcome.ALREADY_COMPENSATING
    gate.set()
    until(lambda: stuck(system, order.id))
    assert [found.id for found in system.workflows(state=WorkflowState.STUCK)] == [order.id]
    (entry,) = system.workflow(order.id).undo_log
    assert "the shelf is locked" in entry.note
    with pytest.raises(WaitTimeout, match="was stuck after 0.01 s"):
        system.wait_workflow(order.id, 0.01)
    with pytest.raises(ValueError, match=r"use resume\(\)"):
        system.requeue(entry.compensation_id)
    system.resume(order.id, note="unlocked it")
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED
    assert system.workflow(order.id).undo_log[0].round == 1
    assert ("resumed", "unlocked it") in [(row.event, row.detail) for row in system.history(order.id)]
    with pytest.raises(NotStuck):
        system.resume(order.id)


def test_a_stuck_undo_can_be_passed_over_with_a_note(lab: Lab, diary: Diary) -> None:
    system = lab.system(*Steps(diary, charge=fails, undo=fails).handlers)
    order = system.dispatch(Reserve())
    until(lambda: stuck(system, order.id))
    system.resume(order.id, skip=True, note="did it by hand")
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED
    (entry,) = system.workflow(order.id).undo_log
    assert (entry.state, entry.note) == ("skipped", "did it by hand")
    assert ("skipped", "did it by hand") in [(row.event, row.detail) for row in system.history(order.id)]


def test_a_compensation_cannot_be_undone_nor_abort(lab: Lab, diary: Diary) -> None:
    def undo(ctx: TaskContext) -> None:
        for call in (lambda: ctx.compensate_with(Reserve()), ctx.abort_workflow):
            with pytest.raises(CompensationError):
                call()

    system = lab.system(*Steps(diary, charge=fails, undo=undo).handlers)
    order = system.dispatch(Reserve())
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED


def test_an_async_handler_may_have_a_sync_or_an_async_undo(lab: Lab, diary: Diary) -> None:
    class Undone(TaskHandler[Reserve]):
        async def handle(self, task: Reserve, ctx: TaskContext) -> int:
            ctx.abort_workflow("enough")
            return 7

        async def compensate(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note(ctx.result)

    class Plainly(TaskHandler[Charge]):
        async def handle(self, task: Charge, ctx: TaskContext) -> int:
            ctx.abort_workflow("enough")
            return 8

        def compensate(self, task: Charge, ctx: TaskContext) -> None:
            diary.note(ctx.result)

    system = lab.system(Undone, Plainly)
    for order in (system.dispatch(Reserve()), system.dispatch(Charge())):
        assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED
    assert diary == [7, 8]


def test_workflows_are_listed_page_by_page(lab: Lab, diary: Diary) -> None:
    system = lab.system(*Steps(diary, charge=fails).handlers)
    orders = sorted(system.dispatch(Reserve()).id for _ in range(5))
    for order in orders:
        system.wait_workflow(order, WAIT)
    assert [found.id for found in system.workflows(limit=2)] == orders[:2]
    assert [found.id for found in system.workflows(after=orders[1])] == orders[2:]
    assert system.workflows(state=WorkflowState.STUCK) == []
    assert len(system.workflows(state=WorkflowState.COMPENSATED)) == len(orders)


# Sagas


def make_saga(diary: Diary, failing: set[str]) -> list[object]:
    def step(name: str) -> None:
        diary.note(name)
        if name in failing:
            raise ValueError(name)

    @task(name="pay", retry=ONCE)
    def pay(n: int) -> str:
        step("pay")
        return f"paid {n}"

    @task(name="refund", retry=ONCE)
    def refund(ctx: TaskContext, n: int, payment: str) -> None:
        step(f"refund {payment}")

    @task(name="ship", retry=ONCE)
    def ship(n: int) -> str:
        step("ship")
        return "shipped"

    @task(name="thank", retry=ONCE)
    def thank(n: int) -> None:
        step("thank")

    saga = Saga(
        "order",
        Step(pay, undo=lambda n, results: refund.task(n, results["pay"])),
        Step(ship, pivot=True),
        Step(thank),
    )
    return [pay, refund, ship, thank, saga]


def test_a_saga_hands_results_on_and_returns_them_all(lab: Lab, diary: Diary) -> None:
    handlers = make_saga(diary, set())
    system = lab.system(*handlers)
    order = system.dispatch(handlers[-1](3))  # type: ignore[operator]
    assert order.result(WAIT) == {"pay": "paid 3", "ship": "shipped", "thank": None}
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPLETED
    assert diary == ["pay", "ship", "thank"]
    system.wait_idle(WAIT)


def test_a_saga_whose_first_step_fails_has_nothing_to_undo(lab: Lab, diary: Diary) -> None:
    handlers = make_saga(diary, {"pay"})
    system = lab.system(*handlers)
    order = system.dispatch(handlers[-1](3))  # type: ignore[operator]
    with pytest.raises(TaskFailed, match="step 'pay' did not complete"):
        order.result(WAIT)
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.FAILED


def test_a_step_after_the_pivot_is_run_again_when_somebody_resumes(lab: Lab, diary: Diary) -> None:
    failing = {"thank"}
    handlers = make_saga(diary, failing)
    system = lab.system(*handlers)
    order = system.dispatch(handlers[-1](3))  # type: ignore[operator]
    until(lambda: stuck(system, order.id))
    assert system.cancel_workflow(order.id) is WorkflowCancelOutcome.PAST_PIVOT
    failing.clear()
    system.resume(order.id)
    assert order.result(WAIT) == {"pay": "paid 3", "ship": "shipped", "thank": None}
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPLETED
    assert diary == ["pay", "ship", "thank", "thank"]


def test_a_step_after_the_pivot_can_be_passed_over(lab: Lab, diary: Diary) -> None:
    handlers = make_saga(diary, {"thank"})
    system = lab.system(*handlers)
    order = system.dispatch(handlers[-1](3))  # type: ignore[operator]
    until(lambda: stuck(system, order.id))
    system.resume(order.id, skip=True)
    assert order.result(WAIT) == {"pay": "paid 3", "ship": "shipped"}
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPLETED


def test_cancelling_a_sagas_task_cancels_its_workflow(lab: Lab, diary: Diary) -> None:
    paid, gate = threading.Event(), lab.gate()

    @task(name="pay")
    def pay(n: int) -> None:
        diary.note("pay")

    @task(name="refund")
    def refund(n: int) -> None:
        diary.note("refund")

    @task(name="ship")
    def ship(ctx: TaskContext, n: int) -> None:
        paid.set()
        ctx.cancellation.wait(WAIT)
        ctx.cancellation.raise_if_cancelled()

    saga = Saga("order", Step(pay, undo=refund), Step(ship))
    system = lab.system(pay, refund, ship, saga)
    order = system.dispatch(saga(1))
    assert paid.wait(WAIT)
    assert order.cancel() is CancelOutcome.CANCELLED
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED
    assert diary == ["pay", "refund"]
    gate.set()


def test_a_build_that_raises_is_tried_again_and_then_undoes_the_saga(lab: Lab, diary: Diary) -> None:
    @task(name="pay")
    def pay(n: int) -> None:
        diary.note("pay")

    @task(name="refund")
    def refund(n: int) -> None:
        diary.note("refund")

    def build(n: int, results: object) -> object:
        diary.note("build")
        raise KeyError("nothing")

    saga = Saga("order", Step(pay, undo=refund), Step(build, name="ship"), retry=Retry(attempts=2, delay=0))
    system = lab.system(pay, refund, saga)
    order = system.dispatch(saga(1))
    with pytest.raises(TaskFailed, match="KeyError"):
        order.result(WAIT)
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED
    assert diary == ["pay", "build", "build", "refund"]


def test_a_saga_whose_steps_have_no_handler_is_refused_when_the_system_is_built(diary: Diary) -> None:
    *handlers, saga = make_saga(diary, set())
    with pytest.raises(SagaError, match="saga 'order', step 'ship': no handler is registered"):
        ActorSystem(handlers=[*handlers[:2], handlers[3], saga])


def test_the_saga_goes_on_in_another_process_after_a_crash(lab: Lab, diary: Diary) -> None:
    paying, gate = threading.Event(), lab.gate()

    class Pay(TaskHandler[Charge]):
        def __init__(self, wait: bool) -> None:
            self.wait = wait

        def handle(self, task: Charge, ctx: TaskContext) -> int:
            if self.wait:
                paying.set()
                gate.wait(WAIT)
            return 5

    @task(name="ship")
    def ship(paid: int) -> int:
        return paid

    saga = Saga("order", Step(Charge, name="pay"), Step(lambda n, r: ship.task(r["pay"]), name="ship"))
    first = lab.system(bind(Pay, lambda: Pay(wait=True)), ship, saga)
    order = first.dispatch(saga(1))
    assert paying.wait(WAIT)
    lab.crash(first)
    second = lab.system(bind(Pay, lambda: Pay(wait=False)), ship, saga)
    assert second.task(order.id).result(WAIT) == {"pay": 5, "ship": 5}
    gate.set()


def test_a_step_that_a_deploy_interrupted_is_undone_once_if_it_then_fails(lab: Lab, diary: Diary) -> None:
    """Each interruption leaves its outcome unknown; the promise of its handler's `compensate` is one all the same."""
    running = threading.Event()
    interruptions = 2

    class Interrupted(TaskHandler[Reserve]):
        retry = ONCE

        def handle(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note("handle")
            running.set()
            if diary.count("handle") > interruptions:
                ctx.dispatch(Charge())
                raise ValueError
            ctx.cancellation.wait(WAIT)
            ctx.cancellation.raise_if_cancelled()

        def compensate(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note(ctx.outcome)

    handlers = [Interrupted, Steps(diary).handlers[1]]
    system = lab.system(*handlers)
    order = system.dispatch(Reserve())
    for _ in range(interruptions):
        assert running.wait(WAIT)
        running.clear()
        system.stop(timeout=0)
        system = lab.system(*handlers)
    workflow = system.wait_workflow(order.id, WAIT)
    assert (workflow.state, len(workflow.undo_log)) == (WorkflowState.COMPENSATED, 1)
    assert diary == ["handle"] * 3 + ["unknown"]


def test_a_compensation_is_tried_again_though_its_handler_sets_no_retry_and_a_timeout_too(
    lab: Lab, diary: Diary
) -> None:
    class Slow(TaskHandler[Reserve]):
        timeout = 0.2

        def handle(self, task: Reserve, ctx: TaskContext) -> None:
            ctx.abort_workflow("enough")

        def compensate(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note(ctx.attempt)
            if ctx.attempt == 1:
                ctx.cancellation.wait(WAIT)
                ctx.cancellation.raise_if_cancelled()

    system = lab.system(Slow)
    order = system.dispatch(Reserve())
    assert system.wait_workflow(order.id, WAIT).state is WorkflowState.COMPENSATED
    assert diary == [1, 2]


def test_a_step_that_another_living_node_runs_is_stopped_there(tmp_path: Path, diary: Diary) -> None:
    """The nodes have shared out what a dead one had left; the one learns from the file what the other has begun."""
    running, may_fail = threading.Event(), threading.Event()

    @task(name="fails", retry=ONCE)
    def fail() -> None:
        assert may_fail.wait(WAIT)
        raise ValueError

    @task(name="runs")
    def run(ctx: TaskContext) -> None:
        running.set()
        ctx.cancellation.wait(WAIT)
        diary.note(ctx.cancellation.reason and ctx.cancellation.reason.value)
        ctx.cancellation.raise_if_cancelled()

    class Begin(TaskHandler[Reserve]):
        def handle(self, task: Reserve, ctx: TaskContext) -> None:
            ctx.dispatch(fail.task(), delay=0.01)
            ctx.dispatch(run.task(), delay=0.01)

        def compensate(self, task: Reserve, ctx: TaskContext) -> None:
            diary.note("undone")

    url = f"sqlite:///{tmp_path / 'tasks.db'}?durability=process"
    with ActorSystem(handlers=[Begin, fail, run], storage=url) as dead:
        for pool in dead._engine.node.pools[1:]:  # type: ignore[union-attr]
            pool.closed = True
        order = dead.dispatch(Reserve()).wait(WAIT).id
    with (
        ActorSystem("first", handlers=[Begin, fail], storage=url) as first,
        ActorSystem("second", handlers=[run], storage=url),
    ):
        assert running.wait(WAIT)
        may_fail.set()
        assert first.wait_workflow(order, WAIT).state is WorkflowState.COMPENSATED
    assert diary == ["workflow", "undone"]


def test_of_two_cancels_that_meet_in_one_commit_one_is_told_that_it_was_the_one() -> None:
    """A saga that waits for its stage is in no queue, so both find it in storage."""
    inside, go = threading.Event(), threading.Event()

    @task
    def held(n: int) -> None:
        inside.set()
        assert go.wait(WAIT)

    told: list[str] = []
    saga = Saga("trip", Step(held, name="held"), input=int)
    system = ActorSystem(handlers=[held, saga])
    system.events.subscribe(lambda event: told.append(type(event).__name__))
    with system:
        trip = system.dispatch(saga(1))
        assert inside.wait(WAIT)
        until(lambda: trip.id.bytes not in system._running().node.journal.tickets.resident)
        journal, make_gate = system._running().node.journal, system._running().node.runtime.gate
        waiters = [Waiter(make_gate), Waiter(make_gate)]
        both = [CancelTasks([trip.id.bytes], "", waiter) for waiter in waiters]
        journal.submit(InTurn(lambda now: [journal.submit(cancel) for cancel in both]))
        assert all(waiter.wait(WAIT) for waiter in waiters)
        answers = [waiter.answer[trip.id.bytes] for waiter in waiters]
        assert answers == [CancelOutcome.CANCELLED, CancelOutcome.ALREADY_FINISHED]
        go.set()
    assert told.count("TaskCancelled") >= 1
