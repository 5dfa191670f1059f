"""A stopwatch for the measured part of a case: time, processor time, and syncs of files where they are counted."""

from __future__ import annotations

import gc
import os
import pathlib
import time
from types import TracebackType
from typing import Self

from benchmarks.figures import Figures
from benchmarks.syncs import counter

SYNCS = "fsyncs/task"


class Watch:
    """Measures the block that it is put around; all threads of the process count.

    Attributes:
        seconds: By the clock, so far or in all.
        processor: Of processor time.
        syncs: Calls of fsync and fdatasync; None where they are not counted.
    """

    def __init__(self) -> None:
        self.seconds = self.processor = 0.0
        self.syncs: int | None = None
        self._count = counter()

    def __enter__(self) -> Self:
        self._synced = self._count() if self._count else 0
        self._processor, self.began = time.process_time(), time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self.began
        self.processor = time.process_time() - self._processor
        self.syncs = self._count() - self._synced if self._count else None

    def per_task(self, tasks: int) -> Figures:
        """The figures that cases of throughput have in common."""
        figures = {"tasks/s": tasks / self.seconds, "CPU s/1000": self.processor / tasks * 1000}
        return figures if self.syncs is None else figures | {SYNCS: self.syncs / tasks}


def resident_bytes() -> int:
    """How much memory this process has now."""
    gc.collect()
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
