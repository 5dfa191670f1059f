"""Fills the disk that its database is on, and goes on: `filling_a_disk.py FOLDER with|without`, the reserve.

Prints what it saw, line by line. Everything happens in one process, which is never started again.
"""

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from everact import ActorSystem, StorageFull, TaskContext, TaskHandler, WaitTimeout
from everact.storage.ballast import Ballast

BLOCK = 4096
LARGEST = 64 << 20
PATIENCE = 20


@dataclass(frozen=True)
class Job:
    number: int


@dataclass(frozen=True)
class Pad:
    text: str


started = threading.Semaphore(0)
go = threading.Event()


class JobHandler(TaskHandler[Job]):
    concurrency = 8

    def handle(self, task: Job, ctx: TaskContext) -> int:
        started.release()
        go.wait()
        ctx.dispatch(Pad("follow-up"))
        return task.number


class PadHandler(TaskHandler[Pad]):
    def handle(self, task: Pad, ctx: TaskContext) -> None:
        pass


def fill_up(folder: Path) -> Path:
    """Use what room is left, down to the last block."""
    disk = os.statvfs(folder)
    if disk.f_blocks * disk.f_frsize > LARGEST:
        raise SystemExit(f"{folder} is no small file system of its own; filling it would fill this machine's disk")
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(BLOCK))
        except OSError as error:
            print("full", error.strerror, flush=True)
    return filler


def main(folder: Path, reserve: str) -> None:
    if reserve == "without":
        Ballast.make = lambda self: None  # type: ignore[method-assign]
    with ActorSystem(handlers=[JobHandler, PadHandler], storage=f"sqlite:///{folder}/tasks.db") as system:
        running = system.dispatch_many([Job(number) for number in range(8)])
        for _ in running:
            started.acquire()
        stored = len(system.dispatch_many([Pad("x" * 10_000)] * 20, delay=3600))
        filler = fill_up(folder)
        try:
            while True:
                system.dispatch(Pad("x" * 10_000), delay=3600)
                stored += 1
        except StorageFull:
            print("refused", flush=True)
        go.set()
        try:
            print("ended", sorted(handle.result(2.0) for handle in running), flush=True)
        except WaitTimeout:
            print("waiting", flush=True)
        filler.unlink()
        print("ended", sorted(handle.result(PATIENCE) for handle in running), flush=True)
        print("taken again", again(system), flush=True)
        system.wait_idle(PATIENCE)
        counts = {str(status): count for status, count in system.counts().items() if count}
        print(counts == {"completed": 8 + 8 + 1, "scheduled": stored} or counts, flush=True)
        print(folder.joinpath("tasks.db.reserve").stat().st_size if reserve == "with" else 0, flush=True)


def again(system: ActorSystem) -> bool:
    """Dispatch until that works."""
    pause = threading.Event()
    for _ in range(PATIENCE * 20):
        try:
            system.dispatch(Pad("y")).wait(PATIENCE)
        except StorageFull:
            pause.wait(0.05)
        else:
            return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
