"""Counts syncs of files without slowing them: a few lines of C, preloaded into each measured process.

A tracer would stop the process at each of them, so that other tasks gather in one commit than without it. Without a
C compiler, or where the C library cannot be stepped in front of, the figure is left out.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable

SOURCE = pathlib.Path(__file__).with_suffix(".c")


def preloading(folder: pathlib.Path) -> dict[str, str]:
    """Compile the counter into a folder, and give the variables that put it into a process; none if that fails."""
    compiler, library = shutil.which(os.environ.get("CC", "cc")), folder / "syncs.so"
    if compiler is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, check=False)
    return {} if done.returncode else {"LD_PRELOAD": str(library)}


@functools.cache
def counter() -> Callable[[], int] | None:
    """A function that says how often this process has synced; None if nobody counts."""
    try:
        count = ctypes.CDLL(None).benchmark_syncs
    except (AttributeError, OSError):
        return None
    count.restype = ctypes.c_ulong
    return count if _sees_sqlite(count) else None


def _sees_sqlite(count: Callable[[], int]) -> bool:
    """Whether a commit that must sync is noticed: zero would be taken for a figure."""
    before = count()
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(pathlib.Path(folder) / "probe.db")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE probe(n)")
        connection.close()
    return count() > before
