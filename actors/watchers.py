"""Who waits for the end of which task."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from everact.actors.baton import AnyWaiter
from everact.actors.ticket import Ticket
from everact.storage.protocol import Outcome
from everact.tasks import status as st
from everact.tasks.record import Record

LOOKED_AT = 100


class Watchers:
    """Waiters by the id of their task. Adding and removing is for any thread, the rest for the journal's turns.

    Attributes:
        waiting: Them; asked in each turn whether there are any, so it is no call.
    """

    def __init__(self) -> None:
        self.waiting: dict[bytes, list[AnyWaiter]] = {}
        self._turn = 0

    def __len__(self) -> int:
        return sum(map(len, list(self.waiting.values())))

    def add(self, id: bytes, waiter: AnyWaiter) -> None:
        """Have `waiter` told the outcome of a task. Ask storage once more after this: it may just have ended."""
        self.waiting.setdefault(id, []).append(waiter)

    def remove(self, id: bytes, waiter: AnyWaiter) -> None:
        """Forget a waiter that has given up."""
        others = self.waiting.get(id)
        if others and waiter in others:
            others.remove(waiter)
            if not others:
                self.waiting.pop(id, None)

    def tell(self, ended: Outcome | Record) -> list[AnyWaiter]:
        """Settle those who wait for a task that has ended; returns them, to be released."""
        return self.settle(ended.id, ended)

    def settle(self, id: bytes, answer: object) -> list[AnyWaiter]:
        """Settle those who wait for what has this id; returns them, to be released."""
        told = self.waiting.pop(id, [])
        for waiter in told:
            waiter.settle(answer)
        return told

    def look(self, resident: dict[bytes, Ticket], get: Callable[[bytes], Record | None]) -> list[AnyWaiter]:
        """Look whether tasks have ended that are not in this node's hands: another node may have taken them over.

        At most `LOOKED_AT` tasks at a time, the others the next times.

        Args:
            resident: Tasks whose end this node will tell itself.
            get: Reads a row.

        Returns:
            Waiters that were settled, to be released.
        """
        elsewhere = [id for id in list(self.waiting) if id not in resident]  # noqa: A001 - the task's own word
        start = self._turn if self._turn < len(elsewhere) else 0
        self._turn = start + LOOKED_AT
        told: list[AnyWaiter] = []
        for id in itertools.islice(elsewhere, start, start + LOOKED_AT):  # noqa: A001 - as above
            record = get(id)
            if record is not None and record.status >= st.COMPLETED:
                told += self.tell(record)
        return told

    def take_all(self) -> list[AnyWaiter]:
        """Take out everybody."""
        left: list[AnyWaiter] = []
        while self.waiting:
            left += self.waiting.popitem()[1]
        return left
