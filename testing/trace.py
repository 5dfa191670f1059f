"""What each step of a simulation was, so that a history reads as a story: when, which thread, what, with which task."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

KEPT = 100_000
"""Steps; of a longer run the last ones."""


class Step(NamedTuple):
    """One place where the baton could change hands.

    Attributes:
        time: Virtual seconds.
        thread: Who came to this place: the node's name comes first, then what the thread is.
        verb: What it does here.
        subject: With what.
    """

    time: float
    thread: str
    verb: str
    subject: Any

    def __str__(self) -> str:
        return f"{self.time:10.3f}  {self.thread:<28} {self.verb} {describe(self.subject)}".rstrip()


class Trace:
    """The steps of one run. Their text is made only when it is asked for."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, str, str, Any]] = deque(maxlen=KEPT)

    def add(self, time: float, thread: str, verb: str, subject: Any) -> None:
        """Add a step."""
        self._steps.append((time, thread, verb, subject))

    def __iter__(self) -> Iterator[Step]:
        return (Step(*step) for step in list(self._steps))

    def __len__(self) -> int:
        return len(self._steps)

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def short(name: str) -> str:
    """The last part of a stored name, which is what people call it.

    Example:
        >>> short("shop.orders.Charge")
        'Charge'
    """
    return name.rpartition(".")[2]


def undo_of(name: str) -> str:
    """What the undo of a task by its own handler is called.

    Example:
        >>> undo_of("shop.orders.Charge")
        'UndoCharge'
    """
    return f"Undo{short(name)}"


def describe(subject: Any) -> str:
    """Say what a message, or what is done with storage, is about.

    Example:
        >>> describe("commit"), describe(None)
        ('commit', '')
    """
    if subject is None or isinstance(subject, str):
        return subject or ""
    kind = type(subject).__name__
    records = [ticket.record for ticket in getattr(subject, "tickets", ())]
    if (ticket := getattr(subject, "ticket", None)) is not None:
        records.append(ticket.record)
    if (delivery := getattr(subject, "delivery", None)) is not None:
        records.append(delivery.ticket.record)
    if callable(subject) or kind in ("int", "tuple", "object"):
        return {"int": "a due time", "tuple": "a call", "object": "the end"}.get(kind, "a turn")
    return " ".join([kind, *(short(record.type) for record in records)])
