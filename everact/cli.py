"""The command line: look into a database of tasks, cancel and requeue, migrate, and a demo.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from everact import cli_database as database
from everact import cli_workflows
from everact.cli_database import Answer
from everact.cli_metrics import assets
from everact.cli_text import history_data, printable, task_data, task_page, task_table
from everact.storage.protocol import Selection
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import ConfigurationError, EverActError, TaskNotFound
from everact.tasks.record import merge_history
from everact.tasks.status import TaskStatus
from everact.tasks.workflow import WorkflowState

FAILED, NOT_FOUND = 1, 3


class Commands(click.Group):
    """Turns everact's errors into a message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except TaskNotFound as error:
            raise NotFound(printable(str(error))) from error
        except (EverActError, FileNotFoundError) as error:
            raise click.ClickException(printable(str(error))) from error


class NotFound(click.ClickException):
    """Ends a command that was asked for what is not there."""

    exit_code = NOT_FOUND


def storage_argument(text: str) -> SqliteStorage:
    """Read the value of `--storage`."""
    try:
        return database.storage_at(text)
    except ConfigurationError as error:
        raise click.BadParameter(printable(str(error))) from error


with_storage = click.option(
    "--storage",
    type=storage_argument,
    metavar="URL",
    envvar="EVERACT_DB",
    show_envvar=True,
    required=True,
    help="sqlite:///relative.db, sqlite:////absolute.db, or the path of an existing file.",
)
with_json = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
with_ids = click.argument("ids", metavar="ID...", type=click.UUID, nargs=-1, required=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="everact")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Durable background tasks: look into a database of tasks, and mend it."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not have every letter


@main.command()
@click.option("--limit", type=click.IntRange(min=1), help="Index only the first N files.", metavar="N")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), help="Work in this directory, and keep what is made."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    metavar="N",
    help="Files parsed at once. More is not faster where parsing holds the interpreter lock.",
)
@click.option("--actors", is_flag=True, help="Show the tree of the worker's actors, too.")
@click.pass_context
def demo(ctx: click.Context, limit: int | None, keep: Path | None, workers: int, actors: bool) -> None:
    """Index this Python installation, kill the worker half way, and lose nothing."""
    from everact import demo as program

    if keep is not None and keep.exists() and any(keep.iterdir()):
        msg = f"{printable(str(keep))} is not empty; name a new directory"
        raise click.BadParameter(msg, param_hint="--keep")
    ctx.exit(program.run(limit=limit, keep=keep, workers=workers, actors=actors))


@main.command("list")
@with_storage
@click.option("--status", type=click.Choice([str(status) for status in TaskStatus]), help="Only these.")
@click.option("--type", "type_", metavar="NAME", help="Only this task type, by its stored name.")
@click.option("--workflow", type=click.UUID, metavar="ID", help="Only tasks of this workflow.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N")
@click.option("--after", type=click.UUID, metavar="ID", help="Go on after this task.")
@with_json
def list_(
    storage: SqliteStorage,
    status: str | None,
    type_: str | None,
    workflow: UUID | None,
    limit: int,
    after: UUID | None,
    as_json: bool,
) -> None:
    """List tasks in the order in which they were stored.

    A task that another process runs at this moment is listed as queued: only its end is written down.
    """
    wanted = None if status is None else TaskStatus[status.upper()]
    with database.reading(storage):
        start = 0 if after is None else database.find(storage, after).seq
        workflow_id = None if workflow is None else workflow.bytes
        tasks = database.select(storage, wanted, Selection(type=type_, workflow=workflow_id, after=start, limit=limit))
    following = str(tasks[-1].id) if len(tasks) == limit else None
    if as_json:
        echo_json({"tasks": [task_data(task) for task in tasks], "next": following})
        return
    click.echo("\n".join(task_table(tasks)))
    if following:
        click.echo(f"There may be more: --after {following}", err=True)


@main.command()
@with_storage
@click.argument("id", type=click.UUID)
@with_json
def show(storage: SqliteStorage, id: UUID, as_json: bool) -> None:
    """Show one task: its record, its error with the traceback, and its history."""
    with database.reading(storage):
        record = database.find(storage, id)
        history = merge_history(record, storage.history(record.id))
    task = database.picture(record)
    if as_json:
        echo_json({"task": task_data(task), "history": history_data(history)})
    else:
        click.echo("\n".join(task_page(task, history)))


