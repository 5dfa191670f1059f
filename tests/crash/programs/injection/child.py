"""Forked processes that can be stopped just before they do something."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import forking

Stop = Callable[[str, int], None]
"""Called by a child with the name and the number of a thread; returns when the parent is done with that thread."""

KILLED = -9
_SET_PTRACER, _ANY = 0x59616D61, -1


def fork(run: Callable[[], None], complaints: Path) -> int:
    """Run a function in a child, as `forking.fork`; what it prints on standard error goes into a file."""

    def redirected() -> None:
        os.dup2(os.open(complaints, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
        run()

    return forking.fork(redirected)


class Pausing:
    """A child that says which of its threads is about to do something, and waits meanwhile."""

    def __init__(self, run: Callable[[Stop], None], complaints: Path) -> None:
        reading, report = os.pipe()
        waiting, self._go = os.pipe()

        def stop(thread: str, number: int) -> None:
            os.write(report, f"{thread} {number}\n".encode())
            os.read(waiting, 1)

        def body() -> None:
            ctypes.CDLL(None).prctl(_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0)  # some kernels ask for it
            run(stop)

        self._id = fork(body, complaints)
        os.close(report)
        os.close(waiting)
        self._reports = os.fdopen(reading)

    def stops(self) -> Iterator[tuple[str, int]]:
        """Yield each thread that it reports; it goes on when the next one is asked for."""
        with self._reports:
            for line in self._reports:
                thread, number = line.split()
                yield thread, int(number)
                os.write(self._go, b"\n")
        os.close(self._go)

    def join(self) -> int:
        """See `join`."""
        return forking.exit_code(self._id)


def current_thread() -> int:
    """Number of the calling thread, as the kernel knows it."""
    return threading.get_native_id()


def thread_named(end: str) -> int:
    """Number of the thread whose name ends so."""
    return next(thread.native_id or 0 for thread in threading.enumerate() if thread.name.endswith(end))
