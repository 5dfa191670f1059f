"""Messages that nobody has handled: the last ones are kept, all are counted and told to subscribers."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from everact.tasks.events import DeadLetter

logger = logging.getLogger("everact.dead_letters")
KEPT = 1000


class DeadLetters:
    """The last dead letters of a system, in a ring.

    Args:
        publish: Tells subscribers.
        kept: How many are kept.
    """

    def __init__(self, publish: Callable[[DeadLetter], None], kept: int = KEPT) -> None:
        self._publish = publish
        self._ring: deque[DeadLetter] = deque(maxlen=kept)
        self.count = 0

    def add(self, letter: DeadLetter) -> None:
        """Keep one, in any thread."""
        self.count += 1
        self._ring.append(letter)
        self._publish(letter)
        logger.info("dead letter for %s: %r (%s)", letter.actor, letter.message, letter.reason)

    def last(self) -> list[DeadLetter]:
        """Those that are kept, oldest first."""
        return list(self._ring)
