"""Several nodes on one file: who lives, who takes over."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from everact.storage import connections, node_lock, sqlite_adoption
from everact.storage.node_lock import NodeLock
from everact.storage.protocol import Batch, Claim, Selection
from everact.storage.reset_race import advice
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import StorageUnavailable
from everact.tasks.record import Record
from everact.tasks.status import RUNNING

NOW = 1_700_000_000_000_000

NODE = """
import sys
from everact.storage.protocol import Batch
from everact.storage.sqlite import SqliteStorage
from everact.tasks.record import Record

storage = SqliteStorage(sys.argv[1], "process")
me = storage.open(1)
row = Record(id=bytes([me]) * 16, type="t", payload=b"", due=1, created=1, seq=me, owner=me)
storage.commit(Batch(1, inserts=[row]))
print(me, flush=True)
sys.stdin.readline()
storage.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


Start = Callable[[], SqliteStorage]


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    made: list[SqliteStorage] = []

    def open_another() -> SqliteStorage:
        made.append(SqliteStorage(path, "process"))
        made[-1].open(NOW)
        return made[-1]

    yield open_another
    for storage in made:
        storage.close()


@pytest.fixture
def process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a node of its own, incarnation 1, that has dispatched task 1."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", NODE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdout is not None
        assert node.stdout.readline() == "1\n"
        yield node
        node.kill()


def record(number: int, owner: int, **fields: Any) -> Record:
    id_ = number.to_bytes(16, "big")
    return Record(id=id_, type="t", payload=b"", due=NOW, created=NOW, seq=number, owner=owner, **fields)


def lock_files(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.glob("*.lock"))


@pytest.mark.slow
def test_a_killed_process_is_dead_and_its_work_is_adopted(
    path: Path, start: Start, process: subprocess.Popen[str]
) -> None:
    storage = start()
    assert storage.alive(1)
    assert storage.adopt(["t"], NOW).waiting == {}
    process.kill()
    process.wait()
    assert not storage.alive(1)
    assert storage.adopt(["t"], NOW).waiting == {"t": 1}
    assert [row.owner for row in storage.ready(["t"], NOW, (), 10)] == [1]