@main.command()
@with_storage
@with_ids
@click.option("--reason", default="", help="Kept with the task, and given to on_error.")
@with_json
@click.pass_context
def cancel(ctx: click.Context, storage: SqliteStorage, ids: Sequence[UUID], reason: str, as_json: bool) -> None:
    """Cancel tasks, while the application that owns them does not run."""
    with database.managing(storage) as system:
        answers = [database.cancel_one(system, task_id, reason) for task_id in ids]
    echo_answers("outcomes", answers, as_json=as_json)
    ctx.exit(exit_code_for(answers, good={"cancelled", "signalled"}))


@main.command()
@with_storage
@with_ids
@with_json
@click.pass_context
def requeue(ctx: click.Context, storage: SqliteStorage, ids: Sequence[UUID], as_json: bool) -> None:
    """Put failed or quarantined tasks into the queue again, as new tasks.

    They run when an application that handles them is started on this database the next time.
    """
    with database.managing(storage) as system:
        answers = [database.requeue_one(system, task_id) for task_id in ids]
    echo_answers("requeued", answers, as_json=as_json)
    ctx.exit(exit_code_for(answers, good={"requeued"}))


@main.command()
@with_storage
@click.option("--check", is_flag=True, help="Change nothing; exit 1 if the schema is behind.")
@with_json
@click.pass_context
def migrate(ctx: click.Context, storage: SqliteStorage, check: bool, as_json: bool) -> None:
    """Bring the schema of a database up to date; make the database if a URL names one that is not there."""
    before, after = database.migrate(storage, check=check)
    if as_json:
        echo_json({"from": before, "to": after, "newest": database.newest_schema()})
    else:
        click.echo(migration_line(printable(str(storage.path)), before, after))
    ctx.exit(FAILED if after < database.newest_schema() else 0)


def migration_line(path: str, before: int, after: int) -> str:
    """Say what a migration has done, or would do."""
    if after < database.newest_schema():
        return f"{path} has schema {after}, the newest is {database.newest_schema()}: run everact migrate"
    if before == after:
        return f"{path} is up to date: schema {after}"
    return f"{path} was brought from schema {before} to schema {after}"


@main.command()
@with_storage
@click.option("--state", type=click.Choice([state.value for state in WorkflowState]), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N")
@with_json
def workflows(storage: SqliteStorage, state: str | None, limit: int, as_json: bool) -> None:
    """List workflows of several tasks, or with something to undo."""
    rows = cli_workflows.listed(storage, state, limit)
    if as_json:
        echo_json({"workflows": [cli_workflows.row_data(row) for row in rows]})
    else:
        click.echo("\n".join(cli_workflows.workflow_table(rows)))


@main.command()
@with_storage
@click.argument("id", type=click.UUID)
@with_json
def workflow(storage: SqliteStorage, id: UUID, as_json: bool) -> None:
    """Show one workflow: its tasks as a tree, and its undo log."""
    found = cli_workflows.found(storage, id)
    if as_json:
        echo_json(cli_workflows.workflow_data(found))
    else:
        click.echo("\n".join(cli_workflows.workflow_page(found)))


@main.command()
@with_storage
@click.argument("id", type=click.UUID)
@click.option("--skip", is_flag=True, help="Pass over what is stuck.")
@click.option("--note", default="", help="Why; kept in the workflow's history.")
def resume(storage: SqliteStorage, id: UUID, skip: bool, note: str) -> None:
    """Let a stuck workflow go on."""
    click.echo(cli_workflows.resume(storage, id, skip=skip, note=note))


@main.group()
def metrics() -> None:
    """What to give to Prometheus and Grafana."""


@metrics.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def export(folder: Path) -> None:
    """Write the dashboard, the alerts and the recording rules to DIR."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sorted(assets().items()):
        (folder / name).write_text(content, encoding="utf-8")
        click.echo(printable(str(folder / name)))


# Answers


def exit_code_for(answers: Sequence[Answer], good: set[str]) -> int:
    """Find the exit code for several ids: refused by an owner or a rule, else not found, else nothing done."""
    outcomes = {each["outcome"] for each in answers}
    if outcomes & {"not_owner", "refused"}:
        return FAILED
    if "not_found" in outcomes:
        return NOT_FOUND
    return 0 if outcomes & good else FAILED


def echo_answers(name: str, answers: Sequence[Answer], *, as_json: bool) -> None:
    """Show what became of each id; what went wrong goes to standard error."""
    if as_json:
        echo_json({name: answers})
        return
    for each in answers:
        wrong = each["outcome"] in {"not_owner", "refused", "not_found"}
        click.echo(printable(f"{each['id']}  {each['outcome']}: {each['message']}"), err=wrong)


def echo_json(document: object) -> None:
    """Print one JSON document; all that is not ASCII is escaped, so it is safe on a terminal as well."""
    click.echo(json.dumps(document, indent=2))
