"""A task that kills its process whenever it runs, beside innocent ones: `poison.py DATABASE exit|segfault|kill`.

The process is started again after each death, as a service manager would do it, until it ends by itself. Prints how
each one ended.
"""

import ctypes
import os
import signal
import sys
from dataclasses import dataclass

from everact import ActorSystem, TaskContext, TaskHandler
from forking import exit_code, fork

INNOCENTS = 20
MOST_STARTS = 7
PATIENCE = 30.0


@dataclass(frozen=True)
class Letter:
    """One letter; what is inside may be deadly."""

    name: str
    poison: str = ""


class LetterHandler(TaskHandler[Letter]):
    concurrency = 4

    def handle(self, task: Letter, ctx: TaskContext) -> None:
        if task.poison == "exit":
            os._exit(7)
        elif task.poison == "segfault":
            ctypes.string_at(0)
        elif task.poison == "kill":
            os.kill(os.getpid(), signal.SIGKILL)


def serve(database: str, letters: list[Letter]) -> None:
    """One start of the process; only the first one has letters to dispatch."""
    with ActorSystem("post", handlers=[LetterHandler], storage=f"sqlite:///{database}") as system:
        if letters:
            system.dispatch_many(letters)
        system.wait_idle(PATIENCE)


def main(database: str, poison: str) -> None:
    letters = [Letter(f"innocent-{number}") for number in range(INNOCENTS)]
    letters.insert(INNOCENTS // 2, Letter("poison", poison))
    for _ in range(MOST_STARTS):
        code = exit_code(fork(lambda: serve(database, letters)))
        print(code, flush=True)
        if code == 0:
            return
        letters.clear()


if __name__ == "__main__":
    main(*sys.argv[1:])
