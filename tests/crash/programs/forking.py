"""Forked processes: they start in milliseconds, as everact is imported already. No thread may run before the fork."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable


def fork(run: Callable[[], object]) -> int:
    """Run something in a forked child, which ends with it; returns the child's process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def exit_code(child: int) -> int:
    """Wait for the end of a child; a negative number is the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
