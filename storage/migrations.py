"""Brings a database file to the schema of this version; the scripts are `schema/<number>_<name>.sql`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files

from everact.tasks.errors import MigrationError, StorageUnavailable

APPLICATION_ID = int.from_bytes(b"evac", "big")
"""Written into the file's header, so that a file of something else is known before it is touched."""


def schema_version(connection: sqlite3.Connection, path: str) -> int:
    """Read which schema the file has; 0 for an empty one. Changes nothing.

    Raises:
        StorageUnavailable: The file belongs to another application.
        MigrationError: A newer everact wrote it.
    """
    # The mark last: it is committed with the tables, so whoever sees the tables of a migration that commits at this
    # moment sees its mark too.
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID and (tables or version):
        msg = f"{path} is a database of another application, it was left as it is; give everact a file of its own"
        raise StorageUnavailable(msg)
    newest = max(number for number, _ in scripts())
    if version > newest:
        msg = (
            f"{path} has schema {version} and this version of everact knows schemas up to {newest}; "
            "install the version that wrote it, or a later one"
        )
        raise MigrationError(msg)
    return int(version)


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Apply the scripts that the file lacks, all of them or none.

    The version is read again under the write lock, as another process may have migrated meanwhile. A crash
    leaves the old schema, since SQLite's DDL and header fields are part of the transaction.

    Raises:
        MigrationError, StorageUnavailable: As `schema_version`.
        sqlite3.Error: The file cannot be written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = schema_version(connection, path)
        for number, text in scripts():
            if number > version:
                _run(connection, text)
                connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def scripts() -> list[tuple[int, str]]:
    """List the migrations as number and text, oldest first."""
    folder = files("everact.storage") / "schema"
    found = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return sorted((int(file.name.partition("_")[0]), file.read_text(encoding="utf-8")) for file in found)


def _run(connection: sqlite3.Connection, text: str) -> None:
    # Not executescript(): it commits first.
    for statement in _statements(text):
        connection.execute(statement)


def _statements(text: str) -> Iterator[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
