"""A reserve of disk space: a file beside the database that is there only to be given up when the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BALLAST_BYTES = 1 << 20
"""Room for some hundred commits of outcomes."""
PROBE_BYTES = 1 << 16
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Ballast:
    """The file `<database>.reserve`. All nodes on a database share it, and it stays when they end."""

    def __init__(self, database: Path) -> None:
        self.path = Path(f"{database}.reserve")

    def make(self) -> OSError | None:
        """Allocate the space, if that is not done already; returns what stood in the way."""
        try:
            with _opened(self.path) as descriptor:
                if os.fstat(descriptor).st_size < BALLAST_BYTES:
                    _allocate(descriptor)
        except OSError as error:
            return error
        return None

    def restore(self) -> bool:
        """Allocate the space again; False while there is no room for it. Where it cannot be had at all, True."""
        error = self.make()
        return error is None or error.errno not in _NO_ROOM

    def release(self) -> bool:
        """Give the space up; False if there was none."""
        try:
            with _opened(self.path) as descriptor:
                held = os.fstat(descriptor).st_size
                os.ftruncate(descriptor, 0)
        except OSError:
            return False
        return held > 0


def is_full(database: Path) -> bool:
    """Whether the log of a database cannot grow now: the disk or a quota is full, or a limit on file sizes is met.

    SQLite tells only the first of these from a broken disk. So a file beside it is asked for as many bytes, at the
    same place, as the log would need.
    """
    probe = Path(f"{database}.probe")
    try:
        with _opened(probe) as descriptor:
            _fill(descriptor, _length(Path(f"{database}-wal")), PROBE_BYTES)
    except OSError as error:
        return error.errno in _NO_ROOM
    finally:
        probe.unlink(missing_ok=True)
    return False


def _allocate(descriptor: int) -> None:
    """Have all of the space or none: the part that fits would only be in the way of others."""
    room = os.fstatvfs(descriptor)
    if room.f_bavail * room.f_frsize < BALLAST_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    try:
        _fill(descriptor, 0, BALLAST_BYTES)
    except OSError:
        os.ftruncate(descriptor, 0)
        raise


def _fill(descriptor: int, offset: int, length: int) -> None:
    """Have space on disk for these bytes; ftruncate would make a hole, which has none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, length)
    elif os.pwrite(descriptor, bytes(length), offset) < length:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
