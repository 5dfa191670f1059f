"""The commands about workflows: list them, show one with its undo log, and let a stuck one go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import click
import msgspec

from everact import cli_database as database
from everact.cli_text import printable, table
from everact.storage.protocol import Selection
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import TaskNotFound
from everact.tasks.unwinding import WorkflowRow
from everact.tasks.workflow import Workflow, WorkflowState
from everact.workflows import ALL, NO_ID, picture


def listed(storage: SqliteStorage, state: str | None, limit: int) -> list[WorkflowRow]:
    """Read workflows of several tasks, or with something to undo."""
    states = None if state is None else (WorkflowState(state),)
    with database.reading(storage):
        return storage.workflows(states, NO_ID, limit)


def found(storage: SqliteStorage, id: UUID) -> Workflow:
    """Read one workflow.

    Raises:
        TaskNotFound: There is none.
    """
    with database.reading(storage):
        records = storage.select(Selection(workflow=id.bytes, limit=ALL))
        if not records:
            raise TaskNotFound(id)
        row, log = storage.workflow(id.bytes), storage.undo_log(id.bytes)
    return picture(id.bytes, row, tuple(map(database.picture, records)), log)


def workflow_table(rows: list[WorkflowRow]) -> Iterator[str]:
    """Lay workflows out, one to a line."""
    head = ("ID", "STATE", "OPEN", "TO UNDO", "REASON")
    cells = [[str(UUID(bytes=r.id)), r.state.value, str(r.open), str(r.pending), printable(r.reason)] for r in rows]
    return table(head, cells)


def workflow_page(workflow: Workflow) -> Iterator[str]:
    """Lay all there is to know about one workflow out: its state, its tasks as a tree, its undo log."""
    yield f"id      {workflow.id}"
    yield f"state   {workflow.state.value}"
    if workflow.reason:
        yield f"reason  {printable(workflow.reason)}"
    yield ""
    yield from map(printable, workflow.tree().splitlines())
    if workflow.undo_log:
        yield ""
        head = ("STEP", "UNDO", "OUTCOME", "STATE", "NOTE")
        log = [[str(e.step_id), printable(e.type), e.outcome, e.state, printable(e.note)] for e in workflow.undo_log]
        yield from table(head, log)


def row_data(row: WorkflowRow) -> dict[str, Any]:
    """Turn a workflow's row into plain data."""
    id = str(UUID(bytes=row.id))  # noqa: A001 - the workflow's own word
    return {"id": id, "state": row.state.value, "open": row.open, "pending": row.pending, "reason": row.reason}


def workflow_data(workflow: Workflow) -> dict[str, Any]:
    """Turn a workflow into plain data; its tasks by their ids."""
    return {
        "id": str(workflow.id),
        "state": workflow.state.value,
        "reason": workflow.reason,
        "tasks": [str(task.id) for task in workflow.tasks],
        "undo_log": msgspec.to_builtins(workflow.undo_log),
    }


def resume(storage: SqliteStorage, id: UUID, *, skip: bool, note: str) -> str:
    """Let a stuck workflow go on, and say what that means.

    Raises:
        NotStuck, TaskNotFound: See `ActorSystem.resume`.
    """
    with database.managing(storage) as system:
        system.resume(id, skip=skip, note=note)
        state = system.workflow(id).state
    after = "" if state.final else "; it goes on where its application runs, or at the next start of that"
    return click.style(f"{id}  {'skipped' if skip else 'resumed'}: {state.value}{after}")
