"""What the actors of one running system share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from everact.actors.dispatcher import Dispatcher
from everact.actors.event_stream import EventStream
from everact.actors.journal import Journal
from everact.actors.pool import Pool
from everact.actors.runtime import Runtime
from everact.actors.timer import Timer


def _not_counted(actor: str, decision: str) -> None:
    """Metrics are off."""


@dataclass(slots=True)
class Node:
    """One running system as its actors see it.

    Attributes:
        runtime: The seam to the world.
        journal, timer, stream, dispatcher: The actors and services by name.
        grace: Seconds that user code has to stop after it was told to.
        error_limit: Characters kept of an error's text and traceback.
        middleware: What is wrapped around each attempt, outermost first.
        pools: All pools.
        decided: Counts what supervision decides: the kind of actor, the decision.
    """

    runtime: Runtime
    journal: Journal
    timer: Timer
    stream: EventStream
    dispatcher: Dispatcher
    grace: float
    error_limit: int
    middleware: tuple[Any, ...] = ()
    pools: list[Pool] = field(default_factory=list)
    decided: Callable[[str, str], None] = _not_counted
