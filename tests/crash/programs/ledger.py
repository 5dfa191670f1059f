"""What was intended, promised and begun: an append-only file outside the database, which outlives every process."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec


class Entry(msgspec.Struct, frozen=True, tag=True):
    """A line. `life` numbers the process that wrote it; a later process has a higher number."""

    life: int


class Born(Entry, frozen=True, tag="born"):
    """A process is about to start; `doomed` says whether it will be killed."""

    doomed: bool
    at: float


class Intended(Entry, frozen=True, tag="intended"):
    """These are about to be dispatched, in one call."""

    names: tuple[str, ...]


class Acknowledged(Entry, frozen=True, tag="acknowledged"):
    """That call has returned these ids."""

    names: tuple[str, ...]
    ids: tuple[str, ...]


class CancelIntended(Entry, frozen=True, tag="cancel-intended"):
    """This task is about to be cancelled."""

    id: str


class CancelAnswered(Entry, frozen=True, tag="cancel-answered"):
    """That call has returned."""

    id: str
    outcome: str


class Started(Entry, frozen=True, tag="started"):
    """A handler has been called: the side effect of every task."""

    id: str
    attempt: int
    at: float


class Complained(Entry, frozen=True, tag="complained"):
    """A call raised that must not."""

    text: str


Line = Born | Intended | Acknowledged | CancelIntended | CancelAnswered | Started | Complained
_decoder = msgspec.json.Decoder(Line)


class Ledger:
    """The writing end; any number of threads and processes may have one on the same file."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, line: Line) -> None:
        """Append one line in one call. When this returns, a kill does not take it back."""
        # The line break comes first: a kill can cut a write at the border of a page, and the next line must not suffer.
        os.write(self._descriptor, b"\n" + msgspec.json.encode(line))

    def close(self) -> None:
        """Let the file go."""
        os.close(self._descriptor)


def read_ledger(path: Path) -> list[Line]:
    """Read all lines in the order in which they were written; one that was cut off was never written."""
    lines = []
    for text in path.read_bytes().splitlines() if path.exists() else ():
        try:
            lines.append(_decoder.decode(text))
        except msgspec.DecodeError:
            continue
    return lines
