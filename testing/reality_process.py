"""The process in which a script is really run: threads, a file, the clock, and a SIGKILL where the plan says so.

Its arguments are the module, the name and the file of the function that makes the script, and a folder. It is started
once more after each time that it has died. What must be known then is in the folder: how many commits there were, how
far the client has come.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from everact import ActorSystem
from everact.storage.protocol import Batch, Committed
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import EverActError
from everact.testing.fault_points import failure_in, slowness_in
from everact.testing.faults import Faults
from everact.testing.moments import after
from everact.testing.outcome import outcome_of, unfinished
from everact.testing.script import Script, carry_out
from everact.testing.target import Target
from everact.testing.watched import HandlerWatch

OUTCOME: Final = "outcome.json"
REST_SECONDS = 60.0
POLL_SECONDS = 0.01


class Tally:
    """A number that outlives the process: it counts up before what it counts can be killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    @property
    def count(self) -> int:
        """How far it has counted."""
        return os.fstat(self._file).st_size

    def add(self) -> int:
        """Count one more; returns how many there are."""
        os.write(self._file, b".")
        return self.count


class MortalSqlite(SqliteStorage):
    """A file at whose commits the process dies, where the plan says so."""

    def __init__(self, path: Path, plan: Faults, tally: Tally) -> None:
        super().__init__(path, "process")
        self._plan = tuple(plan.crash_at)
        self._tally = tally

    def commit(self, batch: Batch) -> Committed:
        """See `Storage.commit`."""
        number = self._tally.add()
        if number in self._plan:
            die()
        committed = super().commit(batch)
        if after(number) in self._plan:
            die()
        return committed


class RealPoints:
    """What a plan says of attempts."""

    def __init__(self, plan: Faults) -> None:
        self._plan = plan

    def slowness(self, node: object, type: str) -> float:  # noqa: ARG002 - as `FaultPoints` has it
        """See `FaultPoints.slowness`."""
        return slowness_in(self._plan, type)

    def failure(self, node: object, type: str, number: int, *, done: bool) -> BaseException | None:  # noqa: ARG002
        """See `FaultPoints.failure`."""
        return failure_in(self._plan, type, number, done=done)


class NoBook:
    """Nobody keeps the history of what is real."""

    label = ""

    def handled(self, *args: object) -> None:
        """See `Book.handled`."""

    def wanted(self, *args: object) -> int:  # noqa: ARG002 - as above
        """See `Book.wanted`."""
        return 0


class RealHands:
    """Makes the calls of a script to a real system."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system

    def dispatch(self, task: object, id: UUID, **options: Any) -> object:
        """See `Hands.dispatch`."""
        return self._system.dispatch(task, id=id, **options)

    def cancel(self, id: UUID, reason: str) -> object:
        """See `Hands.cancel`."""
        try:
            return self._system.cancel(id, reason)
        except EverActError as error:
            return error

    def cancel_workflow(self, id: UUID, reason: str) -> object:
        """See `Hands.cancel_workflow`."""
        try:
            return self._system.cancel_workflow(id, reason)
        except EverActError as error:
            return error

    def wait(self, seconds: float) -> None:
        """See `Hands.wait`."""
        time.sleep(seconds)


def die() -> None:
    """End the process as a kill -9 does, since it is one."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(REST_SECONDS)  # the signal may come a moment later, and nothing must happen in that


def run(script: Script, folder: Path) -> None:
    """Run it, from where it was when the process died before, to its end."""
    storage = MortalSqlite(folder / "tasks.db", script.faults, Tally(folder / "commits"))
    with _watched(script, storage) as system:
        _die_in_time(script.faults, Tally(folder / "lives"))
        made = Tally(folder / "calls")
        for call in script.calls[made.count :]:
            carry_out(call, RealHands(system))
            made.add()
        _rest(system, storage)
        text = json.dumps(outcome_of(storage, script.roots))
    (folder / OUTCOME).write_text(text, encoding="utf-8")


def _watched(script: Script, storage: MortalSqlite) -> ActorSystem:
    settings = replace(script.settings, metrics=False)
    system = ActorSystem("reality", handlers=script.handlers, storage=storage, settings=settings)
    points: Any = RealPoints(script.faults)
    book: Any = NoBook()
    watch = HandlerWatch(book, book, points, time.sleep)
    system._handlers = [(watch.watch(spec), codec) for spec, codec in system._handlers]
    return system


def _die_in_time(plan: Faults, lives: Tally) -> None:
    """Of what the plan has a time for, in the first life."""
    if lives.add() > 1:
        return
    for _, moment in plan.crash:
        timer = threading.Timer(moment.seconds, die)
        timer.daemon = True
        timer.start()


def _rest(system: ActorSystem, storage: MortalSqlite) -> None:
    end = time.monotonic() + REST_SECONDS
    while unfinished(storage):
        system.wait_idle(max(end - time.monotonic(), POLL_SECONDS))
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Run the script that the command line names."""
    module, name, file, folder = sys.argv[1:]
    run(Target(module, name, file).load()(), Path(folder))
