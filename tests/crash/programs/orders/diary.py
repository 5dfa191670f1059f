"""What happened outside of the database: one line per fact, which a kill does not take back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

BEGAN, DID, UNDOING, UNDID, ALERTED, STUCK, MENDED = "began", "did", "undoing", "undid", "alerted", "stuck", "mended"
NAME = "diary"


class Line(NamedTuple):
    """In which process something happened, what, and to which step."""

    life: int
    word: str
    step: str


class Diary:
    """The writing end of one process.

    Args:
        folder: Where it is.
        life: The number of the process.
    """

    def __init__(self, folder: Path, life: int) -> None:
        self._path = folder / NAME
        self._life = life
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, word: str, step: str) -> None:
        """Append one line, in one call."""
        os.write(self._descriptor, f"{self._life} {word} {step}\n".encode())

    def has(self, word: str) -> bool:
        """Whether a line says so."""
        return any(line.word == word for line in read_diary(self._path.parent))


def read_diary(folder: Path) -> list[Line]:
    """Read all lines in the order in which they were written."""
    words = [line.split() for line in (folder / NAME).read_text().splitlines()]
    return [Line(int(life), word, step) for life, word, step in words]
