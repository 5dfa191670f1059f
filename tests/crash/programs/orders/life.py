"""One process that works on the order until it is over, or until it kills itself at a commit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from everact import ActorSystem, Settings, WaitTimeout, WorkflowState
from everact.storage.protocol import Adoption, Batch, Committed
from everact.storage.sqlite import SqliteStorage
from orders.diary import MENDED, STUCK, Diary
from orders.forms import handlers_of, order
from orders.script import Script
from orders.shop import Notes, Shop

T = TypeVar("T")
ORDER = UUID(int=7)
LOOK = 0.01
"""Seconds between two looks at a workflow that has not ended."""
NOTE = "the shelf was counted by hand"


@dataclass(frozen=True, slots=True)
class Death:
    """At which of its transactions a process kills itself, counted from 1, and on which side of it."""

    commit: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} commit {self.commit}"


class DeadlyStorage(SqliteStorage):
    """Takes over what others have left, and commits, as always; at one of these the process dies."""

    def __init__(self, path: Path, death: Death | None) -> None:
        super().__init__(path, "process")
        self._death = death
        self._commits = 0

    def commit(self, batch: Batch) -> Committed:
        """See `Storage.commit`."""
        return self._or_die(lambda: super(DeadlyStorage, self).commit(batch))

    def adopt(self, types: Collection[str], now: int) -> Adoption:
        """See `Storage.adopt`; it is a transaction too."""
        return self._or_die(lambda: super(DeadlyStorage, self).adopt(types, now))

    def _or_die(self, write: Callable[[], T]) -> T:
        self._commits += 1
        self._die_if(after=False)
        written = write()
        self._die_if(after=True)
        return written

    def _die_if(self, *, after: bool) -> None:
        if self._death == Death(self._commits, after):
            os.kill(os.getpid(), signal.SIGKILL)


def database(folder: Path) -> Path:
    """Where the database is."""
    return folder / "tasks.db"


def live(folder: Path, script: Script, number: int, death: Death | None = None, patience: float = 20.0) -> None:
    """Start, see the order to its end, and stop.

    Args:
        folder: Where everything is.
        script: What happens to the order.
        number: Of the process, from 1.
        death: When it kills itself.
        patience: Seconds after which it ends though the order does not.
    """
    diary = Diary(folder, number)
    handlers = handlers_of(script.form, Shop(script, diary))
    storage = DeadlyStorage(database(folder), death)
    with ActorSystem("shop", handlers=handlers, storage=storage, settings=Settings(metrics=False)) as system:
        system.dispatch(order(script.form), id=ORDER)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                system.wait_workflow(ORDER, LOOK)
            except WaitTimeout:
                help_out(system, script, diary)
            else:
                return


def help_out(system: ActorSystem, script: Script, diary: Notes) -> None:
    """What an operator does about a workflow that is stuck."""
    for workflow in system.workflows(state=WorkflowState.STUCK):
        diary.write(STUCK, "-")
        if not script.skip:
            diary.write(MENDED, "-")
        system.resume(workflow.id, skip=script.skip, note=NOTE)
