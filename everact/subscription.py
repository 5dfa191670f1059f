"""Subscriptions to what happens in a system: `system.events`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from everact.actors.event_stream import Subscriber
from everact.engine import Engine
from everact.tasks.errors import ForkedSystem, SystemNotRunning

if TYPE_CHECKING:
    from everact.system import ActorSystem


class Events:
    """Where to subscribe to what happens: `system.events`."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._subscribers: list[Subscriber] = []

    def subscribe(self, fn: Subscriber) -> Callable[[], None]:
        """Call `fn(event)` with every event from now on; see `everact.tasks.events` for the kinds.

        May be called before the start. It runs on everact's callback thread. Slow subscribers miss events, which
        are counted; one that raises is logged and goes on.

        Returns:
            A function that ends the subscription.
        """
        if self._system._forked:
            raise ForkedSystem(self._system.name)
        if self._system.state == "stopped":
            raise SystemNotRunning(self._system.name, self._system.state)
        self._subscribers.append(fn)
        engine = self._system._engine
        unsubscribe = engine.node.stream.subscribe(fn) if engine is not None else None

        def end() -> None:
            if fn in self._subscribers:
                self._subscribers.remove(fn)
            if unsubscribe is not None:
                unsubscribe()

        return end

    def _attach(self, engine: Engine) -> None:
        for fn in self._subscribers:
            engine.node.stream.subscribe(fn)
