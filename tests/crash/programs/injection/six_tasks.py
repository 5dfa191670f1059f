"""The scenario of a system that starts on a new file, runs six tasks and stops."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from everact import StorageUnavailable
from everact.actors import journal
from injection.bills import ASKED, ENDED, NOBODY, RAN, STORED, WAIT, Caller, system_on
from injection.child import Stop, current_thread, thread_named
from injection.comparison import broken_promises, told, unfinished_business
from injection.scenario import copied, database
from power.ledger import Ledger


class SixTasks:
    """The scenario; the arguments are those of `Caller`."""

    def __init__(self, *, acknowledge_first: bool = False, die: bool = False) -> None:
        self._caller = partial(Caller, acknowledge_first=acknowledge_first, die=die)

    def prepare(self, folder: Path) -> None:
        """There is nothing before."""

    def run(self, folder: Path, stop: Stop) -> None:
        """Two threads write: this one opens and closes the file, the journal's commits."""
        journal.REWRITE_SECONDS = 0.02
        ledger = Ledger(folder)
        system = system_on(database(folder), ledger)
        stop("main", current_thread())
        try:
            system.start()
        except StorageUnavailable as error:
            ledger.write(f"start-{error.outcome}", [NOBODY])
            system.start()
        stop("journal", thread_named("/journal"))
        self._caller(system, ledger).six_tasks()
        system.stop()

    def faults_at_once(self, folder: Path) -> list[str]:
        """What was told must be on the disk, before anything is repaired."""
        with copied(folder) as connection:
            return list(broken_promises(told(folder), connection))

    def recover(self, folder: Path) -> None:
        """The next process finishes what is there."""
        with system_on(database(folder), Ledger(folder)) as system:
            system.wait_idle(WAIT)

    def faults(self, folder: Path) -> list[str]:
        """All that is there is done, and nothing was done again after its end was told."""
        lines = told(folder)
        with copied(folder) as connection:
            return [*broken_promises(lines, connection), *unfinished_business(lines, connection)]

    def remarks(self, folder: Path) -> Counter[str]:
        """How often a caller was told that a write has failed."""
        return Counter(word for word, _ in told(folder) if word not in {ASKED, STORED, ENDED, RAN})
