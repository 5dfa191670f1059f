"""A backlog much larger than memory may hold: fill a file, be killed, and work it off.

    python backlog.py report --tasks 1000000 --run 200000

prints how much memory each part took beside an idle system, how fast dispatching was at first and in the end, and
how soon the first task ran after the restart. Each part is a process of its own; `fill` ends in a real SIGKILL.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from everact import ActorSystem, TaskStatus, WaitTimeout, task

BULK = 1000
DAY = 86_400.0
released = threading.Event()
started: list[float] = []


@task(name="backlog.work", concurrency=2)
def work(number: int) -> int:
    """Wait for the release, then count."""
    released.wait()
    if not started:
        started.append(time.perf_counter())
    return number


def resident_megabytes() -> float:
    """How much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def tenths(system: ActorSystem, count: int, **options: Any) -> dict[str, list[float]]:
    """Dispatch tasks in bulk, and measure each tenth: wall-clock time shows the disk too, processor time does not."""
    measured: dict[str, list[float]] = {"per_second": [], "cpu_microseconds": []}
    for _ in range(10):
        begun, cpu = time.perf_counter(), time.process_time()
        for _ in range(count // (10 * BULK)):
            system.dispatch_many([work.task(n) for n in range(BULK)], **options)
        measured["per_second"].append(round(count / 10 / (time.perf_counter() - begun)))
        measured["cpu_microseconds"].append(round((time.process_time() - cpu) * 1e7 / count, 1))
    return measured


def fill(url: str, count: int) -> dict[str, Any]:
    """Queue `count` tasks and schedule as many for tomorrow."""
    with ActorSystem("backlog", handlers=[work], storage=url) as system:
        idle = resident_megabytes()
        queued = tenths(system, count)
        scheduled = tenths(system, count, delay=DAY)
        counts = system.counts()
        print(
            json.dumps(
                {
                    "megabytes_over_idle": round(resident_megabytes() - idle, 1),
                    "queued": queued,
                    "scheduled": scheduled,
                    "unfinished": counts[TaskStatus.QUEUED] + counts[TaskStatus.RUNNING],
                    "scheduled_tasks": counts[TaskStatus.SCHEDULED],
                }
            ),
            flush=True,
        )
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def drain(url: str, wanted: int) -> dict[str, Any]:
    """Start again, and run until `wanted` tasks are completed."""
    released.set()
    idle = resident_megabytes()
    begun = time.perf_counter()
    with ActorSystem("backlog", handlers=[work], storage=url) as system:
        up = time.perf_counter() - begun
        most = idle
        while True:
            try:
                system.wait_idle(0.5)
                break
            except WaitTimeout:
                most = max(most, resident_megabytes())
                if system.counts()[TaskStatus.COMPLETED] >= wanted:
                    break
        seconds = time.perf_counter() - begun
        counts = system.counts()
    return {
        "start_seconds": round(up, 3),
        "first_run_seconds": round(started[0] - begun, 3),
        "megabytes_over_idle": round(max(most, resident_megabytes()) - idle, 1),
        "completed": counts[TaskStatus.COMPLETED],
        "scheduled": counts[TaskStatus.SCHEDULED],
        "completed_per_second": round(counts[TaskStatus.COMPLETED] / seconds),
    }


def part(name: str, url: str, number: int) -> dict[str, Any]:
    """Run one part in a process of its own."""
    command = [sys.executable, __file__, name, "--url", url, "--tasks", str(number)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(done.returncode)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def report(count: int, wanted: int) -> None:
    """Run all parts one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/backlog.db"
        print("fill ", json.dumps(part("fill", url, count)), flush=True)
        print("drain", json.dumps(part("drain", url, min(wanted, count))), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["report", "fill", "drain"])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--run", type=int, default=200_000)
    parser.add_argument("--url", default="")
    arguments = parser.parse_args()
    if arguments.part == "report":
        report(arguments.tasks, arguments.run)
    elif arguments.part == "fill":
        fill(arguments.url, arguments.tasks)
    else:
        print(json.dumps(drain(arguments.url, arguments.tasks)), flush=True)


if __name__ == "__main__":
    main()
