"""Facts for subscribers, and callbacks of users: one thread, a bounded queue, what is dropped is counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from everact.actors.runtime import Runtime
from everact.actors.system_actor import ThreadActor
from everact.tasks.events import Event, EventsDropped

logger = logging.getLogger("everact.events")
QUEUE_LIMIT = 10_000
Subscriber = Callable[[Event], Any]


CALLBACK_ROLE = "callback"


class EventStream(ThreadActor):
    """Delivers events to subscribers, and runs `on_cancel` callbacks, in order, on one thread.

    Publishing never blocks and never fails: above `QUEUE_LIMIT` waiting events the rest are dropped and
    counted, and subscribers are told how many. A subscriber that raises is logged and keeps its subscription.
    """

    role = CALLBACK_ROLE

    def __init__(self, runtime: Runtime, path: str) -> None:
        super().__init__(runtime, path)
        self._subscribers: tuple[Subscriber, ...] = ()
        self.active = False
        self._undelivered_drops = 0
        self.dropped = 0

    def subscribe(self, fn: Subscriber) -> Callable[[], None]:
        """Call `fn` with every event from now on, on everact's callback thread.

        Returns:
            A function that ends the subscription.
        """
        self._subscribers = (*self._subscribers, fn)
        self.active = True

        def unsubscribe() -> None:
            self._subscribers = tuple(other for other in self._subscribers if other is not fn)
            self.active = bool(self._subscribers)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell subscribers one fact."""
        self.publish_many((event,))

    def publish_many(self, events: Iterable[Event]) -> None:
        """Tell subscribers facts, in order."""
        if not self._subscribers:
            return
        for event in events:
            if self.actor_inbox.qsize() < QUEUE_LIMIT:
                self.tell(event)
            else:
                self.dropped += 1
                self._undelivered_drops += 1

    def call_back(self, fn: Callable[[], object]) -> None:
        """Run a user's callback on the callback thread. Not bounded: a cancel must always get through."""
        self.tell(fn)

    def on_batch(self, messages: list[Any]) -> None:
        """Deliver, one by one."""
        for message in messages:
            if isinstance(message, Event):
                self._deliver(message)
            else:
                self._guarded(message)
        if self._undelivered_drops:
            dropped, self._undelivered_drops = self._undelivered_drops, 0
            self._deliver(EventsDropped(self.runtime.now(), dropped))

    def _deliver(self, event: Event) -> None:
        for subscriber in self._subscribers:
            self._guarded(subscriber, event)

    def _guarded(self, fn: Callable[..., object], *args: Any) -> None:
        try:
            fn(*args)
        except BaseException:
            logger.exception("a subscriber or on_cancel callback raised; the others are told all the same")
