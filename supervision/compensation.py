"""The compensation supervisor: sees to it that what a workflow's unwinding stops does stop.

What is undone, and in which order, is decided where it is written down: `tasks.unwinding`, in the commit that ends a
step. Here is what takes time: steps that run have been told to stop, and are left behind when their grace is over.
"""

from __future__ import annotations

from functools import partial

from everact.actors.messages import GraceOver
from everact.actors.node import Node
from everact.actors.ticket import Delivery
from everact.actors.watch import HANDLE


class CompensationSupervisor:
    """Gives running steps of workflows that are being undone their grace time, and no more.

    Called in the journal's turns and on the timer's thread; it only sends messages.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def signalled(self, delivery: Delivery) -> None:
        """A step was told to stop."""
        self._node.timer.call_after(self._node.grace, partial(self._grace_is_over, delivery))

    def _grace_is_over(self, delivery: Delivery) -> None:
        if delivery.closed:
            return
        if delivery.phase == HANDLE:
            delivery.cell.supervisor.tell(GraceOver(delivery.cell, delivery))
        else:
            self.signalled(delivery)  # hooks have deadlines of their own; `handle` may come after this one
