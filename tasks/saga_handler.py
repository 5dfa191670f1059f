"""The handler of a saga: a task that starts a stage, waits for its end, and goes on, until every step is over.

It keeps nothing itself. What has become of its steps is in their records, whose ids follow from the saga's and the
step's name; so whoever runs it next, after a crash or in another process, comes to the same decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import UUID, uuid5

import msgspec

from everact.tasks.context import TaskContext
from everact.tasks.errors import StepFailed
from everact.tasks.handler import TaskHandler
from everact.tasks.record import Flow, Record
from everact.tasks.saga import Saga, Step
from everact.tasks.saga_plan import Broken, Done, Seen, Start, plan
from everact.tasks.status import COMPLETED


class SagaHandler(TaskHandler[Any]):
    """Coordinates the runs of one saga; a subclass is made for each by `handler_of`."""

    saga: ClassVar[Saga]

    def handle(self, task: Any, ctx: TaskContext) -> dict[str, Any] | None:
        """Start the next stage, or return the results of all steps once there is none."""
        run = Run(self.saga, ctx)
        decision = plan(self.saga, run.seen())
        if isinstance(decision, Start):
            results = run.results()
            for step in decision.steps:
                run.start(step, step.task(task.input, results))
        elif isinstance(decision, Done):
            return {name: value for name, value in run.results().items() if _is_plain(value)}
        elif isinstance(decision, Broken):
            failed = run.task_of(decision.step_name)
            raise StepFailed(self.saga.name, decision.step_name, None if failed is None else str(failed.error))
        else:
            msg = f"saga {self.saga.name!r} was woken though its stage is not over; please report this"
            raise RuntimeError(msg)  # noqa: TRY004 - no type is at fault; it is tried again after a while
        ctx._wishes().parked = True
        return None

    def compensate(self, task: Any, ctx: TaskContext) -> None:
        """Make the undo task of one step; that one then goes on with the compensation."""
        run = Run(self.saga, ctx)
        step = self.saga.step(run.flow.step or "")
        run.undo(step.undo_task(task.input, run.results()))


class Run:
    """One run of a saga, as one delivery sees it.

    Attributes:
        flow: What the task is to its workflow.
    """

    def __init__(self, saga: Saga, ctx: TaskContext) -> None:
        self._saga = saga
        self._ctx = ctx
        self._services = ctx._services
        self._record = ctx._record
        self.flow = self._record.flow or Flow()
        self._id = self.flow.run or self._record.id
        self._tasks: dict[str, Record | None] = {step.name: self._find(step) for step in _steps(saga)}

    def task_of(self, name: str) -> Record | None:
        """The task of a step, the last one if it was repeated; None if it has none yet."""
        return self._tasks[name]

    def seen(self) -> dict[str, Seen | None]:
        """What has become of each step."""
        return {
            name: None if task is None else Seen(task.status, self._critical(task))
            for name, task in self._tasks.items()
        }

    def results(self) -> MappingProxyType[str, Any]:
        """What the completed steps have returned, by name."""
        tasks = [(name, task) for name, task in self._tasks.items() if task is not None and task.status == COMPLETED]
        return MappingProxyType({name: self._services.result_of(task) for name, task in tasks})

    def start(self, step: Step, task: object) -> None:
        """Dispatch a step, with the commit that parks the saga."""
        id = UUID(bytes=self._step_id(step))  # noqa: A001 - the task's own word
        follow_up = self._dispatch(task, id)
        follow_up.flow = Flow(
            join=self._record.id,
            saga=self._id,
            step=step.name,
            critical=None if step.critical else False,
            pivot=step.pivot,
            undo=self._saga.name if step.undo is not None else None,
        )

    def undo(self, task: object) -> None:
        """Dispatch the task that undoes a step, in the place of this compensation."""
        follow_up = self._dispatch(task, uuid5(UUID(bytes=self._record.id), "undo"))
        follow_up.kind = self._record.kind
        follow_up.flow = Flow(undoes=self.flow.undoes, number=self.flow.number, outcome=self.flow.outcome)

    def _dispatch(self, task: object, id: UUID) -> Record:
        self._ctx.dispatch(task, id=id, priority=self._record.priority)
        assert self._ctx._buffer is not None  # noqa: S101 - dispatch has just filled it
        record: Record = self._ctx._buffer[-1].record
        return record

    def _find(self, step: Step) -> Record | None:
        id = self._step_id(step)  # noqa: A001 - the task's own word
        found = self._services.lookup(id)
        while found is not None and (repeated := self._services.lookup(repeated_id(found.id))) is not None:
            found = repeated
        return found

    def _step_id(self, step: Step) -> bytes:
        return uuid5(UUID(bytes=self._id), step.name).bytes

    def _critical(self, task: Record) -> bool:
        if task.flow is not None and task.flow.critical is not None:
            return task.flow.critical
        return self._services.is_critical(task)


def handler_of(saga: Saga) -> type[SagaHandler]:
    """Make the handler class of a saga."""
    retry = replace(saga.retry, never=(*saga.retry.never, StepFailed))
    return type(saga.name, (SagaHandler,), {"saga": saga, "retry": retry, "task_name": saga.name, "__doc__": None})


def repeated_id(id: bytes) -> bytes:
    """The id of the task that is run in the place of one that failed after the pivot."""
    return uuid5(UUID(bytes=id), "again").bytes


def _steps(saga: Saga) -> Iterator[Step]:
    for stage in saga.stages:
        yield from stage


def _is_plain(value: object) -> bool:
    """Whether a result can stand in the saga's own result, which is JSON."""
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True
