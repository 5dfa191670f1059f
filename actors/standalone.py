"""Actors that belong to no system: pykka's way of using them."""

from __future__ import annotations

import functools
import logging
import os

from everact.actors.environment import Environment
from everact.actors.executor import LoopExecutor
from everact.actors.runtime import process_runtime
from everact.actors.shared_executor import SharedExecutor
from everact.actors.timer import Timer
from everact.tasks.events import DeadLetter, Event

logger = logging.getLogger("everact.actor")


def environment() -> Environment:
    """The environment of this process; a forked child gets one of its own, since threads do not survive a fork."""
    return _environment_of(os.getpid())


@functools.cache
def _environment_of(pid: int) -> Environment:  # noqa: ARG001 - the key of the cache
    runtime = process_runtime()

    @functools.cache
    def timer() -> Timer:
        made = Timer(runtime, "everact/timer", lambda: None)
        made.start_thread()
        return made

    return Environment(
        runtime,
        shared=SharedExecutor(runtime, "everact/actors"),
        make_loop=lambda: LoopExecutor(runtime, "everact/loop"),
        call_after=lambda seconds, fn: timer().call_after(seconds, fn),
        on_dead_letter=_log_dead_letter,
        publish=_ignore,
        alone=True,
    )


def _log_dead_letter(letter: DeadLetter) -> None:
    logger.info("dead letter for %s: %r (%s)", letter.actor, letter.message, letter.reason)


def _ignore(event: Event) -> None:
    """Nobody subscribes to events here."""
