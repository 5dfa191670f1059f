"""What only a file can do, or go wrong with: modes, damage, a full disk, failing writes, steps per commit."""

from __future__ import annotations

import copy
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everact.storage import connections
from everact.storage.protocol import Batch, Claim, Outcome, Selection
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import StorageBusy, StorageError, StorageFull, StorageUnavailable
from everact.tasks.record import HistoryRow, Record
from everact.tasks.status import COMPLETED

NOW = 1_700_000_000_000_000
FILES = ["tasks.db", "tasks.db.reserve"]
"""What is there while no node runs."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SqliteStorage]:
    opened = SqliteStorage(path, "process")
    opened.open(NOW)
    yield opened
    opened.close()


def record(number: int, **fields: Any) -> Record:
    values: dict[str, Any] = {
        "id": number.to_bytes(16, "big"),
        "type": "t",
        "payload": b"{}",
        "due": NOW,
        "created": NOW,
    }
    return Record(**values | {"seq": number, "owner": 1} | fields)


def outcome(number: int, **fields: Any) -> Outcome:
    values: dict[str, Any] = {"seq": number, "owner": 1, "expected": 0, "status": COMPLETED, "attempt": 1, "due": NOW}
    return Outcome(**{"id": number.to_bytes(16, "big")} | values | fields)


def records(first: int, last: int) -> list[Record]:
    return [record(number) for number in range(first, last + 1)]


def note(number: int) -> HistoryRow:
    return HistoryRow(number.to_bytes(16, "big"), NOW, "retry")


def seqs(storage: SqliteStorage) -> list[int]:
    return [row.seq for row in storage.select(Selection(limit=10_000))]


# The file


def test_only_the_owner_can_read_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        storage = SqliteStorage(path)
        storage.open(NOW)
        storage.commit(Batch(NOW, inserts=[record(1)]))
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    storage.close()
    assert modes == dict.fromkeys([*FILES, "tasks.db-wal", "tasks.db-shm", "tasks.db.node-1.lock"], 0o600)


def test_a_clean_end_leaves_the_database_and_its_reserve(storage: SqliteStorage, path: Path) -> None:
    storage.commit(Batch(NOW, inserts=[record(1)]))
    storage.close()
    assert sorted(file.name for file in path.parent.iterdir()) == FILES


@pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1)])
def test_the_connections_are_set_up_as_promised(path: Path, durability: str, synchronous: int) -> None:
    storage = SqliteStorage(path, durability)
    storage.open(NOW)
    opened = storage._opened()
    with opened.writer() as writer, opened.reader() as reader:
        assert setting(writer, "journal_mode") == "wal"
        assert setting(writer, "synchronous") == synchronous
        assert setting(writer, "wal_autocheckpoint") == 2000
        assert setting(reader, "wal_autocheckpoint") == 0
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM task")
    storage.close()


def setting(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"missing.*does not exist"):
        SqliteStorage(tmp_path / "missing" / "tasks.db").open(NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="unable to open"):
        SqliteStorage(tmp_path).open(NOW)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"customers;orders\n" * 300)
    with pytest.raises(StorageUnavailable, match="not a database"):
        SqliteStorage(path).open(NOW)
    assert path.read_bytes() == b"customers;orders\n" * 300
    assert [file.name for file in path.parent.iterdir()] == ["tasks.db"]


def test_the_working_directory_may_change_after_the_file_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = SqliteStorage("tasks.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    storage.open(NOW)
    storage.close()
    assert (tmp_path / "tasks.db").exists()


# Damage


def test_a_damaged_row_is_read_as_far_as_it_goes(storage: SqliteStorage) -> None:
    storage.commit(Batch(NOW, inserts=[record(n, tags=("a",), headers={"h": "1"}, payload=b"p%d" % n) for n in (1, 2)]))
    with storage._opened().writer() as writer:
        writer.execute("UPDATE task SET tags = '[1', headers = '{\"h\": 2}', error = 'x' WHERE seq = 1")
    first, second = storage.select(Selection())
    assert (first.tags, first.headers, first.error, first.payload) == ((), None, None, b"p1")
    assert (second.tags, second.headers, second.payload) == (("a",), {"h": "1"}, b"p2")


def test_text_that_is_not_utf_8_does_not_hide_its_row_or_others(storage: SqliteStorage) -> None:
    storage.commit(Batch(NOW, inserts=records(1, 3)))
    with storage._opened().writer() as writer:
        writer.execute("UPDATE task SET queue = CAST(x'61ff62' AS TEXT) WHERE seq = 2")
    assert [row.queue for row in storage.select(Selection())] == ["default", "a\ufffdb", "default"]
    assert storage.select(Selection())[0] == record(1)


def test_rows_too_large_for_one_text_are_read_one_by_one(storage: SqliteStorage) -> None:
    stored = [record(n, payload=b"x" * 4000) for n in (1, 2, 3)]
    storage.commit(Batch(NOW, inserts=[copy.copy(row) for row in stored]))
    with storage._opened().reader() as reader:
        reader.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    assert storage.select(Selection()) == stored


# Failing writes


def test_a_full_storage_refuses_keeps_what_it_has_and_recovers(storage: SqliteStorage) -> None:
    storage.commit(Batch(NOW, inserts=records(1, 3)))
    with storage._opened().writer() as writer:
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}")
    for batch in (
        Batch(NOW, inserts=[record(n, payload=b"x" * 9000) for n in (4, 5)]),
        Batch(NOW, outcomes=[outcome(1)], inserts=[record(4, payload=b"x" * 9000)]),
    ):
        with pytest.raises(StorageFull, match="nothing was stored"):
            storage.commit(batch)
    assert [(row.seq, row.status) for row in storage.select(Selection())] == [(1, 1), (2, 1), (3, 1)]
    with storage._opened().writer() as writer:
        writer.execute(f"PRAGMA max_page_count = {pages + 100}")
    storage.commit(Batch(NOW, outcomes=[outcome(1)], inserts=[record(4, payload=b"x" * 9000)]))
    assert seqs(storage) == [1, 2, 3, 4]


def test_a_reserve_that_cannot_be_made_is_told_at_the_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.with_name("tasks.db.reserve").mkdir()
    storage = SqliteStorage(path, "process")
    storage.open(NOW)
    storage.commit(Batch(NOW, inserts=[record(1)]))
    assert [line.levelname for line in caplog.records] == ["WARNING"]
    assert "tasks.db.reserve cannot be allocated" in caplog.text
    assert storage.restore_reserve(), "new tasks would be refused for ever"
    storage.close()


def test_giving_up_the_reserve_writes_the_log_back(storage: SqliteStorage, path: Path) -> None:
    storage.commit(Batch(NOW, inserts=records(1, 100)))
    storage.path.with_name("tasks.db.reserve").unlink()
    assert storage.release_reserve(), "there is room in the log now"
    before = path.with_name("tasks.db-wal").stat().st_size
    storage.commit(Batch(NOW, outcomes=[outcome(n) for n in range(1, 101)]))
    assert path.with_name("tasks.db-wal").stat().st_size == before


@pytest.mark.parametrize(
    ("code", "refused"),
    [(sqlite3.SQLITE_IOERR_WRITE, StorageFull), (sqlite3.SQLITE_IOERR_SHMSIZE, StorageUnavailable)],
    ids=["log", "index of the log"],
)
def test_a_full_disk_that_sqlite_calls_an_error_is_told_from_a_broken_one(
    fail: type[FailingConnection],
    storage: SqliteStorage,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    refused: type[StorageError],
) -> None:
    fail.words, fail.code = ("INSERT",), code
    for full in (True, False):
        monkeypatch.setattr(connections, "is_full", lambda path, full=full: full)
        with pytest.raises(StorageError) as caught:
            storage.commit(Batch(NOW, inserts=[record(1)]))
        assert type(caught.value) is (refused if full else StorageUnavailable)
        assert getattr(caught.value, "no_room", True) is full
        assert getattr(caught.value, "outcome", "refused") == (
            "refused" if refused is StorageFull and full else "unknown"
        )


@pytest.mark.parametrize("value", [{"due": 2**63}, {"key": "\ud800"}], ids=["number", "text"])
@pytest.mark.parametrize("beside", [[], [note(1)]], ids=["alone", "in a transaction"])
def test_a_value_that_no_column_holds_is_refused_whole(
    storage: SqliteStorage, value: dict[str, Any], beside: list[HistoryRow]
) -> None:
    with pytest.raises(StorageError, match="nothing was stored"):
        storage.commit(Batch(NOW, inserts=[record(1), record(2, **value)], history=beside))
    assert seqs(storage) == []
    storage.commit(Batch(NOW, inserts=[record(3)]))
    assert seqs(storage) == [3]


class FailingConnection(sqlite3.Connection):
    """Raises an error of SQLite's instead of statements that begin with given words, or after them."""

    words: tuple[str, ...] = ()
    code = sqlite3.SQLITE_IOERR
    after = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql.strip().startswith(self.words):
            if self.after:
                super().execute(sql, parameters)
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorcode, error.sqlite_errorname = self.code, "INJECTED"
            raise error
        return super().execute(sql, parameters)


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch, path: Path) -> type[FailingConnection]:
    """Give every connection of the test the chance to fail."""

    class Failing(FailingConnection):
        pass

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, factory=Failing, **options))
    return Failing


