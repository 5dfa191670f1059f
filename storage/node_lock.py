"""Which node incarnations live: the kernel knows, as it drops a dead process's file locks.

Each incarnation holds a lock on a file of its own beside the database, from its start to its end. POSIX locks
belong to the process: closing *any* descriptor of the file lets go of them, and two systems in one process
never conflict. So the file is opened once and not closed before the end, and a set kept by the process is
asked before the file is touched.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_held: dict[tuple[str, int], int] = {}
"""(database, incarnation) of every lock that this process holds, with the process id: a forked child inherits
the set, but not the locks."""


class NodeLock:
    """The lock of one incarnation, and a look at those of others.

    `alive` may be called by any thread, the rest by one at a time. The kernel's refusals are OSErrors.
    """

    def __init__(self, database: Path) -> None:
        self._database = str(database.resolve())
        self._number: int | None = None
        self._descriptor = -1

    def path(self, number: int) -> Path:
        """Name the lock file of an incarnation."""
        return Path(f"{self._database}.node-{number}.lock")

    def acquire(self, number: int) -> bool:
        """Take the lock of a new incarnation.

        Returns:
            False if another process holds it, as one that outlived its database file does.
        """
        if self._held_here(number):
            return False
        descriptor = os.open(self.path(number), os.O_RDWR | os.O_CREAT, 0o600)
        if not _try_lock(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return False
        self._number, self._descriptor = number, descriptor
        _held[self._database, number] = os.getpid()
        return True

    def alive(self, number: int) -> bool:
        """Whether the process of that incarnation lives; a stopped one does, it may come back and write."""
        if self._held_here(number):
            return True
        try:
            descriptor = os.open(self.path(number), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            # A shared lock: two nodes that look at the same time must not take each other for the owner.
            return not _try_lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def forget(self, number: int) -> None:
        """Remove what a dead incarnation left behind; a file that stays only says once more that it is dead."""
        try:
            self.path(number).unlink(missing_ok=True)
        except OSError:
            pass

    def release(self, *, remove: bool) -> None:
        """Let go of the own lock, if there is one; a kill would leave the file, a clean end removes it."""
        if self._number is None:
            return
        if remove:
            self.forget(self._number)
        _held.pop((self._database, self._number), None)
        os.close(self._descriptor)
        self._number = None

    def _held_here(self, number: int) -> bool:
        return _held.get((self._database, number)) == os.getpid()


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN on Linux, EACCES elsewhere: somebody holds it
        return False
    return True
