"""Another process holds the database's write lock, and takes its time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from everact import ActorSystem, Settings, StorageError, TaskStatus, task

WAIT = 30.0
LONG = 6.0  # longer than the five seconds for which a connection itself waits
PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("holds", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""
gate = threading.Event()
pytestmark = [pytest.mark.crash, pytest.mark.slow]


@task
def double(n: int) -> int:
    return 2 * n


@task
def wait_for_the_gate() -> str:
    assert gate.wait(WAIT)
    return "through"


class Holder:
    """A process that holds the write lock of a database until it is told to let go."""

    def __init__(self, path: Path) -> None:
        self._once = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path)], cwd=path.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"holds\n"

    def freeze(self) -> None:
        """SIGSTOP; returns when it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def let_go(self) -> None:
        """Have it commit and end, unless that is done."""
        with self._once:
            if self._process.returncode is None:
                self._process.send_signal(signal.SIGCONT)
                self._process.communicate(b"\n")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def holders(path: Path) -> Iterator[list[Holder]]:
    started: list[Holder] = []
    yield started
    for holder in started:
        holder.let_go()


def system_on(path: Path, commit_timeout: float = WAIT) -> ActorSystem:
    settings = Settings(commit_timeout=commit_timeout)
    return ActorSystem(handlers=[double, wait_for_the_gate], storage=f"sqlite:///{path}", settings=settings)


def test_a_dispatch_waits_for_a_writer_that_is_stopped_for_six_seconds_and_then_succeeds(
    path: Path, holders: list[Holder]
) -> None:
    gate.clear()
    with system_on(path) as system:
        running = system.dispatch(wait_for_the_gate.task())
        holder = Holder(path)
        holders.append(holder)
        holder.freeze()
        began = time.monotonic()
        threading.Timer(LONG, holder.let_go).start()
        gate.set()  # its outcome has to wait, too
        assert running.status() in {TaskStatus.QUEUED, TaskStatus.RUNNING}, "to read, nobody needs the lock"
        doubled = system.dispatch(double.task(21))
        assert time.monotonic() - began >= LONG - 0.1
        assert doubled.result(WAIT) == 42
        assert running.result(WAIT) == "through"


def test_a_dispatch_that_waits_for_the_lock_too_long_is_told_so_in_time_and_the_same_id_settles_it(
    path: Path, holders: list[Holder]
) -> None:
    with system_on(path, commit_timeout=1.0) as system:
        chosen = uuid4()
        holder = Holder(path)
        holders.append(holder)
        began = time.monotonic()
        with pytest.raises(StorageError):
            system.dispatch(double.task(4), id=chosen)
        assert time.monotonic() - began < 5.0, "as long as a connection itself waits"
        holder.let_go()
    with system_on(path) as system:
        assert system.dispatch(double.task(4), id=chosen).result(WAIT) == 8
        assert len(system.tasks()) == 1