@pytest.mark.parametrize("word", ["BEGIN", "UPDATE", "INSERT"])
def test_a_write_that_fails_before_the_commit_is_refused(
    fail: type[FailingConnection], storage: SqliteStorage, word: str
) -> None:
    storage.commit(Batch(NOW, inserts=[record(1)]))
    fail.words = (word,)
    with pytest.raises(StorageUnavailable, match="injected") as caught:
        storage.commit(Batch(NOW, outcomes=[outcome(1)], inserts=[record(2)]))
    assert caught.value.outcome == "refused"
    fail.words = ()
    storage.commit(Batch(NOW, outcomes=[outcome(1)], inserts=[record(3)]))
    assert seqs(storage) == [1, 3]


@pytest.mark.parametrize("after", [False, True], ids=["nothing written", "all written"])
@pytest.mark.parametrize("word", ["COMMIT", "INSERT"], ids=["transaction", "single statement"])
def test_the_outcome_of_a_commit_that_fails_is_unknown_and_asking_again_settles_it(
    fail: type[FailingConnection], storage: SqliteStorage, word: str, after: bool
) -> None:
    storage.commit(Batch(NOW, inserts=[record(1)]))
    fail.words, fail.after = (word,), after
    cancels = [outcome(1)] if word == "COMMIT" else []
    with pytest.raises(StorageUnavailable) as caught:
        storage.commit(Batch(NOW, inserts=[record(2)], cancels=cancels))
    assert caught.value.outcome == "unknown"
    fail.words = ()
    assert seqs(storage) == ([1, 2] if after else [1])
    assert storage.commit(Batch(NOW, inserts=[record(2)])).taken == {}
    assert seqs(storage) == [1, 2]


