"""Plays one script in processes that are killed, and judges what is left."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from everact import ActorSystem, Settings
from everact.storage.migrations import scripts
from forking import exit_code, fork
from orders.bugs import Bug, plant
from orders.diary import Diary, read_diary
from orders.forms import handlers_of
from orders.found import look
from orders.life import Death, database, live
from orders.script import FORMS, Script
from orders.shop import Shop
from orders.verdict import faults

KILLED = -9
MEMORY = Path("/dev/shm")  # SIGKILL takes nothing from the page cache, so a disk would show no more
PATIENCE, PATIENCE_WITH_A_BUG = 20.0, 2.0


@dataclass(frozen=True, slots=True)
class Played:
    """How it went: how many processes were killed, and what is wrong."""

    killed: int
    faults: list[str]


def play(script: Script, deaths: Sequence[Death] = (), bug: Bug | None = None) -> Played:
    """Start one process for each death, and then one that may finish.

    A process that ends without having come to its commit is the last one.
    """
    warm_up()
    with _folder() as folder:
        killed = 0
        for number, death in enumerate((*deaths, None), 1):
            code = exit_code(fork(partial(_live, folder, script, number, death, bug)))
            killed += code == KILLED
            if code != KILLED:
                break
        found = [] if code == 0 else [f"a process ended with exit code {code}; its standard error tells why"]
        found += faults(script, look(database(folder)), read_diary(folder))
        return Played(killed, [f"{script}; {_told(deaths[:killed])}: {fault}" for fault in found])


@cache
def warm_up() -> None:
    """Read once what each process would read again: hints, codecs, schema. Starts nothing, so there is no thread."""
    scripts()
    with _folder() as folder:
        for form in FORMS:
            handlers = handlers_of(form, Shop(Script(form), Diary(folder, 0)))
            ActorSystem("shop", handlers=handlers, settings=Settings(metrics=False))


def _live(folder: Path, script: Script, number: int, death: Death | None, bug: Bug | None) -> None:
    if bug is not None:
        plant(bug, number)
    live(folder, script, number, death, PATIENCE_WITH_A_BUG if bug else PATIENCE)


def _told(deaths: Sequence[Death]) -> str:
    return "killed " + ", ".join(map(str, deaths)) if deaths else "not killed"


@contextmanager
def _folder() -> Iterator[Path]:
    name = tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)
    yield Path(name)
    shutil.rmtree(name, ignore_errors=True)
