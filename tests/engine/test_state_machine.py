"""P2 and P3 under arbitrary histories of dispatches, failures, cancels, stops and crashes.

The handler of the machine stops at a gate that the machine owns, one gate per attempt, so every step is a choice.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from everact import ActorSystem, CancelOutcome, Retry, Settings, TaskContext, TaskHandler, TaskStatus
from everact.tasks.status import LEGAL_MOVES
from tests.engine.conftest import WAIT, Bang, Job, Lab, Next, until

ATTEMPTS = 2
MAX_CRASHES = Settings().max_crashes


class Attempt:
    """One call of `handle` that waits for the machine's word."""

    def __init__(self, incarnation: int, task: UUID, number: int) -> None:
        self.incarnation = incarnation
        self.task = task
        self.number = number
        self.verdict = ""
        self.cancelled = False
        self.gate = threading.Event()


class Machine(RuleBasedStateMachine):
    """The engine, and what must be true of it."""

    backend = "memory"
    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.lab = Lab(self.backend, Path(self._folder.name))
        self.attempts: list[Attempt] = []
        self.incarnation = 0
        self.crashes = 0
        self.known: dict[UUID, TaskStatus] = {}
        self.ended: dict[UUID, Any] = {}
        self.answered: dict[UUID, CancelOutcome] = {}
        self.never: set[UUID] = set()
        self.followed: dict[UUID, list[UUID]] = {}
        self.system: ActorSystem

    @initialize()
    def begin(self) -> None:
        self._start()

    def _start(self) -> None:
        self.incarnation += 1
        self.system = self.lab.system(self._handler(self.incarnation), self._follower())

    def _handler(self, incarnation: int) -> type[TaskHandler[Job]]:
        machine = self

        class Handler(TaskHandler[Job]):
            task_name = "job"
            retry = Retry(attempts=ATTEMPTS, delay=0)
            concurrency = 2

            def handle(self, task: Job, ctx: TaskContext) -> str:
                attempt = Attempt(incarnation, ctx.task_id, ctx.attempt)
                machine.attempts.append(attempt)
                while not attempt.gate.wait(0.003):
                    if ctx.cancellation.cancelled:
                        attempt.cancelled = True
                        ctx.cancellation.raise_if_cancelled()
                if attempt.verdict == "raise":
                    raise Bang
                ctx.dispatch(Next(1))
                return "done"

            def on_error(self, ctx: TaskContext, error: BaseException) -> None:
                ctx.dispatch(Next(2))

        return Handler

    @staticmethod
    def _follower() -> type[TaskHandler[Next]]:
        class Follower(TaskHandler[Next]):
            task_name = "next"

            def handle(self, task: Next, ctx: TaskContext) -> int:
                return task.n

        return Follower

    def _open(self) -> list[Attempt]:
        return [a for a in self.attempts if a.incarnation == self.incarnation and not a.gate.is_set()]

    def _waits(self, attempt: Attempt) -> bool:
        return not attempt.cancelled and self.system.get(attempt.task).status is TaskStatus.RUNNING

    @rule(target=tasks, delay=st.sampled_from([0.0, 0.0, 0.005, 3600.0]), priority=st.integers(-1, 1))
    def dispatch(self, delay: float, priority: int) -> UUID:
        task = self.system.dispatch(Job(), delay=delay, priority=priority, id=uuid4())
        self.known[task.id] = TaskStatus.SCHEDULED if delay else TaskStatus.QUEUED
        return task.id

    @rule(verdict=st.sampled_from(["return", "raise"]), which=st.integers(0, 3))
    def finish(self, verdict: str, which: int) -> None:
        waiting = self._open()
        if waiting:
            attempt = waiting[which % len(waiting)]
            attempt.verdict = verdict
            attempt.gate.set()

    @rule(task=tasks, reason=st.sampled_from(["", "why"]))
    def cancel(self, task: UUID, reason: str) -> None:
        answer = self.system.cancel(task, reason)
        ran = any(attempt.task == task for attempt in self.attempts)
        before = self.answered.get(task)
        if before is CancelOutcome.CANCELLED:
            assert answer is CancelOutcome.ALREADY_FINISHED
        elif answer is CancelOutcome.CANCELLED:
            record = self.system.get(task)
            assert record.status is TaskStatus.CANCELLED
            if not any(a.incarnation < self.incarnation for a in self.attempts if a.task == task):
                assert not ran, "a task that was running was answered as never started"
            self.never.add(task)
            self.answered[task] = answer
        elif answer is CancelOutcome.ALREADY_FINISHED:
            assert self.system.get(task).status.terminal
        else:
            assert answer is CancelOutcome.SIGNALLED

    @rule()
    def settle(self) -> None:
        """Let everything that needs no word from the machine happen."""
        running = self._open()
        for attempt in running:
            until(lambda a=attempt: a.cancelled or self._waits(a) or self._is_over(a), "an attempt's place")

    def _is_over(self, attempt: Attempt) -> bool:
        record = self.system.get(attempt.task)
        return record.status.terminal or record.attempt != attempt.number

    @rule()
    def crash(self) -> None:
        old = self.incarnation
        self.crashes += 1
        self.lab.crash(self.system)
        self._release(old)
        self._start()

    @rule()
    def stop(self) -> None:
        old = self.incarnation
        self.system.stop(timeout=0)
        self._release(old)
        self._start()

    def _release(self, incarnation: int) -> None:
        for attempt in self.attempts:
            if attempt.incarnation == incarnation:
                attempt.gate.set()

    @invariant()
    def moves_are_legal_and_ends_are_final(self) -> None:
        for task, before in list(self.known.items()):
            record = self.system.get(task)
            if task in self.ended:
                assert record == self.ended[task], "a task left its terminal status"
            assert reachable(before, record.status), f"{before} → {record.status}"
            self.known[task] = record.status
            if record.status.terminal:
                self.ended[task] = record
            assert record.attempt <= ATTEMPTS

    def teardown(self) -> None:
        try:
            if hasattr(self, "system"):
                self._run_to_the_end()
        finally:
            for attempt in self.attempts:
                attempt.gate.set()
            self.lab.clear_up()
            self._folder.cleanup()

    def _run_to_the_end(self) -> None:
        far = [r.id for r in self.system.tasks(status=TaskStatus.SCHEDULED, limit=1000) if r.type == "job"]
        self.system.cancel_many([task for task in far if self._is_far(task)])

        def all_ended() -> bool:
            for attempt in self._open():
                attempt.verdict = "return"
                attempt.gate.set()
            return all(self.system.get(task).status.terminal for task in self.known)

        until(all_ended, "the end of all tasks")
        self.system.wait_idle(WAIT)
        self.moves_are_legal_and_ends_are_final()
        for task in self.known:
            self._check_end(task)

    def _is_far(self, task: UUID) -> bool:
        record = self.system.get(task)
        return (record.due - record.created).total_seconds() > 60

    def _check_end(self, task: UUID) -> None:
        record = self.system.get(task)
        children = [child for child in self.system.tasks(workflow=task, limit=100) if child.id != task]
        results = [child.result for child in children]
        ran = [attempt for attempt in self.attempts if attempt.task == task]
        if record.status is TaskStatus.COMPLETED:
            assert results == [1], "the follow-up of a completion is there exactly once"
        elif record.status is TaskStatus.FAILED:
            assert results == [2], "the follow-up of a failure is there exactly once"
            assert record.attempt == ATTEMPTS
        elif record.status is TaskStatus.QUARANTINED:
            assert results == [], "no hook runs for a task that is set aside"
            assert (record.crashes, self.crashes >= MAX_CRASHES) == (MAX_CRASHES, True)
        elif task in self.never:
            assert results == []
            if not any(attempt.incarnation > 1 for attempt in ran):
                assert record.started is None or ran
        else:
            assert record.status is TaskStatus.CANCELLED
            assert results in ([2], [])
            assert results == [2] or not ran or any(a.number == 1 for a in ran)
        assert {child.status for child in children} <= {TaskStatus.COMPLETED}


def reachable(before: TaskStatus, after: TaskStatus) -> bool:
    """Whether legal moves lead from one status to the other."""
    seen, front = {int(before)}, [int(before)]
    while front:
        for status in LEGAL_MOVES[front.pop()]:
            if status not in seen:
                seen.add(status)
                front.append(status)
    return int(after) in seen


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_every_history_keeps_the_promises(backend: str) -> None:
    machine = type("Machine", (Machine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30 if backend == "memory" else 15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
