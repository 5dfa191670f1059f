"""A warm parent that starts processes by forking and kills them: a cold start would take much longer.

It must never start a system itself, as a fork does not take threads along.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass

from forking import exit_code, fork
from ledger import Born, Ledger
from load import Plan, live, settle

LONGEST_START = 60.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When a process is killed: so many seconds after it was forked, or after its system has started."""

    seconds: float
    after_start: bool


class ForkServer:
    """Runs one life after the other; their numbers must go up."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ledger = Ledger(plan.ledger)

    def kill_one(self, life: int, moment: Moment) -> None:
        """Start a process under load, and kill it.

        Raises:
            RuntimeError: It did not start, or it ended by itself.
        """
        ready, say_ready = os.pipe()
        lifeline, lifeline_end = os.pipe()
        self._ledger.write(Born(life, True, time.time()))

        def child() -> None:
            os.close(lifeline_end)
            # Nobody writes there: it returns when this parent is gone, so that a resumed run is alone on the file.
            live(self._plan, life, lambda: os.write(say_ready, b"!"), lambda: os.read(lifeline, 1))

        process = fork(child)
        try:
            if moment.after_start:
                _await_start(ready, life)
            time.sleep(moment.seconds)
        finally:
            os.kill(process, signal.SIGKILL)
            code = exit_code(process)
            for descriptor in (ready, say_ready, lifeline, lifeline_end):
                os.close(descriptor)
        if code != -signal.SIGKILL:
            msg = f"life {life} ended by itself with exit code {code}; its standard error tells why"
            raise RuntimeError(msg)

    def settle(self, life: int) -> None:
        """Start a process that finishes what the others left, and let it end.

        If it fails, it says why on standard error, and what it has not finished is lost in the verdict.
        """
        self._ledger.write(Born(life, False, time.time()))
        exit_code(fork(lambda: settle(self._plan, life)))


def _await_start(ready: int, life: int) -> None:
    if not select.select([ready], [], [], LONGEST_START)[0]:
        msg = f"life {life} has not started within {LONGEST_START} s"
        raise RuntimeError(msg)
