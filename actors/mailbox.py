"""An actor's mailbox: messages in order of arrival, an optional bound, and an end after which nothing gets lost."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Protocol

from everact.actors.envelope import ORDERS, Envelope
from everact.actors.runtime import Runtime
from everact.tasks.cancellation import Gate
from everact.tasks.errors import ActorDead, EverActError, MailboxFull

BLOCK_SECONDS = 30.0
"""How long a sender waits for room before it is told that there is none."""


class Overflow(enum.Enum):
    """What a full mailbox does with one more message."""

    BLOCK = "block"
    """The sender waits for room, up to 30 s, then gets `MailboxFull`. An actor never waits for itself."""
    DROP_NEW = "drop_new"
    """The new message becomes a dead letter."""
    DROP_OLD = "drop_old"
    """The oldest message becomes a dead letter."""
    FAIL = "fail"
    """The sender gets `MailboxFull`."""


class Owner(Protocol):
    """What a mailbox needs of the cell it belongs to."""

    @property
    def path(self) -> str:
        """Its name."""
        ...

    def wake(self) -> bool:
        """Have somebody look into the mailbox."""
        ...

    def refuse(self, envelope: Envelope, error: EverActError) -> None:
        """Answer for a message that will not be handled."""
        ...

    @property
    def is_current(self) -> bool:
        """Whether the owner's own code runs in the calling thread."""
        ...


class Mailbox:
    """Messages for one actor, without a bound.

    `put` may be called from any thread, `take` by one at a time. There is no lock: a message is in the lane before
    the flag is read again, and whoever takes it out is the one who answers for it. So one that comes while the
    mailbox closes is refused, by the closer or by its sender, exactly once.
    """

    __slots__ = ("_closed", "_lane", "_owner")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._lane: deque[Envelope] = deque()
        self._closed = False

    def put(self, envelope: Envelope) -> None:
        """Add a message and wake the actor; after the end, refuse it."""
        self._lane.append(envelope)
        self._look_in()

    def wake(self) -> bool:
        """Have somebody look into it; says whether there is one who does."""
        return self._owner.wake()

    def take(self) -> Envelope | None:
        """Take out the oldest message; None if there is none."""
        try:
            return self._lane.popleft()
        except IndexError:
            return None

    def close(self) -> None:
        """End it: what is inside, and whatever still comes, is refused."""
        self._closed = True
        self._refuse_all()

    def get(self) -> Envelope:
        """Take out the oldest message, as pykka's inboxes do.

        Raises:
            IndexError: There is none.
        """
        envelope = self.take()
        if envelope is None:
            msg = f"the mailbox of {self._owner.path} is empty"
            raise IndexError(msg)
        return envelope

    def empty(self) -> bool:
        """Whether it holds no message."""
        return not self._lane

    def __len__(self) -> int:
        return len(self._lane)

    def _look_in(self) -> None:
        if self._closed:
            self._refuse_all()
        else:
            self._owner.wake()

    def _refuse_all(self) -> None:
        while (envelope := self.take()) is not None:
            self._owner.refuse(envelope, ActorDead(f"{self._owner.path} stopped before it came to this message"))


class BoundedMailbox(Mailbox):
    """A mailbox that holds up to `bound` messages and has a rule for more."""

    __slots__ = ("_lock", "_make_gate", "_orders", "_runtime", "_senders", "bound", "overflow")

    def __init__(self, owner: Owner, runtime: Runtime, bound: int, overflow: Overflow) -> None:
        super().__init__(owner)
        self.bound = bound
        self.overflow = overflow
        self._lock = runtime.lock()
        self._make_gate: Callable[[], Gate] = runtime.gate
        self._runtime = runtime
        self._senders: deque[Gate] = deque()
        self._orders = 0  # in the lane, where they take up no room

    def put(self, envelope: Envelope) -> None:
        """As `Mailbox.put`, by the rule if it is full.

        Raises:
            MailboxFull: There is no room, and the rule is FAIL, or BLOCK and there was none in 30 s.
        """
        is_order = type(envelope.message) in ORDERS
        displaced = None
        with self._lock:
            room = is_order or self._has_room
            if not room and self.overflow is Overflow.DROP_OLD:
                displaced = self._oldest_message()
            if room or displaced is not None:
                self._lane.append(envelope)
                self._orders += is_order
        if displaced is not None:
            self._owner.refuse(displaced, self._full("a newer message took the place of this one"))
        if room or displaced is not None:
            self._look_in()
        else:
            self._overflow(envelope)

    def take(self) -> Envelope | None:
        """See `Mailbox.take`; one sender that waits for room may come in."""
        with self._lock:  # a rule may be looking through the lane
            envelope = super().take()
            is_order = envelope is not None and type(envelope.message) in ORDERS
            self._orders -= is_order
        if not is_order:
            self._let_in()
        return envelope

    def close(self) -> None:
        """See `Mailbox.close`; senders that wait for room wait no more."""
        super().close()
        while self._let_in():
            pass

    @property
    def _has_room(self) -> bool:
        return len(self._lane) - self._orders < self.bound or self._closed

    def _let_in(self) -> bool:
        try:
            self._senders.popleft().open()
        except IndexError:
            return False
        return True

    def _oldest_message(self) -> Envelope | None:
        for place, envelope in enumerate(self._lane):
            if type(envelope.message) not in ORDERS:
                del self._lane[place]
                return envelope
        return None

    def _overflow(self, envelope: Envelope) -> None:
        if self.overflow is Overflow.BLOCK:
            self._block(envelope)
        elif self.overflow is Overflow.FAIL:
            raise self._full("this message was not taken")
        else:
            self._owner.refuse(envelope, self._full("this message was dropped"))

    def _block(self, envelope: Envelope) -> None:
        if self._owner.is_current:
            raise self._full("an actor cannot wait for room in its own mailbox")
        if self._runtime.role() is not None:
            raise self._full(f"everact's {self._runtime.role()} thread cannot wait for room, it has others to serve")
        deadline = self._runtime.monotonic() + BLOCK_SECONDS
        while True:
            gate = self._make_gate()
            self._senders.append(gate)
            # Looked at once more after the gate is in its place: room may have come in between.
            with self._lock:
                if room := self._has_room:
                    self._lane.append(envelope)
            if room:
                self._leave(gate)
                break
            if not gate.wait(deadline - self._runtime.monotonic()):
                self._leave(gate)
                raise self._full(f"there was no room in {BLOCK_SECONDS:g} s")
        self._look_in()

    def _leave(self, gate: Gate) -> None:
        """Wait no more; if room was given to this sender meanwhile, it is for the next one."""
        try:
            self._senders.remove(gate)
        except ValueError:
            if self._has_room:
                self._let_in()

    def _full(self, detail: str) -> MailboxFull:
        return MailboxFull(self._owner.path, self.bound, detail)
