"""What a schedule was recorded with, in eight characters: with another application it means nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from everact.tasks.registration import HandlerSpec
from everact.testing.choices import StaleSchedule
from everact.testing.schedule import Schedule
from everact.version import __version__


def fingerprint(specs: Sequence[HandlerSpec], nodes: int, storage: str) -> str:
    """What decides how many choices there are, apart from what handlers do: that may be mended between two runs.

    Args:
        specs: The handlers.
        nodes: How many nodes there are.
        storage: Which storage they share.
    """
    parts = [__version__, str(nodes), storage]
    parts += [
        repr((spec.name, spec.is_async, spec.concurrency, spec.pinned, spec.timeout, sorted(spec.hooks)))
        for spec in specs
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def check_fingerprint(schedule: Schedule, mine: str, specs: Sequence[HandlerSpec], nodes: int, storage: str) -> None:
    """Refuse a schedule that was recorded with something else.

    Raises:
        StaleSchedule: It was.
    """
    if schedule.fingerprint == mine:
        return
    handled = ", ".join(spec.name for spec in specs)
    msg = (
        f"the schedule was recorded with an application of fingerprint {schedule.fingerprint}; this one's is {mine} "
        f"(everact {__version__}, {nodes} node(s) on {storage}, handlers for {handled}). Give the simulation what it "
        "was recorded with; if handlers, hooks, concurrency or timeouts have changed since, find the failure anew"
    )
    raise StaleSchedule(msg)
