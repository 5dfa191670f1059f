"""The demo's two child processes, and the files by which they and the parent know of each other.

`python -m everact.demo_worker work CELLS` runs the tasks; it is an application of everact, and the one that gets
killed. `python -m everact.demo_worker plain` counts what `ast.parse` refuses without everact, for comparison.
Both work in the current directory.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from everact import ActorSystem, Settings, events
from everact.demo_tasks import ParseFile, ParseFileHandler, handlers_on
from everact.storage.sqlite import SqliteStorage

DATABASE = Path("tasks.db")
INDEX = Path("symbols.db")
FILES = Path("files.json")
LEDGER = Path("ledger.txt")
REFUSED = Path("refused.json")
ACTORS = Path("actors.txt")
BATCH = 100
LONGEST_RUN_SECONDS = 1800.0
HAND_OVER_SECONDS = 0.002  # the default lets whoever stores wait 5 ms for the interpreter at each statement
LARGEST_FILE = Settings(payload_limit=64 * 1024 * 1024)  # all symbols of one file travel in one task


def read_files(folder: Path) -> list[str]:
    """Read which files the parent wants to have indexed."""
    return [str(path) for path in json.loads((folder / FILES).read_text(encoding="utf-8"))]


def read_ledger(folder: Path) -> dict[UUID, str]:
    """Read what was acknowledged: paths by task id. An entry that a kill has cut off is left out."""
    try:
        lines = (folder / LEDGER).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return dict(entry for line in lines if (entry := _entry(line)))


def _entry(line: str) -> tuple[UUID, str] | None:
    task_id, _, path = line.partition(" ")
    try:
        return UUID(task_id), json.loads(path)
    except ValueError:
        return None


def work(cells: int) -> None:
    """Dispatch every file that is not in the ledger, and stay until all tasks have ended."""
    sys.setswitchinterval(HAND_OVER_SECONDS)
    ParseFileHandler.concurrency = cells  # read when the system is built
    with ActorSystem(
        "demo", handlers=handlers_on(INDEX), storage=SqliteStorage(DATABASE), settings=LARGEST_FILE
    ) as system:
        write_actors_once_at_work(system)
        acknowledged = set(read_ledger(Path()).values())
        for batch in batches([path for path in read_files(Path()) if path not in acknowledged]):
            handles = system.dispatch_many(ParseFile(path) for path in batch)
            # Only now: the ledger says what dispatch_many has promised, and is not everact's.
            append_to_ledger([(handle.id, path) for handle, path in zip(handles, batch, strict=True)])
        system.wait_idle(LONGEST_RUN_SECONDS)


def write_actors_once_at_work(system: ActorSystem) -> None:
    """Write down the tree of actors, as it is when the first task has ended."""

    def write(event: events.Event) -> None:
        if isinstance(event, events.TaskCompleted):
            unsubscribe()
            ACTORS.write_text(f"{system.actors()}\n", encoding="utf-8")

    unsubscribe = system.events.subscribe(write)


def batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut the work into pieces, so that memory does not grow with it."""
    return (paths[start : start + BATCH] for start in range(0, len(paths), BATCH))


def append_to_ledger(entries: Sequence[tuple[UUID, str]]) -> None:
    """Add acknowledged tasks, and wait until that is on disk."""
    with LEDGER.open("a", encoding="utf-8") as ledger:
        # Each entry begins with the line break, in case the last one before was cut off.
        ledger.write("".join(f"\n{task_id} {json.dumps(path)}" for task_id, path in entries))
        ledger.flush()
        os.fsync(ledger.fileno())


def count_plainly() -> None:
    """Try every file in a plain loop, and write down those that `ast.parse` refuses."""
    REFUSED.write_text(json.dumps([path for path in read_files(Path()) if refuses(path)]), encoding="utf-8")


def refuses(path: str) -> bool:
    """Whether a file cannot be read and parsed."""
    try:
        ast.parse(Path(path).read_bytes(), path)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    return False


def main() -> None:
    """Run one of the two, as the first argument says."""
    warnings.simplefilter("ignore")  # about escapes and comparisons in the files that are parsed
    if sys.argv[1] == "plain":
        count_plainly()
    else:
        work(int(sys.argv[2]))


if __name__ == "__main__":
    main()
