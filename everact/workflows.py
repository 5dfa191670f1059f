"""The half of `ActorSystem` that has to do with workflows as a whole: reading, cancelling, resuming, waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

from everact import access
from everact.actors.baton import Waiter, release
from everact.actors.messages import InTurn, OrderWorkflow
from everact.engine import Engine
from everact.storage.changes import Answer, Order, OrderKind
from everact.storage.compensations import compensation_id
from everact.storage.protocol import Selection
from everact.tasks.cancellation import WorkflowCancelOutcome
from everact.tasks.errors import NotStuck, TaskNotFound, WaitTimeout
from everact.tasks.ids import TaskId, id_bytes
from everact.tasks.record import Record, TaskRecord, instant
from everact.tasks.status import TaskStatus
from everact.tasks.unwinding import Entry, EntryState, WorkflowRow
from everact.tasks.workflow import UndoEntry, Workflow, WorkflowState, workflow_state

ALL = 1_000_000_000
NO_ID = bytes(16)
_CANCELLED = {
    Answer.NOT_FOUND: WorkflowCancelOutcome.NOT_FOUND,
    Answer.FINISHED: WorkflowCancelOutcome.ALREADY_FINISHED,
    Answer.UNWINDING: WorkflowCancelOutcome.ALREADY_COMPENSATING,
    Answer.PAST_PIVOT: WorkflowCancelOutcome.PAST_PIVOT,
}


class Workflows:
    """What can be done about a workflow of a running system. Reads never wait for the journal."""

    def _running(self) -> Engine:
        raise NotImplementedError  # ActorSystem has it; this class is one part of that

    # -- reading -------------------------------------------------------------------------------------------

    def workflow(self, id: TaskId) -> Workflow:
        """Read a workflow: its state, its tasks, and what can undo them.

        Args:
            id: The workflow's id, which is its root task's id.

        Raises:
            TaskNotFound: No task of this workflow is there.
        """
        engine = self._running()
        workflow_id = id_bytes(id)
        row = engine.storage.workflow(workflow_id)
        records = engine.storage.select(Selection(workflow=workflow_id, limit=ALL))
        if not records:
            raise TaskNotFound(UUID(bytes=workflow_id))
        return _workflow(engine, workflow_id, row, records)

    def workflows(
        self, *, state: WorkflowState | None = None, limit: int = 100, after: TaskId | None = None
    ) -> list[Workflow]:
        """List workflows of more than one task, or with something to undo, in order of their ids.

        Args:
            state: Only those in this state; `WorkflowState.STUCK` for those that wait for you.
            limit: How many at most.
            after: Only those whose id is greater, for paging.
        """
        engine = self._running()
        states = None if state is None else (state,)
        rows = engine.storage.workflows(states, NO_ID if after is None else id_bytes(after), limit)
        return [
            _workflow(engine, row.id, row, engine.storage.select(Selection(workflow=row.id, limit=ALL))) for row in rows
        ]

    def wait_workflow(self, id: TaskId, timeout: float | None = None) -> Workflow:
        """Block until a workflow has ended: all its tasks, and, if it is undone, its compensations too.

        A stuck workflow has not ended.

        Args:
            id: The workflow's id.
            timeout: Seconds; None for ever.

        Raises:
            WaitTimeout: It had not ended by then; it goes on.
            TaskNotFound: There is none.
            BlockingCallError: Called on one of everact's own threads.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "wait_workflow")
        workflow_id = id_bytes(id)
        watchers = engine.node.journal.settlement.workflow_watchers
        deadline = None if timeout is None else engine.node.runtime.monotonic() + timeout
        waiter = Waiter(engine.node.runtime.gate)
        watchers.add(workflow_id, waiter)
        try:
            while not (found := self.workflow(id)).state.final:
                left = ALL if deadline is None else max(deadline - engine.node.runtime.monotonic(), 0.0)
                if engine.storage.workflow(workflow_id) is None:
                    access.final(engine, workflow_id, left)  # one task so far: it may have more when it has ended
                elif not waiter.wait(left):
                    msg = (
                        f"workflow {found.id} was {found.state.value} after {timeout} s; your wait is over, it goes on"
                    )
                    raise WaitTimeout(msg)
                if waiter.error is not None:
                    raise waiter.error
            return found
        finally:
            watchers.remove(workflow_id, waiter)
            waiter.wait(0.0)  # it may hold the baton all the same

    # -- changing ------------------------------------------------------------------------------------------

    def cancel_workflow(self, id: TaskId, reason: str = "") -> WorkflowCancelOutcome:
        """Cancel a workflow and undo what it has done; returns after the commit, with what is true then.

        Steps that have not started never start. Running ones are told to stop, and left behind after
        `Settings.grace`. Then the undo entries of completed steps, and of those whose outcome is unknown, are played
        one at a time in reverse order.

        Args:
            id: The workflow's id, which is its root task's id.
            reason: Kept with the workflow and its cancelled tasks.

        Raises:
            Others as `dispatch`.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "cancel_workflow")
        text = access.reason_text(reason) or "the workflow was cancelled"
        order = Order(id_bytes(id), OrderKind.CANCEL, text)
        answer = _ask(engine, order)
        return _CANCELLED[answer] if answer in _CANCELLED else _cancelled(engine, order.workflow)

    def resume(self, workflow_id: TaskId, *, skip: bool = False, note: str = "") -> None:
        """Let a stuck workflow go on.

        One whose undo failed plays that entry again, as a new task; with `skip` it is passed over. One that failed
        after its pivot runs the failed step again; with `skip` it goes on as if that were not critical.

        Args:
            workflow_id: The workflow's id.
            skip: Pass over what is stuck.
            note: Why; kept in the history of the workflow's root, `system.history(workflow_id)`.

        Raises:
            NotStuck: It is not stuck.
            TaskNotFound: There is none.
            Others as `dispatch`.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "resume")
        id = id_bytes(workflow_id)  # noqa: A001 - the workflow's own word
        kind = OrderKind.SKIP if skip else OrderKind.RESUME
        answer = _ask(engine, Order(id, kind, access.reason_text(note)))
        if answer is Answer.NOT_FOUND:
            raise TaskNotFound(UUID(bytes=id))
        if answer is Answer.NOT_STUCK:
            raise NotStuck(UUID(bytes=id), self.workflow(workflow_id).state.value)

    async def cancel_workflow_async(self, id: TaskId, reason: str = "") -> WorkflowCancelOutcome:
        """As `cancel_workflow`, awaited."""
        self._running()
        return await asyncio.to_thread(self.cancel_workflow, id, reason)

    async def resume_async(self, workflow_id: TaskId, *, skip: bool = False, note: str = "") -> None:
        """As `resume`, awaited."""
        self._running()
        await asyncio.to_thread(self.resume, workflow_id, skip=skip, note=note)

    async def wait_workflow_async(self, id: TaskId, timeout: float | None = None) -> Workflow:
        """As `wait_workflow`, awaited."""
        self._running()
        return await asyncio.to_thread(self.wait_workflow, id, timeout)


