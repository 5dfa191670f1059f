"""`Simulation`: what a test of an application can do to it, and what it can expect."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from everact import (
    CancelOutcome,
    ConfigurationError,
    Retry,
    Settings,
    StorageFull,
    TaskContext,
    TaskStatus,
    WorkflowCancelOutcome,
    WorkflowState,
    task,
)
from everact.testing import (
    Drawn,
    Faults,
    NotAtRest,
    Simulation,
    What,
    after,
    at,
    attempt,
    between,
    commit,
    drained,
    every,
)
from everact.testing.guided import Guided
from tests.testing.programs import shop
from tests.testing.programs.orders import HANDLERS, charge, order, refund, ship

HOUR = 3600.0


@task(name="Count", retry=Retry(attempts=3, delay=60, jitter=0.5))
def count(ctx: TaskContext, n: int) -> int:
    ctx.cancellation.wait(10)
    return n


def counting(**options: Any) -> Simulation:
    options.setdefault("storage", "memory")
    return Simulation([count], **options)


def folder_of(sim: Simulation) -> Path:
    folder = sim._world._folder
    assert folder is not None
    return folder


def test_it_leaves_no_thread_and_no_file_behind_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before = set(threading.enumerate())
    for seed in range(5):
        with caplog.at_level(logging.WARNING), Simulation(HANDLERS, seed=seed, faults=Faults(crash_at=[2])) as sim:
            sim.dispatch(order(1))
            sim.run(until=lambda sim: sim.time > 0.3)
            assert len(set(threading.enumerate()) - before) > 3
            assert folder_of(sim).exists()
        assert not folder_of(sim).exists()
    assert set(threading.enumerate()) - before == set()
    assert caplog.records == []


def test_it_leaves_nothing_behind_when_the_test_fails() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), Simulation(HANDLERS) as sim:
        sim.dispatch(order(1))
        1 / 0  # noqa: B018 - a test that fails
    assert set(threading.enumerate()) - before == set()
    assert not folder_of(sim).exists()


def test_time_is_virtual() -> None:
    with counting() as sim:
        later = sim.dispatch(count.task(1), delay=HOUR / 10)
        sim.run()
        assert (later.status(), sim.time) == (TaskStatus.SCHEDULED, 0.0)
        sim.run(until=drained)
        sim.expect(later).completed(1).attempts(1)
        assert sim.time == pytest.approx(HOUR / 10 + 10, abs=1)


def test_a_run_that_does_not_come_to_rest_says_who_is_at_work() -> None:
    with counting() as sim:
        sim.dispatch(count.task(1))
        sim.dispatch(count.task(2), delay=HOUR)
        with pytest.raises(NotAtRest, match="not idle after 5 virtual seconds: Count#1 is queued.*Count#2 is sched"):
            sim.run(timeout=5)


def test_an_expectation_that_is_not_met_tells_what_is_the_case() -> None:
    with counting(faults=Faults(fail=[("Count", every(1), OSError)])) as sim:
        failing = sim.dispatch(count.task(1))
        sim.run()
        sim.expect(failing).failed(OSError).attempts(3)
        with pytest.raises(AssertionError, match=r"Count#1: it is failed .*OSError: injected.*, not completed"):
            sim.expect(failing).completed()
        with pytest.raises(AssertionError, match="failed with OSError, not ValueError"):
            sim.expect(failing).failed(ValueError)
        with pytest.raises(AssertionError, match=r"called 3 time\(s\), not 1"):
            sim.expect(failing).attempts(1)
        with pytest.raises(AssertionError, match="its workflow is failed, not compensated"):
            sim.expect(failing).compensated()


def test_a_saga_is_undone_in_reverse() -> None:
    with Simulation(HANDLERS, storage="memory") as sim:
        failing = sim.dispatch(order(22))  # its shipping fails
        sim.run()
        sim.expect(failing).compensated(["Charge", "Reserve"])
        with pytest.raises(AssertionError, match=r"\['Charge', 'Reserve'\] were undone, in this order, not \['Reserve"):
            sim.expect(failing).compensated(["Reserve", "Charge"])
        sim.check_all()


def test_what_is_in_memory_only_is_simulated_as_it_is() -> None:
    """The turn of a client's thread runs the whole way."""
    with Simulation(shop.HANDLERS, storage="memory://", events=False) as sim:
        placed = sim.dispatch(shop.trip(2))  # its payment fails
        sim.run(until=drained)
        sim.expect(placed).compensated()
        sim.check_all()
        assert re.search("driver .* calls storage: commit", str(sim.trace))


