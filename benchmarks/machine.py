"""The machine: what it is, and how much of it other processes use."""

from __future__ import annotations

import os
import pathlib
import platform
import resource
import sqlite3
import time
from typing import Any

from benchmarks.figures import Run

STAT = pathlib.Path("/proc/stat")
USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL = 1, 2, 3, 6, 7, 8


class Neighbours:
    """How many cores other processes use from now on: what all used, less what we and our finished children did."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.perf_counter(), busy_seconds(), own_seconds()

    def run(self, figures: dict[str, float]) -> Run:
        """Make a run of what was measured since."""
        seconds = time.perf_counter() - self._began
        busy = busy_seconds()
        if busy is None or self._busy is None:
            return Run(figures, seconds)
        return Run(figures, seconds, max(busy - self._busy - own_seconds() + self._own, 0.0) / seconds)


def busy_seconds() -> float | None:
    """How long all cores were busy since the machine started, in all; None where nobody says so."""
    try:
        fields = STAT.read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    ticks = sum(int(fields[number]) for number in (USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL))
    return ticks / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """The processor time of this process and of the children that it has waited for, with theirs."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def description() -> dict[str, Any]:
    """What a reader must know to read the figures."""
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
    }


def _first(path: str, name: str) -> str:
    """The value of the first line that begins with a name."""
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
