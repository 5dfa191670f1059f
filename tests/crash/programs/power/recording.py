"""A recording: the log of a workload that has run with `recorder.c` in its process."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HEADER = struct.Struct("=cbxxIQ")
_SOURCE = Path(__file__).with_name("recorder.c")

DATABASE, LOG, JOURNAL, LEDGER, FOLDER = range(5)
NAMES = {DATABASE: "tasks.db", LOG: "tasks.db-wal", JOURNAL: "tasks.db-journal"}
OPEN, WRITE, TRUNCATE, SYNC, UNLINK = b"O", b"W", b"T", b"S", b"U"


class Operation(NamedTuple):
    """One call: its kind, the file (a number above), and where; a truncation's `offset` is the new size."""

    kind: bytes
    file: int
    offset: int
    data: bytes


def compiler() -> str | None:
    """Find a C compiler."""
    return shutil.which(os.environ.get("CC", "cc"))


def record(variant: str, folder: Path) -> list[Operation]:
    """Run the workload of a variant in `folder`, and return what it did to its disk."""
    library, log = folder / "recorder.so", folder / "log"
    disk = folder / "disk"
    disk.mkdir()
    command = [str(compiler()), "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    recorded = {"LD_PRELOAD": str(library), "POWER_FOLDER": str(disk.resolve()), "POWER_LOG": str(log)}
    workload = [sys.executable, "-m", "power.workload", str(disk.resolve()), variant]
    subprocess.run(workload, check=True, env=os.environ | recorded, cwd=folder)
    return list(_read(log.read_bytes()))


def _read(log: bytes) -> Iterator[Operation]:
    place = 0
    while place < len(log):
        kind, file, length, offset = _HEADER.unpack_from(log, place)
        place += _HEADER.size
        yield Operation(kind, file, offset, log[place : place + length])
        place += length
