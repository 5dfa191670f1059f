"""The ledger: a file outside the database, where a program writes down each promise that everact made to it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

STORED, ENDED, CANCELLED = "stored", "ended", "cancelled"
NAME = "ledger"


class Ledger:
    """Writes promises. A line is one call of write(), so lines of several threads do not mix."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, promise: str, ids: Iterable[UUID]) -> None:
        """Note what everact has promised about these tasks."""
        os.write(self._descriptor, "".join(f"{promise} {task_id.hex}\n" for task_id in ids).encode())


class Promises:
    """What must be found in the database.

    Attributes:
        stored: Tasks whose dispatch has returned.
        final: Of these, the ones whose end was told to the caller, with the promise about it.
    """

    def __init__(self) -> None:
        self.stored: set[bytes] = set()
        self.final: dict[bytes, str] = {}

    def read(self, lines: bytes) -> None:
        """Add what was written to the ledger by one write()."""
        for line in lines.decode().splitlines():
            promise, _, task_id = line.partition(" ")
            if promise == STORED:
                self.stored.add(bytes.fromhex(task_id))
            else:
                self.final[bytes.fromhex(task_id)] = promise