def test_after_an_io_error_the_writer_is_opened_anew(fail: type[FailingConnection], storage: SqliteStorage) -> None:
    with storage._opened().writer() as before:
        pass
    fail.words = ("INSERT",)
    with pytest.raises(StorageUnavailable):
        storage.commit(Batch(NOW, inserts=[record(1)]))
    fail.words = ()
    with storage._opened().writer() as after:
        assert after is not before
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        before.execute("SELECT 1")


def test_a_connection_that_cannot_roll_back_is_given_up(fail: type[FailingConnection], storage: SqliteStorage) -> None:
    storage.commit(Batch(NOW, inserts=[record(1)]))
    fail.words, fail.code = ("INSERT", "ROLLBACK"), sqlite3.SQLITE_FULL
    with pytest.raises(StorageFull):
        storage.commit(Batch(NOW, outcomes=[outcome(1)], inserts=[record(2)]))
    fail.words = ()
    storage.commit(Batch(NOW, outcomes=[outcome(1)], inserts=[record(3)]))
    assert seqs(storage) == [1, 3]


def test_a_single_statement_that_wrote_nothing_leaves_nothing_unknown(
    fail: type[FailingConnection], storage: SqliteStorage
) -> None:
    storage.commit(Batch(NOW, inserts=records(1, 2)))
    fail.words = ("BEGIN",)  # of the transaction that looks row by row which outcome does not fit
    with pytest.raises(StorageUnavailable) as caught:
        storage.commit(Batch(NOW, outcomes=[outcome(1), outcome(2, expected=5)]))
    assert caught.value.outcome == "refused"
    assert [row.status for row in storage.select(Selection())] == [1, 1]


def test_a_start_that_fails_lets_go_of_its_lock(fail: type[FailingConnection], path: Path) -> None:
    storage = SqliteStorage(path)
    fail.words = ("INSERT INTO incarnation",)
    with pytest.raises(StorageUnavailable, match="injected"):
        storage.open(NOW)
    assert not storage.alive(1)
    assert [file.name for file in path.parent.iterdir()] == ["tasks.db"]
    fail.words = ()
    assert storage.open(NOW) == 1
    storage.close()