def test_a_stuck_saga_that_had_been_scheduled_is_nothing_to_wait_for() -> None:
    plan = Faults(fail=[("Lane", attempt(n), OSError) for n in (1, 2)])
    with Simulation(shop.HANDLERS, storage="memory", faults=plan) as sim:
        placed = sim.dispatch(shop.order(0), delay=5)
        sim.run(until=drained, timeout=100)
        assert sim.workflow(placed).state is WorkflowState.STUCK
        sim.resume(placed, skip=True)
        sim.run(until=drained, timeout=100)
        assert sim.workflow(placed).state is WorkflowState.COMPLETED
        sim.check_all()


def test_a_saga_that_is_to_stop_is_waited_for_though_the_node_that_knew_has_died() -> None:
    """It dies in the commit that lets the workflow unwind; a living one finds that half a second later."""
    plan = Faults(fail=[("Trip", attempt(1), TimeoutError)], crash_at=[after(10)])
    with Simulation(shop.HANDLERS, nodes=3, faults=plan, policy=Guided((), 301279)) as sim:
        sim.dispatch(shop.trip(5), node="node-3")
        sim.run(until=drained)
        sim.check_all()
        assert [event.detail for event in sim.history.of(What.CRASHED)] == ["after commit 10"]


def test_a_task_is_cancelled_and_a_workflow_too() -> None:
    with Simulation(HANDLERS, storage="memory") as sim:
        waiting = sim.dispatch(ship.task(1), delay=HOUR)
        assert sim.cancel(waiting) is CancelOutcome.CANCELLED
        sim.expect(waiting).cancelled()
        running = sim.dispatch(order(1))
        sim.run(until=lambda sim: sim.history.of(What.COMPLETED))
        assert sim.cancel_workflow(running, "no more") is WorkflowCancelOutcome.COMPENSATING
        sim.run(until=drained)
        sim.expect(running).compensated(["Reserve"])
        sim.check_all()


# What goes wrong


def test_a_node_that_is_killed_is_brought_back_by_a_run() -> None:
    with counting(storage="sqlite") as sim:
        kept = sim.dispatch(count.task(1))
        sim.kill()
        assert not sim.nodes["node-1"].alive
        sim.run()
        sim.expect(kept).completed(1)
        assert [event.node for event in sim.history.of(What.NODE_STARTED)] == ["node-1.1", "node-1.2"]
        sim.restart()
        assert sim.nodes["node-1"].lives == 3
        sim.stop()
        sim.run()
        assert sim.nodes["node-1"].lives == 4
        sim.check_all()


def test_what_a_dead_node_had_is_done_by_another_one() -> None:
    with Simulation([count], nodes=2) as sim:
        kept = sim.dispatch(count.task(1), node="node-1")
        sim.kill("node-1")
        sim.run(until=lambda sim: sim.history.of(What.COMPLETED))
        assert {event.node for event in sim.history.of(What.COMPLETED)} == {"node-2.1"}
        sim.expect(kept).completed(1)
        sim.check_all()


@pytest.mark.parametrize("moment", [1, after(1), 2, after(2)])
def test_a_node_dies_at_its_commit(moment: Any) -> None:
    """The client of the first one asks again, with the same id."""
    with Simulation([count], faults=Faults(crash_at=[moment])) as sim:
        kept = sim.dispatch(count.task(1))
        sim.run()
        sim.expect(kept).completed(1)
        assert len(sim.history.of(What.CRASHED)) == 1
        assert len(sim.history.of(What.UNKNOWN)) == (moment in (1, after(1)))
        sim.check_all()


def test_attempts_fail_before_and_after_their_effect() -> None:
    effects: list[int] = []

    @task(name="Pay", retry=Retry(attempts=3, delay=1))
    def pay(ctx: TaskContext) -> None:
        effects.append(ctx.attempt)

    plan = Faults(fail=[("Pay", attempt(1), OSError)], fail_after=[("Pay", attempt(2), ConnectionError)])
    with Simulation([pay], storage="memory", faults=plan) as sim:
        paid = sim.dispatch(pay.task())
        sim.run()
        sim.expect(paid).completed().attempts(3)
    assert effects == [2, 3]


def test_an_undo_fails_by_a_name_of_its_own() -> None:
    plan = Faults(fail=[("UndoReserve", attempt(1), OSError)])
    with Simulation(HANDLERS, storage="memory", faults=plan) as sim:
        failing = sim.dispatch(order(22))
        sim.run()
        sim.expect(failing).compensated(["Charge", "Reserve"])
        assert [event.task for event in sim.history.of(What.UNDO_RAISED)] == ["UndoReserve#1"]
        sim.check_all()


def test_a_duplicate_has_its_effect_twice() -> None:
    effects: list[int] = []

    @task(name="Pay")
    def pay(ctx: TaskContext) -> None:
        effects.append(ctx.attempt)

    with Simulation([pay], faults=Faults(duplicate=["Pay"])) as sim:
        paid = sim.dispatch(pay.task())
        sim.run()
        sim.expect(paid).completed()
        sim.check_all()
    assert effects == [1, 1]


