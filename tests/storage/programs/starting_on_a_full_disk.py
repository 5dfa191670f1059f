"""Starts on a disk that has been filled: `starting_on_a_full_disk.py FOLDER with|without`, the reserve."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from everact import ActorSystem, StorageError, TaskContext, TaskHandler

BLOCK = 512
LARGEST = 64 << 20


@dataclass(frozen=True)
class Job:
    number: int


class JobHandler(TaskHandler[Job]):
    def handle(self, task: Job, ctx: TaskContext) -> int:
        return task.number


def main(folder: Path, reserve: str) -> None:
    url = f"sqlite:///{folder}/tasks.db"
    with ActorSystem(storage=url, handlers=[]) as system:
        pass
    with ActorSystem(storage=url, handlers=[JobHandler]) as system:
        left = system.dispatch(Job(7), delay=0.5).id
    if reserve == "without":
        folder.joinpath("tasks.db.reserve").unlink()
    disk = os.statvfs(folder)
    if disk.f_blocks * disk.f_frsize > LARGEST:
        raise SystemExit(f"{folder} is no small file system of its own; filling it would fill this machine's disk")
    with folder.joinpath("filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(BLOCK))
        except OSError as error:
            print("full", error.strerror, flush=True)
    try:
        with ActorSystem(storage=url, handlers=[JobHandler]) as system:
            print("result", system.wait(left, 10).result)
    except StorageError as error:
        print("refused", type(error).__name__, error, file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
