"""How the command line reaches a database: reading it without leaving a trace, and managing what is in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

import msgspec

from everact.access import plain_result
from everact.actors.runtime import ThreadRuntime
from everact.storage import migrations, storage_from
from everact.storage.connections import connect, create_private, failure
from everact.storage.protocol import Selection
from everact.storage.sqlite import SqliteStorage
from everact.system import ActorSystem
from everact.tasks.cancellation import CancelOutcome
from everact.tasks.errors import ConfigurationError, MigrationError, NotOwner, TaskNotFound
from everact.tasks.record import Record, TaskRecord, public_record
from everact.tasks.status import TaskStatus

Answer = dict[str, str | None]
"""What became of one id: `id`, `outcome`, `message`, and for a requeue `new_id`."""
MEANINGS = {
    CancelOutcome.CANCELLED: "it never starts",
    CancelOutcome.SIGNALLED: "it had started once; it ends when its application is started the next time",
    CancelOutcome.ALREADY_FINISHED: "it had ended before",
    CancelOutcome.NOT_FOUND: "there is no such task",
    CancelOutcome.SHIELDED: "it is a compensation",
}


def storage_at(text: str) -> SqliteStorage:
    """Find the storage that a user names, by its URL or by the path of a file that is there; it is not opened.

    Raises:
        ConfigurationError: It is neither, or no file.
    """
    if "://" not in text:
        if not Path(text).is_file():
            msg = f"{text} is neither a storage URL nor a file that exists"
            raise ConfigurationError(msg)
        return SqliteStorage(text)
    storage = storage_from(text)
    if not isinstance(storage, SqliteStorage):
        msg = f"{text} cannot be seen from outside its process; name a SQLite file"
        raise ConfigurationError(msg)
    return storage


def must_exist(storage: SqliteStorage) -> None:
    """Refuse a database that is not there, since opening it would make it.

    Raises:
        FileNotFoundError: It is not there.
    """
    if not storage.path.exists():
        msg = f"there is no database {storage.path}"
        raise FileNotFoundError(msg)


def migrate(storage: SqliteStorage, *, check: bool) -> tuple[int, int]:
    """Bring a database to the newest schema, making it if it is missing; `check` only looks.

    Returns:
        The schema before and after.

    Raises:
        StorageUnavailable, MigrationError: It is another application's, or of a later version.
        FileNotFoundError: There is nothing to look at.
    """
    if check:
        must_exist(storage)
    else:
        create_private(storage.path)
    path = str(storage.path)
    with connected(storage) as connection:
        before = migrations.schema_version(connection, path)
        if before < newest_schema() and not check:
            migrations.migrate(connection, path)
        return before, migrations.schema_version(connection, path)


def newest_schema() -> int:
    """Tell which schema this version of everact writes."""
    return max(number for number, _ in migrations.scripts())


@contextmanager
def connected(storage: SqliteStorage) -> Iterator[sqlite3.Connection]:
    """Open a plain connection, for what concerns the file as a whole."""
    try:
        with closing(connect(storage.path)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise failure(error, storage.path) from error


@contextmanager
def reading(storage: SqliteStorage) -> Iterator[None]:
    """Open a database for reading only: no node is registered, nothing is adopted, migrated or made."""
    must_exist(storage)
    with connected(storage) as connection:
        version = migrations.schema_version(connection, str(storage.path))
    if version < newest_schema():
        msg = f"{storage.path} has schema {version}, this everact reads schema {newest_schema()}; run everact migrate"
        raise MigrationError(msg)
    storage.open_for_reading()
    try:
        yield
    finally:
        storage.abandon()


@contextmanager
def managing(storage: SqliteStorage) -> Iterator[ActorSystem]:
    """Run a node without handlers, which can cancel and requeue but takes nothing over."""
    must_exist(storage)
    with ActorSystem("everact-cli", storage=storage) as system:
        yield system


def find(storage: SqliteStorage, task_id: UUID) -> Record:
    """Read a task that has to be there.

    Raises:
        TaskNotFound: It is not.
    """
    record = storage.get(task_id.bytes)
    if record is None:
        raise TaskNotFound(task_id)
    return record


def picture(record: Record) -> TaskRecord:
    """Make the user's picture of a row; its result is plain data, as its type is not known here."""
    return public_record(record, plain_result(record), ThreadRuntime().now())


def select(storage: SqliteStorage, status: TaskStatus | None, selection: Selection) -> list[TaskRecord]:
    """List tasks; a task whose time has come is stored as scheduled and shown as queued, so pages are filtered."""
    tasks: list[TaskRecord] = []
    while len(tasks) < selection.limit:
        page = storage.select(msgspec.structs.replace(selection, statuses=stored_statuses(status)))
        tasks += [task for task in map(picture, page) if status in (None, task.status)]
        if len(page) < selection.limit:
            break
        selection = msgspec.structs.replace(selection, after=page[-1].seq)
    return tasks[: selection.limit]


def stored_statuses(status: TaskStatus | None) -> tuple[int, ...] | None:
    """Say in which statuses a task can be stored that is shown in this one."""
    if status is TaskStatus.QUEUED:
        return (TaskStatus.SCHEDULED, TaskStatus.QUEUED)
    return None if status is None else (status,)


def cancel_one(system: ActorSystem, task_id: UUID, reason: str) -> Answer:
    """Cancel one task, and say what became of that."""
    try:
        outcome = system.cancel(task_id, reason)
    except NotOwner as error:
        return answer(task_id, "not_owner", str(error))
    return answer(task_id, outcome.value, MEANINGS[outcome])


def requeue_one(system: ActorSystem, task_id: UUID) -> Answer:
    """Requeue one task, and say what became of that."""
    try:
        new_id = system.requeue(task_id).id
    except TaskNotFound as error:
        return answer(task_id, "not_found", str(error)) | {"new_id": None}
    except ValueError as error:
        return answer(task_id, "refused", str(error)) | {"new_id": None}
    return answer(task_id, "requeued", f"the new task is {new_id}") | {"new_id": str(new_id)}


def answer(task_id: UUID, outcome: str, message: str) -> Answer:
    """Put together what became of one id."""
    return {"id": str(task_id), "outcome": outcome, "message": message}