def test_a_busy_database_has_refused_also_where_one_statement_commits(storage: SqliteStorage, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for batch in (Batch(NOW, inserts=[record(1)]), Batch(NOW, inserts=[record(1)], history=[note(1)])):
        with pytest.raises(StorageBusy, match="locked"):
            storage.commit(batch)
    other.execute("ROLLBACK")
    other.close()
    storage.commit(Batch(NOW, inserts=[record(2)]))
    assert seqs(storage) == [2]


def test_a_commit_asks_soon_again_and_an_adoption_waits(storage: SqliteStorage, path: Path) -> None:
    with storage._opened().writer() as patient:
        assert setting(patient, "busy_timeout") == 5000
    storage.commit(Batch(NOW, inserts=[record(1)]))
    with storage._opened().writer(connections.COMMIT_BUSY_SECONDS) as writer:
        assert writer is patient
        assert setting(writer, "busy_timeout") == 100


def test_a_reader_sees_the_last_commit_while_another_process_writes(storage: SqliteStorage, path: Path) -> None:
    storage.commit(Batch(NOW, inserts=[record(1)]))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM task")
    assert seqs(storage) == [1]
    other.close()


# Steps. Each gives up the GIL; beside a thread that computes, each costs up to 5 ms.


@pytest.fixture
def steps(storage: SqliteStorage) -> list[str]:
    """The first words of the statements that the writer runs."""
    words: list[str] = []
    storage.commit(Batch(NOW, inserts=records(1, 600)))
    with storage._opened().writer(connections.COMMIT_BUSY_SECONDS) as writer:
        writer.set_trace_callback(lambda sql: words.append(sql.split(None, 1)[0]))
    return words


@pytest.mark.parametrize("count", [1, 2, 100, 256])
def test_inserts_alone_are_one_step(storage: SqliteStorage, steps: list[str], count: int) -> None:
    storage.commit(Batch(NOW, inserts=records(1001, 1000 + count)))
    assert steps == ["INSERT"]


@pytest.mark.parametrize("count", [1, 2, 100, 256])
def test_outcomes_alone_are_one_step(storage: SqliteStorage, steps: list[str], count: int) -> None:
    storage.commit(Batch(NOW, outcomes=[outcome(n) for n in range(1, count + 1)]))
    assert steps == ["UPDATE"]


def test_a_mixed_batch_is_a_transaction_of_one_statement_per_kind(storage: SqliteStorage, steps: list[str]) -> None:
    ended = [outcome(n, follow_ups=[record(1000 + n)], history=note(n)) for n in range(1, 101)]
    storage.commit(
        Batch(
            NOW,
            outcomes=ended,
            inserts=records(2001, 2100),
            cancels=[outcome(n) for n in range(101, 201)],
            claims=[Claim(seq=n, owner=1, expected=0) for n in range(201, 301)],
        )
    )
    assert steps == ["BEGIN", "UPDATE", "INSERT", "UPDATE", "UPDATE", "INSERT", "COMMIT"]


def test_many_rows_take_a_statement_per_256(storage: SqliteStorage, steps: list[str]) -> None:
    storage.commit(Batch(NOW, outcomes=[outcome(n) for n in range(1, 601)], inserts=records(1001, 1513)))
    assert steps == ["BEGIN", *["UPDATE"] * 3, *["INSERT"] * 3, "COMMIT"]


def test_a_page_takes_few_steps_however_many_rows_it_has(path: Path, storage: SqliteStorage) -> None:
    storage.commit(Batch(NOW, inserts=records(1, 500)))
    storage.abandon()
    heir = SqliteStorage(path, "process")
    heir.open(NOW)
    heir.adopt(["t"], NOW)
    calls: list[int] = []
    with heir._opened().reader() as reader:
        cursor = reader.execute("SELECT 1")
        assert len(cursor.fetchall()) == 1
        reader.row_factory = lambda cursor, row: calls.append(len(row)) or row  # type: ignore[func-returns-value]
    assert len(heir.ready(["t"], NOW, (), 400)) == 400
    heir.close()
    assert set(calls) == {1}
    assert len(calls) < 10


def test_rows_are_never_written_by_executemany() -> None:
    folder = Path(connections.__file__).parent
    sources = [file.read_text(encoding="utf-8") for file in folder.glob("*.py")]
    assert len(sources) > 10
    assert [source for source in sources if ".executemany(" in source] == []