@pytest.mark.slow
def test_a_stopped_process_is_alive_as_it_may_come_back_and_write(start: Start, process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    storage = start()
    assert storage.alive(1)
    assert storage.adopt(["t"], NOW).waiting == {}
    process.send_signal(signal.SIGCONT)
    process.communicate("\n")
    assert not storage.alive(1)
    assert storage.adopt(["t"], NOW).waiting == {"t": 1}


@pytest.mark.slow
def test_looking_at_a_living_node_does_not_take_its_lock_away(
    path: Path, start: Start, process: subprocess.Popen[str]
) -> None:
    lock = NodeLock(path)
    assert [lock.alive(1), lock.alive(1), lock.acquire(1)] == [True, True, False]
    assert start().alive(1)


def test_nodes_in_one_process_do_not_take_each_other_for_dead(path: Path, start: Start) -> None:
    first, second = start(), start()
    first.commit(Batch(NOW, inserts=[record(1, owner=1)]))
    assert (first.alive(2), second.alive(1)) == (True, True)
    assert second.adopt(["t"], NOW).waiting == {}
    assert second.ready(["t"], NOW, (), 10) == []
    first.abandon()
    assert not second.alive(1)
    assert second.adopt(["t"], NOW).waiting == {"t": 1}


def test_what_a_living_node_has_adopted_is_not_adopted_from_it(start: Start) -> None:
    dead = start()
    dead.commit(Batch(NOW, inserts=[record(1, owner=1), record(2, owner=1), record(3, owner=1, status=RUNNING)]))
    dead.abandon()
    second, third = start(), start()
    assert second.adopt(["t"], NOW).waiting == {"t": 3}
    second.commit(Batch(NOW, claims=[Claim(seq=1, owner=1, expected=0)]))
    adoption = third.adopt(["t"], NOW)
    assert (adoption.waiting, adoption.interrupted, adoption.unhandled) == ({}, 0, {})
    second.abandon()
    adoption = third.adopt(["t"], NOW)
    assert (adoption.waiting, adoption.interrupted) == ({"t": 3}, 1)
    assert [row.crashes for row in third.select(Selection())] == [1, 0, 1]


def test_a_living_node_shares_a_dead_ones_types_with_another(start: Start) -> None:
    dead = start()
    other = record(2, owner=1)
    other.type = "u"
    dead.commit(Batch(NOW, inserts=[record(1, owner=1), other]))
    dead.abandon()
    second, third = start(), start()
    assert second.adopt(["t"], NOW).unhandled == {"u": 1}
    adoption = third.adopt(["u"], NOW)
    assert (adoption.waiting, adoption.unhandled) == ({"u": 1}, {})
    assert [[row.seq for row in node.ready(["t", "u"], NOW, (), 9)] for node in (second, third)] == [[1], [2]]


def test_a_kill_in_an_adoption_leaves_no_lock_file_that_nobody_knows_of(
    path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        msg = "killed"
        raise KeyboardInterrupt(msg)

    start().abandon()
    heir = start()
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_adoption, "_forget", killed)
        with pytest.raises(KeyboardInterrupt):
            heir.adopt(["t"], NOW)
    assert lock_files(path) == ["tasks.db.node-2.lock"]
    assert not heir.alive(1)
    heir.adopt(["t"], NOW)
    assert lock_files(path) == ["tasks.db.node-2.lock"]


def test_a_node_that_came_and_went_costs_one_pass_and_no_more(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    usual = sqlite_adoption.adopt

    def counted(*args: Any, **options: Any) -> Any:
        passes.append(1)
        return usual(*args, **options)

    monkeypatch.setattr(sqlite_adoption, "adopt", counted)
    storage = start()
    storage.adopt(["t"], NOW)
    for _ in range(3):
        visitor = start()
        visitor.close()
        passes.clear()
        for _ in range(5):
            storage.adopt(["t"], NOW)
        assert len(passes) == 1


def test_adoption_removes_what_the_dead_left_in_the_directory(path: Path, start: Start) -> None:
    for number in (1, 2):
        storage = start()
        storage.commit(Batch(NOW, inserts=[record(number, owner=number)]))
        storage.abandon()
    heir = start()
    assert lock_files(path) == [f"tasks.db.node-{number}.lock" for number in (1, 2, 3)]
    heir.adopt(["t"], NOW)
    claims = [Claim(seq=row.seq, owner=row.owner, expected=0) for row in heir.ready(["t"], NOW, (), 9)]
    heir.commit(Batch(NOW, claims=claims))
    heir.abandon()
    last = start()
    last.adopt(["t"], NOW)
    assert lock_files(path) == ["tasks.db.node-4.lock"]
    assert registered(last) == [4]


def test_the_dead_are_forgotten_once_nothing_unfinished_is_theirs(start: Start) -> None:
    first = start()
    first.commit(Batch(NOW, inserts=[record(1, owner=1)]))
    first.close()
    for _ in range(3):
        start().close()
    last = start()
    last.adopt(["u"], NOW)
    assert registered(last) == [1, 5]
    last.adopt(["u", "t"], NOW)
    last.commit(Batch(NOW, claims=[Claim(seq=1, owner=1, expected=0)]))
    last.close()
    heir = start()
    heir.adopt(["t"], NOW)
    assert registered(heir) == [6]
    assert numbers(heir, "SELECT incarnation FROM adoption") == []


def registered(storage: SqliteStorage) -> list[int]:
    return numbers(storage, "SELECT number FROM incarnation ORDER BY number")


def numbers(storage: SqliteStorage, query: str) -> list[int]:
    with storage._opened().reader() as reader:
        return [number for (number,) in reader.execute(query)]


def test_a_pass_that_finds_nobody_newly_dead_does_not_write(start: Start) -> None:
    start().close()
    storage = start()
    storage.adopt(["t"], NOW)
    statements: list[str] = []
    with storage._opened().writer(connections.COMMIT_BUSY_SECONDS) as writer:
        writer.set_trace_callback(statements.append)
    storage.adopt(["t"], NOW)
    assert statements == []


def test_a_number_whose_lock_outlived_its_database_is_not_given_again(path: Path, start: Start) -> None:
    first = start()
    for file in path.parent.glob("tasks.db*"):
        file.unlink()
    second = SqliteStorage(path, "process")
    assert second.open(NOW) == 2
    second.close()
    first.abandon()


def test_an_end_that_cannot_be_written_counts_as_a_crash(path: Path, start: Start) -> None:
    first = start()
    first.commit(Batch(NOW, inserts=[record(1, owner=1, status=RUNNING)]))
    with first._opened().writer() as writer:
        writer.execute("PRAGMA query_only = 1")
    first.close()
    assert lock_files(path) == ["tasks.db.node-1.lock"]
    heir = start()
    heir.adopt(["t"], NOW)
    assert [row.crashes for row in heir.ready(["t"], NOW, (), 9)] == [1]


def test_a_lock_file_that_cannot_be_removed_does_not_stand_in_the_way_of_the_end(
    path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start()

    def refuse(file: Path, missing_ok: bool = False) -> None:
        raise OSError(5, "Input/output error", str(file))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        first.close()
    assert path.with_name("tasks.db.node-1.lock").exists()
    assert not start().alive(1)


def test_a_forked_child_lets_go_without_disturbing_its_parent(path: Path, start: Start) -> None:
    storage = start()
    storage.commit(Batch(NOW, inserts=[record(1, owner=1)]))
    child = os.fork()
    if child == 0:
        storage.close()
        # It must see the parent's lock, and SQLite forbids it even to close what it has inherited.
        os._exit(0 if NodeLock(path).alive(1) and len(connections._inherited) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    storage.commit(Batch(NOW, inserts=[record(2, owner=1)]))
    assert storage.alive(1)
    other = start()
    assert other.alive(1)
    assert [row.seq for row in other.select(Selection())] == [1, 2]


def test_locks_that_a_parent_process_held_are_not_taken_for_own_ones(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(node_lock._held, (str(path), 1), os.getpid() + 1)
    assert not NodeLock(path).alive(1)


def test_a_storage_that_was_let_go_says_so(start: Start) -> None:
    storage = start()
    storage.abandon()
    for use in (
        lambda: storage.commit(Batch(NOW)),
        lambda: storage.get(b"1" * 16),
        lambda: storage.adopt(["t"], NOW),
        lambda: storage.ready(["t"], NOW, (), 1),
        lambda: storage.counts(NOW),
    ):
        with pytest.raises(StorageUnavailable, match="not open"):
            use()


def test_nodes_that_share_a_file_are_warned_of_a_version_that_can_damage_it(
    path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    start().abandon()
    start()
    assert caplog.records == [], "a dead node has no connection"
    start()
    (line,) = caplog.records
    assert (line.name, line.levelname) == ("everact.storage", "WARNING")
    assert line.getMessage().startswith(f"{path} is shared with 1 other living node(s)")
    assert "SQLite 3.51.2 can damage" in line.getMessage()


@pytest.mark.parametrize(
    ("others", "version", "warned"),
    [
        (1, (3, 40, 1), True),
        (2, (3, 51, 2), True),
        (0, (3, 40, 1), False),
        (1, (3, 51, 3), False),
        (1, (3, 53, 0), False),
    ],
)
def test_only_an_old_version_and_another_node_together_are_a_danger(
    others: int, version: tuple[int, ...], warned: bool
) -> None:
    assert (advice(Path("tasks.db"), others, version) is not None) is warned


def test_what_an_adopter_had_is_taken_over_though_another_node_has_forgotten_the_adopter(start: Start) -> None:
    left = start()
    me = left._incarnation
    left.commit(
        Batch(NOW, inserts=[Record(id=b"1" * 16, type="t", payload=b"", due=NOW, created=NOW, seq=1, owner=me)])
    )
    left.abandon()
    adopter, stranger, heir = start(), start(), start()
    assert adopter.adopt(["t"], NOW).waiting == {"t": 1}
    assert heir.adopt(["t"], NOW).waiting == {}
    adopter.abandon()
    stranger.adopt(["another type"], NOW)  # forgets the adopter, who owns no row itself
    assert heir.adopt(["t"], NOW).waiting == {"t": 1}


def test_nothing_is_quiet_before_it_was_looked_at(start: Start) -> None:
    storage = start()
    assert not storage.quiet()
    storage.adopt(["t"], NOW)
    assert storage.quiet()
    assert storage.quiet()


def test_a_commit_of_another_node_is_told_once(start: Start) -> None:
    storage, other = start(), start()
    storage.adopt(["t"], NOW)
    storage.quiet()
    other.commit(Batch(NOW, inserts=[record(9, owner=2)]))
    assert not storage.quiet()
    assert storage.quiet()


@pytest.mark.slow
def test_the_death_of_another_node_is_told_until_it_was_looked_at(start: Start, process: subprocess.Popen[str]) -> None:
    storage = start()
    storage.adopt(["t"], NOW)
    storage.quiet()
    assert storage.quiet()
    process.kill()
    process.wait()
    assert not storage.quiet()
    assert not storage.quiet()
    storage.adopt(["t"], NOW)
    storage.quiet()  # its own adoption
    assert storage.quiet()


def test_a_storage_that_cannot_be_read_is_not_quiet(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    storage = start()
    storage.adopt(["t"], NOW)
    storage.quiet()
    version = storage._version
    assert version is not None
    version[0].close()
    monkeypatch.setattr(connections, "connect", refuse)
    assert not storage.quiet()
    assert not storage.quiet()
    monkeypatch.undo()
    assert not storage.quiet()
    assert storage.quiet()


def test_a_lock_that_cannot_be_asked_is_not_quiet(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lock: NodeLock, number: int) -> bool:
        raise PermissionError(13, "Permission denied")

    storage, _ = start(), start()
    storage.adopt(["t"], NOW)
    storage.quiet()
    assert storage.quiet()
    monkeypatch.setattr(NodeLock, "alive", refuse)
    assert not storage.quiet()


def test_asking_whether_it_is_quiet_waits_for_nobody_who_writes(start: Start, path: Path) -> None:
    storage = start()
    storage.adopt(["t"], NOW)
    storage.quiet()
    writing = sqlite3.connect(path, isolation_level=None)
    writing.execute("BEGIN EXCLUSIVE")
    writing.execute("DELETE FROM adoption")
    assert storage.quiet()
    writing.execute("ROLLBACK")
    writing.close()
    assert storage.quiet()