def test_a_slow_attempt_takes_its_time_and_meets_its_timeout() -> None:
    @task(name="Slow", timeout=5, retry=Retry(attempts=1))
    def slow() -> None:
        """Quick, but for the fault."""

    with Simulation([slow], storage="memory", faults=Faults(delay=[("Slow", 30)]), settings=Settings(grace=1)) as sim:
        late = sim.dispatch(slow.task())
        sim.run()
        sim.expect(late).failed()
        assert sim.time == pytest.approx(6, abs=0.5)
        assert "TaskTimeout" in sim.history.of(What.FAILED)[0].detail


def test_a_paused_node_does_nothing_and_does_not_know() -> None:
    with counting(faults=Faults(pause=[("node-1", at(5), 40)])) as sim:
        paused = sim.dispatch(count.task(1))
        sim.run()
        sim.expect(paused).completed(1)
        assert sim.time == pytest.approx(45, abs=0.1)


def test_a_clock_that_is_set_forward_makes_things_due() -> None:
    with counting(faults=Faults(jump=[("node-1", at(5), HOUR)])) as sim:
        later = sim.dispatch(count.task(1), delay=HOUR)
        sim.run(until=drained)
        sim.expect(later).completed(1)
        assert sim.time < 60


def test_a_full_disk_refuses_new_tasks_and_running_ones_end() -> None:
    with counting(storage="sqlite", faults=Faults(disk_full=between(5, 20))) as sim:
        running = sim.dispatch(count.task(1))
        sim.advance(6)
        with pytest.raises(StorageFull):
            sim.dispatch(count.task(2))
        sim.run()
        sim.expect(running).completed(1)
        sim.advance(20)
        sim.dispatch(count.task(3))
        sim.run()
        assert [event.task for event in sim.history.of(What.REFUSED)] == ["Count#2"]
        sim.check_all()


def test_a_cancel_that_a_full_disk_refuses_was_answered() -> None:
    with counting(storage="sqlite", faults=Faults(disk_full=between(5, 20))) as sim:
        later = sim.dispatch(count.task(1), delay=HOUR)
        sim.advance(6)
        with pytest.raises(StorageFull):
            sim.cancel_workflow(later)
        sim.run(until=drained)
        assert [event.task for event in sim.history.of(What.REFUSED)] == ["Count#1"]
        sim.check_all()


@pytest.mark.parametrize(
    "plan", [Faults(commit_unknown=every(2)), Faults(commit_lost=every(2)), Faults(busy=commit(1))]
)
def test_a_commit_that_fails_loses_nothing(plan: Faults) -> None:
    with Simulation([charge, refund, ship], faults=plan) as sim:
        charged = [sim.dispatch(charge.task(n)) for n in (4, 6)]
        sim.run(until=drained)
        for each in charged:
            sim.expect(each).completed()
        assert sim.history.of(What.FAULT)
        sim.check_all()


@pytest.mark.parametrize("step", [1, 30, 60, 90])
def test_a_cancel_comes_at_a_step(step: int) -> None:
    with Simulation(HANDLERS, storage="memory", faults=Faults(cancel=[("Ship", step)])) as sim:
        sim.dispatch(order(1))
        sim.run(until=drained)
        (answer,) = sim.history.of(What.CANCEL_ANSWERED)
        assert answer.step >= step
        sim.check_all()


def test_choices_are_drawn_on_the_thread_of_the_test() -> None:
    threads: set[int] = set()

    def draw(number: int) -> int:
        threads.add(threading.get_ident())
        return (number - 1) // 2

    with Simulation(HANDLERS, policy=Drawn(draw), storage="memory") as sim:
        placed = sim.dispatch(order(1))
        sim.run(until=drained)
        sim.expect(placed).completed()
    assert threads == {threading.get_ident()}


def test_a_trace_reads_as_a_story() -> None:
    with counting() as sim:
        sim.dispatch(count.task(1))
        sim.run()
        lines = str(sim.trace)
    for part in (
        "driver .* has sent StoreTasks Count",
        "node-1/journal .* calls storage: commit",
        "FinishDelivery Count",
    ):
        assert re.search(part, lines)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"nodes": 0}, "nodes=0"),
        ({"storage": "disk"}, "'disk'"),
        ({"storage": "memory", "nodes": 2}, "for one node"),
        ({"storage": "memory://", "faults": Faults(crash_at=[1])}, "crash_at would let a node or a commit fail"),
        ({"schedule": "what?"}, "is no schedule"),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Simulation([count], **options)
