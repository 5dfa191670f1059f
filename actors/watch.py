"""Deadlines on user code: who is in it, until when, and what the timer does about it."""

from __future__ import annotations

from everact.actors.ticket import Delivery

HANDLE = "handle"


class Watch:
    """A deadline on one stretch of user code: `handle`, a hook, or the making of an instance.

    Attributes:
        phase: Which stretch.
        seconds: How long it may take.
        deadline: When its time is over (monotonic); after that, when its grace time is over.
        expired: Whether its time is over and grace has begun.
        delivery: The delivery it belongs to; None for an instance's start and stop.
    """

    __slots__ = ("deadline", "delivery", "expired", "phase", "seconds")

    def __init__(self, phase: str, seconds: float, now: float, delivery: Delivery | None) -> None:
        self.phase = phase
        self.seconds = seconds
        self.deadline = now + seconds
        self.expired = False
        self.delivery = delivery
