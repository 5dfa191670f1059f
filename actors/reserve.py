"""The disk space that is kept for running work: used when the disk is full, and restored when there is room again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from everact.actors.messages import CancelTasks, FinishDelivery, InTurn, StoreTasks
from everact.storage.protocol import Storage
from everact.tasks.errors import StorageFull

logger = logging.getLogger("everact.journal")
RESTORE_SECONDS = 0.5
NO_ROOM = (
    "there is no room for new tasks, nothing was stored (the disk is full, and its reserve is kept for running work); "
    "free some disk space, and dispatch works again"
)


class Reserve:
    """Refuses new tasks first, so that what runs can end. Used by the journal in its turn.

    Attributes:
        used: Whether an outcome or a cancel has met a full disk, and there is not room enough again. As long as that
            is so, new tasks are refused without asking storage: they would take the room of outcomes.
        call_after: The timer's; set when the timer is built.
    """

    def __init__(self, storage: Storage, submit: Callable[[Any], None]) -> None:
        self._storage = storage
        self._submit = submit
        self.used = False
        self.call_after: Callable[[float, Callable[[], object]], None] = lambda seconds, fn: None  # noqa: ARG005

    def divide(self, writing: list[Any]) -> tuple[list[Any], list[Any]]:
        """Decide about messages whose commit met a full disk.

        New tasks are refused; the rest is tried again without them, and after that with the reserve, once.

        Returns:
            The messages to be refused, and those to be tried again.
        """
        new = [message for message in writing if type(message) is StoreTasks]
        rest = [message for message in writing if type(message) is not StoreTasks]
        if new:
            return new, rest
        ends = any(type(message) in (FinishDelivery, CancelTasks) for message in rest)
        return ([], rest) if ends and self.use() else (rest, [])

    def turn_away(self, messages: list[Any]) -> tuple[list[Any], list[Any]]:
        """Tell new tasks, which are refused while the reserve is used, from the other messages."""
        new = [message for message in messages if type(message) is StoreTasks]
        return new, [message for message in messages if type(message) is not StoreTasks]

    def use(self) -> bool:
        """Give the reserve up for running work; False if that is done already, or there is none."""
        if self.used:
            return False
        self.used = True
        released = self._storage.release_reserve()
        kept = "its reserve is used for" if released else "it has no reserve for"
        logger.error("the disk is full: new tasks are refused until there is room again, %s running work", kept)
        self._look_later()
        return released

    def _look_later(self) -> None:
        self.call_after(RESTORE_SECONDS, lambda: self._submit(InTurn(self.on_tick)))

    def on_tick(self, now: int) -> None:  # noqa: ARG002 - every errand of the journal gets the time
        """Restore the reserve if there is room; until then, look again every now and then."""
        if not self.used:
            return
        if self._storage.restore_reserve():
            self.used = False
            logger.warning("the disk has room again: its reserve is restored, new tasks are taken")
        else:
            self._look_later()


def refusal() -> StorageFull:
    """Make the error of a dispatch that is refused while the reserve is used."""
    return StorageFull(NO_ROOM)