def _ask(engine: Engine, order: Order) -> Answer:
    waiter = Waiter(engine.node.runtime.gate)
    engine.node.journal.submit(OrderWorkflow(order, waiter))
    waiter.wait(engine.settings.commit_timeout)
    answer: Answer = access.answer_of(waiter, order.workflow)
    return answer


def _cancelled(engine: Engine, workflow_id: bytes) -> WorkflowCancelOutcome:
    """Whether nothing is left to be undone once the steps that had not started are cancelled: one turn later."""
    waiter = Waiter(engine.node.runtime.gate)

    def answer(now: int) -> None:  # noqa: ARG001 - the signature is InTurn's
        waiter.settle(True)
        release((waiter,))

    engine.node.journal.submit(InTurn(answer))
    waiter.wait(engine.settings.commit_timeout)
    row = engine.storage.workflow(workflow_id)
    over = row is not None and row.state is WorkflowState.CANCELLED
    return WorkflowCancelOutcome.CANCELLED if over else WorkflowCancelOutcome.COMPENSATING


def _workflow(engine: Engine, id: bytes, row: WorkflowRow | None, records: Iterable[Record]) -> Workflow:
    tasks = tuple(access.public(engine, access.overlay(engine, record)) for record in records)
    pool = engine.node.dispatcher.named.get(tasks[0].type)
    log = () if row is None else engine.storage.undo_log(id)
    return picture(id, row, tasks, log, critical=pool is None or pool.spec.critical)


def picture(
    id: bytes, row: WorkflowRow | None, tasks: tuple[TaskRecord, ...], log: Iterable[Entry], *, critical: bool = True
) -> Workflow:
    """Make the user's picture of a workflow.

    Args:
        id: Its id.
        row: Its row; None if it has only ever been one task, or had ended before rows were kept.
        tasks: Its tasks, the root first.
        log: Its undo entries.
        critical: Whether the root's failure is the workflow's, where there is no row to say.
    """
    if row is None:
        return Workflow(
            UUID(bytes=id), _worst([workflow_state(task.status, critical=critical) for task in tasks]), tasks
        )
    entries = tuple(_entry(entry) for entry in log if _counts(entry, tasks))
    return Workflow(UUID(bytes=id), row.state, tasks, entries, row.reason)


def _worst(states: list[WorkflowState]) -> WorkflowState:
    """Of several tasks without a row: they had ended before rows were kept."""
    for state in (WorkflowState.RUNNING, WorkflowState.FAILED):
        if state in states:
            return state
    return states[0]


def _counts(entry: Entry, tasks: Iterable[TaskRecord]) -> bool:
    """Whether an entry is still worth showing: one that was held for a step which then completed is not."""
    if entry.state != EntryState.HELD:
        return True
    return all(task.id.bytes != entry.step or task.status is not TaskStatus.COMPLETED for task in tasks)


def _entry(entry: Entry) -> UndoEntry:
    sent = entry.state in (EntryState.PLAYING, EntryState.PLAYED, EntryState.STUCK, EntryState.SKIPPED)
    return UndoEntry(
        step_id=UUID(bytes=entry.step),
        type=entry.type,
        outcome=entry.outcome,
        state=str(EntryState(entry.state)),
        compensation_id=UUID(bytes=compensation_id(entry)) if sent else None,
        round=entry.round,
        note=entry.note,
        at=instant(entry.at),
    )
