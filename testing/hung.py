"""Threads of a simulation that do not come back: where they are, and what is to be done about it."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from types import FrameType

from everact.tasks.errors import EverActError
from everact.testing.strays import is_foreign

HUNG_SECONDS = 10.0
"""Real ones in which a thread takes no step; it is told of after one or two such spans."""
_DEBUGGERS = frozenset({"bdb", "pdb", "ipdb", "pudb", "pydevd", "debugpy", "_pydevd_bundle"})


class Hung(EverActError):
    """User code in a simulation does not come back, in real time: nothing else can run."""


def told(thread: str, frame: FrameType | None) -> str:
    """Where a thread is that does not come back, and what may help."""
    return (
        f"thread {thread!r} of the simulation has not come back for {HUNG_SECONDS:g} real seconds; it is here:\n"
        f"{_place(frame)}\n"
        "In a simulation one thread runs at a time, until it waits in a way that the simulation knows. A lock is none, "
        "if another handler holds it over a wait: take `threading.Semaphore(1)` in the place of `threading.Lock`. What "
        "talks to the world outside, or computes for long, belongs behind an object that `bind` gives to the handler, "
        "with a fake one in simulations. A loop that looks at the clock must wait in between."
    )


def debugged(frame: FrameType | None) -> bool:
    """Whether somebody looks at a thread with a debugger, and takes the time for that."""
    return any(each.f_globals.get("__name__", "").partition(".")[0] in _DEBUGGERS for each in _frames(frame))


def frame_of(ident: int | None) -> FrameType | None:
    """Where a thread is."""
    return None if ident is None else sys._current_frames().get(ident)


def _place(frame: FrameType | None) -> str:
    theirs = next((each for each in _frames(frame) if not is_foreign(each.f_globals.get("__name__", ""))), frame)
    if theirs is None:
        return "    nowhere: it has ended"
    code, line = theirs.f_code, theirs.f_lineno
    return f"    {code.co_filename}:{line}, in {code.co_name}: {linecache.getline(code.co_filename, line).strip()}"


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
