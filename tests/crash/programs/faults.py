"""Bugs to be planted in the program under test, so that each zero of the verdict stands beside a count."""

from __future__ import annotations

import enum


class Fault(enum.Enum):
    """What the program does wrong; everact itself is never touched."""

    EARLY_ACKNOWLEDGEMENT = "early-acknowledgement"
    """A dispatch is called acknowledged before it has returned: a kill in between loses the task."""
    OUTSIDE_THE_TRANSACTION = "outside-the-transaction"
    """A handler continues by `ctx.system.dispatch`: a kill before its outcome leaves an orphan, and then a twin."""
    UNSAID = "unsaid"
    """Something is dispatched that was not intended."""
    EARLY_CANCEL = "early-cancel"
    """A cancel is called acknowledged before it has returned: a kill in between lets the task run."""
    BROKEN_BATCH = "broken-batch"
    """What goes together is dispatched one by one: a kill in between leaves a part of it."""
