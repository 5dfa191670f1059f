"""What happened in a simulation, in order: append-only, in the names of the application, with a hash that is stable."""

from __future__ import annotations

import enum
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from everact.testing.trace import short


class What(enum.StrEnum):
    """What can happen. The first ones are what a client does, then handlers, then commits, then nodes and faults."""

    DISPATCHED = "dispatched"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """Nothing was stored, the client was told."""
    UNKNOWN = "outcome unknown"
    """The client was not told whether it was stored; it asks again with the same id."""
    CANCEL_ASKED = "cancel asked"
    CANCEL_ANSWERED = "cancel answered"

    STARTED = "started"
    RETURNED = "returned"
    RAISED = "raised"
    UNDO_STARTED = "undo started"
    UNDONE = "undone"
    UNDO_RAISED = "undo raised"
    HOOK = "hook"
    HOOK_RAISED = "hook raised"
    WANTED = "wanted"
    """A handler or hook has dispatched it through its context, or promised it as an undo."""

    STORED = "stored"
    """Its row was committed."""
    LEFT_OUT = "left out"
    """Its row was not committed, since another one has its key or its id."""
    CLAIMED = "claimed"
    RETRY = "retry"
    REQUEUED = "requeued"
    PARKED = "parked"
    """A saga waits for its stage."""
    WOKEN = "woken"
    CANCEL_REQUESTED = "cancel requested"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    WORKFLOW = "workflow"
    """A workflow went into another state."""

    TOLD = "told"
    """A subscriber was told an event."""
    NODE_STARTED = "node started"
    NODE_STOPPED = "node stopped"
    CRASHED = "crashed"
    FAULT = "fault"


_number = attrgetter("number")
ENDS = frozenset({What.COMPLETED, What.FAILED, What.CANCELLED, What.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        number: Its place in the history, from 0.
        step: The step of the scheduler at which it happened.
        time: Virtual seconds.
        node: The node's name and how often it was started, "node-1.2"; "client" for the test itself.
        what: What happened.
        task: The task's name: its type and a number, in the order in which tasks were first heard of.
        attempt: Which attempt it belongs to; 0 if none.
        detail: More: an answer, an error's type, a hook's name, a state.
        about: Another task that it has to do with: the parent, or the step that is undone.
        commit: The commit in which it came, counted over all nodes; 0 if it did not come in one.
        due: When that is to be, by the wall clock, in virtual seconds; None if that is no question.
    """

    number: int
    step: int
    time: float
    node: str
    what: What
    task: str = ""
    attempt: int = 0
    detail: str = ""
    about: str = ""
    commit: int = 0
    due: float | None = None

    @property
    def text(self) -> str:
        """What happened, without when and where."""
        attempt = f" (attempt {self.attempt})" if self.attempt else ""
        about = f" of {self.about}" if self.about else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.what} {self.task}{attempt}{about}{detail}"

    def __str__(self) -> str:
        return f"{self.time:10.3f}  {self.node:<10} {self.text}"


class History:
    """The events of one run.

    Example:
        >>> history = History(lambda: (1, 0.5))
        >>> _ = history.add("client", What.DISPATCHED, history.name(b"1", "shop.Charge"))
        >>> print(history)
             0.500  client     dispatched Charge#1
    """

    def __init__(self, moment: Callable[[], tuple[int, float]]) -> None:
        """Begin one.

        Args:
            moment: Says the step and the time.
        """
        self._moment = moment
        self._events: list[Event] = []
        self._kinds: dict[What, list[Event]] = defaultdict(list)
        self._names: dict[bytes, str] = {}
        self._ids: dict[str, bytes] = {}
        self._numbers: Counter[str] = Counter()
        self._sealed = False

    def add(
        self,
        node: str,
        what: What,
        task: str = "",
        *,
        attempt: int = 0,
        detail: str = "",
        about: str = "",
        commit: int = 0,
        due: float | None = None,
    ) -> None:
        """Write down what happens now; nothing is taken in after `seal`."""
        if not self._sealed:
            step, time = self._moment()
            number = len(self._events)
            event = Event(number, step, time, node, what, task, attempt, detail, about, commit, due)
            self._events.append(event)
            self._kinds[what].append(event)

    def seal(self) -> None:
        """The run is over: what its threads still do on their way out is no part of it."""
        self._sealed = True

    def name(self, id: bytes, type: str) -> str:
        """Name a task, the same way each time."""
        if (known := self._names.get(id)) is not None:
            return known
        kind = short(type)
        self._numbers[kind] += 1
        name = self._names[id] = f"{kind}#{self._numbers[kind]}"
        self._ids[name] = id
        return name

    def known(self, id: bytes) -> str:
        """The name of a task that was heard of before; the id itself if it was not."""
        return self._names.get(id) or id.hex()

    def id(self, name: str) -> bytes:
        """The id of a task by its name.

        Raises:
            KeyError: No task has that name.
        """
        return self._ids[name]

    @property
    def tasks(self) -> list[str]:
        """The names of all tasks, in the order in which they were first heard of."""
        return list(self._ids)

    def of(self, *what: What, task: str | None = None) -> list[Event]:
        """The events of some kinds, perhaps of one task only."""
        found = [event for kind in what for event in self._kinds.get(kind, ()) if task in (None, event.task)]
        return found if len(what) == 1 else sorted(found, key=_number)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, number: int) -> Event:
        return self._events[number]

    @property
    def hash(self) -> str:
        """The same for the same events, in any process and under any version of Python."""
        digest = hashlib.sha256()
        for event in self._events:
            fields = [getattr(event, name) for name in Event.__slots__]
            digest.update(repr([str(field) for field in fields]).encode())
        return digest.hexdigest()

    def __str__(self) -> str:
        return "\n".join(map(str, self._events))
