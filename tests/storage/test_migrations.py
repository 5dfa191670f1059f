"""The schema of a file: brought up to date, or left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from everact.storage import migrations
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import MigrationError, StorageError, StorageUnavailable
from everact.tasks.record import Record

NOW = 1_700_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


def start(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.open(NOW)
    storage.close()


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def change(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def add_scripts(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    known = migrations.scripts()
    later = list(enumerate(texts, len(known) + 1))
    monkeypatch.setattr(migrations, "scripts", lambda: known + later)


def test_a_new_file_gets_the_newest_schema(path: Path) -> None:
    start(path)
    assert read(path, "PRAGMA user_version") == [(len(migrations.scripts()),)]
    assert read(path, "PRAGMA application_id") == [(migrations.APPLICATION_ID,)]
    tables = {name for (name,) in read(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"task", "history", "incarnation", "adoption", "workflow", "undo"}


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(path)
    add_scripts(
        monkeypatch, "ALTER TABLE task ADD COLUMN color TEXT;\nCREATE TABLE later (x); -- two;", "DROP TABLE later;"
    )
    start(path)
    assert read(path, "PRAGMA user_version") == [(len(migrations.scripts()),)]
    assert read(path, "SELECT count(*) FROM incarnation") == [(2,)]
    assert read(path, "SELECT count(*) FROM pragma_table_info('task') WHERE name = 'color'") == [(1,)]


def test_a_migration_that_breaks_off_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(path)
    with monkeypatch.context() as patched:
        add_scripts(patched, "CREATE TABLE later (x);", "CREATE TABLE task (x);")
        with pytest.raises(StorageUnavailable, match="task already exists"):
            start(path)
    assert read(path, "PRAGMA user_version") == [(len(migrations.scripts()),)]
    assert read(path, "SELECT count(*) FROM sqlite_master WHERE name = 'later'") == [(0,)]
    start(path)


def test_tasks_of_a_file_with_schema_1_are_there_after_the_migration(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = "seq, id, type, status, owner, priority, due, created, queue, kind, payload"
    task = Record(id=bytes(16), type="t", payload=b"{}", due=NOW, created=NOW, seq=1 << 40, owner=1)
    first = migrations.scripts()[:1]
    with monkeypatch.context() as older_version:
        older_version.setattr(migrations, "scripts", lambda: first)
        start(path)
    assert read(path, "PRAGMA user_version") == [(1,)]
    values = f"1 << 40, zeroblob(16), 't', 1, 1, 0, {NOW}, {NOW}, 'default', 'task', CAST('{{}}' AS BLOB)"
    change(path, f"INSERT INTO task ({columns}) VALUES ({values})")  # noqa: S608 - constants of this test
    storage = SqliteStorage(path)
    storage.open(NOW)
    try:
        assert storage.get(bytes(16)) == task
    finally:
        storage.close()


def test_a_newer_file_is_refused_with_the_remedy(path: Path) -> None:
    start(path)
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(MigrationError, match=r"schema 99.*install the version that wrote it"):
        start(path)
    assert read(path, "SELECT count(*) FROM incarnation") == [(1,)]


FOREIGN: dict[str, Callable[[Path], None]] = {
    "tables": lambda path: change(path, "CREATE TABLE customer (x)"),
    "an application id": lambda path: change(path, "PRAGMA application_id = 77", "CREATE TABLE customer (x)"),
    "a version": lambda path: change(path, "PRAGMA user_version = 1"),
}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_a_database_of_another_application_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = path.read_bytes()
    with pytest.raises(StorageUnavailable, match="another application"):
        start(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["tasks.db"]


def test_an_empty_database_is_taken(path: Path) -> None:
    path.touch()
    start(path)
    assert read(path, "SELECT count(*) FROM incarnation") == [(1,)]


def test_a_refused_storage_may_be_tried_again(path: Path) -> None:
    path.write_bytes(b"x" * 5000)
    storage = SqliteStorage(path)
    with pytest.raises(StorageError):
        storage.open(NOW)
    path.unlink()
    assert storage.open(NOW) == 1
    storage.close()


def test_scripts_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in migrations.scripts()] == list(range(1, len(migrations.scripts()) + 1))
