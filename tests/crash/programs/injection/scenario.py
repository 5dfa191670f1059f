"""What an enumeration plays: something that a process does to a database, while faults are injected."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from injection.child import Stop


class Scenario(Protocol):
    """Each method gets an empty folder of its own; `run` and `recover` are called in a child each."""

    def prepare(self, folder: Path) -> None:
        """Make what is there before."""
        ...

    def run(self, folder: Path, stop: Stop) -> None:
        """Do it, having called `stop` for each thread that is about to write."""
        ...

    def faults_at_once(self, folder: Path) -> list[str]:
        """Say what is wrong with what the process left."""
        ...

    def recover(self, folder: Path) -> None:
        """Start again, and go on until nothing is left to do."""
        ...

    def faults(self, folder: Path) -> list[str]:
        """Say what is wrong then."""
        ...

    def remarks(self, folder: Path) -> Counter[str]:
        """Count what is worth a figure."""
        ...


def database(folder: Path) -> Path:
    """Where the database of a scenario is."""
    return folder / "tasks.db"


@contextmanager
def copied(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of the database: to open it is to recover it, and that is left to everact."""
    with tempfile.TemporaryDirectory() as elsewhere:
        for file in folder.glob("tasks.db*"):
            if not file.name.endswith(("-shm", ".lock")):
                shutil.copy(file, elsewhere)
        with closing(sqlite3.connect(Path(elsewhere, "tasks.db"))) as connection:
            yield connection
