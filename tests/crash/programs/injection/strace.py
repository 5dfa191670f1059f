"""Faults from the kernel's side: strace stops one thread at its n-th call of a kind, and kills it or fails the call."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "unlinkat")
KILL, FAIL = "signal=SIGKILL", "error=EIO"


class Point(NamedTuple):
    """The n-th call of a kind that one thread makes. strace counts for each thread and each kind by itself."""

    thread: str
    call: str
    when: int

    def options(self, fault: str) -> tuple[str, ...]:
        """Say it to strace."""
        return ("-e", f"trace={self.call}", "-e", f"inject={self.call}:{fault}:when={self.when}")


class TracingRefused(Exception):
    """strace cannot attach here; the message is strace's."""


@contextmanager
def traced(thread_id: int, *options: str) -> Iterator[None]:
    """Trace a thread until it ends; the context is entered when strace has it."""
    command = ["strace", *options, "-p", str(thread_id)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            raise TracingRefused(said.strip())
        yield


def installed() -> bool:
    """Whether there is an strace."""
    return shutil.which("strace") is not None


def every_call() -> tuple[str, ...]:
    """Options that log the calls of all threads, as `THREAD CALL(...`. `?`: not every machine has them all."""
    return ("-f", "-e", "trace=" + ",".join(f"?{call}" for call in CALLS))
