"""A disk whose power may go: what was synced is there afterwards, of the rest anything may be."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from power.recording import FOLDER, LEDGER, NAMES, OPEN, SYNC, UNLINK, WRITE, Operation

SECTOR = 512
KEPT = ("nothing", "everything", "some writes", "some sectors")
"""What may be kept of that which was not synced."""


class _Change(NamedTuple):
    offset: int
    data: bytes | None  # None: a truncation

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
        content.extend(bytes(max(self.offset - len(content), 0)))
        if self.data is not None:
            content[self.offset : self.offset + len(self.data)] = self.data

    def sectors(self) -> Iterator[_Change]:
        """Cut it where a disk may tear it."""
        if self.data is None:
            yield self
            return
        start = 0
        while start < len(self.data):
            end = start + SECTOR - (self.offset + start) % SECTOR
            yield _Change(self.offset + start, self.data[start:end])
            start = end


class _File:
    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[_Change] = []

    def sync(self) -> None:
        for change in self.pending:
            change.apply(self.synced)
        self.pending.clear()

    def after_a_cut(self, kept: str, chance: Random) -> bytes:
        content = bytearray(self.synced)
        share = {"nothing": 0.0, "everything": 1.0}.get(kept, chance.random())
        for change in self.pending:
            for piece in change.sectors() if kept == "some sectors" else (change,):
                if chance.random() < share:
                    piece.apply(content)
        return bytes(content)


class Disk:
    """The files of one folder, and which changes to them the machine was promised.

    A name is a change too: a file made or removed is so after a cut only if the folder was synced, else perhaps.
    """

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._synced: dict[int, _File] = {}
        self._moves: list[tuple[int, _File | None]] = []

    def apply(self, operation: Operation) -> None:
        """Do what the process did."""
        kind, number, offset, data = operation
        if number == LEDGER:
            return
        if number == FOLDER:
            if kind == SYNC:
                self._synced = self._after(len(self._moves))
                self._moves.clear()
        elif kind == OPEN:
            if number not in self._files:
                self._files[number] = _File()
                self._moves.append((number, self._files[number]))
        elif kind == UNLINK:
            del self._files[number]
            self._moves.append((number, None))
        elif kind == SYNC:
            self._files[number].sync()
        else:
            self._files[number].pending.append(_Change(offset, data if kind == WRITE else None))

    def cut(self, kept: str, chance: Random) -> dict[str, bytes]:
        """Cut the power; returns the files that are there afterwards."""
        moves = {"nothing": 0, "everything": len(self._moves)}.get(kept, chance.randint(0, len(self._moves)))
        return {NAMES[number]: file.after_a_cut(kept, chance) for number, file in self._after(moves).items()}

    def _after(self, moves: int) -> dict[int, _File]:
        found: dict[int, _File | None] = {**self._synced, **dict(self._moves[:moves])}
        return {number: file for number, file in found.items() if file is not None}
