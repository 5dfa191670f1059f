"""Facts that the engine publishes: `system.events.subscribe(fn)`. Each is told after it was committed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened, at a wall-clock time in microseconds since the epoch."""

    at: int


@dataclass(frozen=True, slots=True)
class TaskEvent(Event):
    """Something that has happened to one task."""

    task_id: UUID
    type: str


@dataclass(frozen=True, slots=True)
class TaskDispatched(TaskEvent):
    """A task was stored."""


@dataclass(frozen=True, slots=True)
class TaskCompleted(TaskEvent):
    """A task ended COMPLETED; `seconds` is the run time of its last attempt."""

    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TaskFailed(TaskEvent):
    """A task ended FAILED."""

    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class TaskRetried(TaskEvent):
    """An attempt failed and another one is due after `delay` seconds."""

    attempt: int
    error: str
    delay: float


@dataclass(frozen=True, slots=True)
class TaskCancelled(TaskEvent):
    """A task ended CANCELLED; `attempt` is 0 if it had never started."""

    attempt: int


@dataclass(frozen=True, slots=True)
class TaskQuarantined(TaskEvent):
    """A record could not be read; its bytes are kept."""

    reason: str


@dataclass(frozen=True, slots=True)
class WorkflowMoved(Event):
    """A workflow of several tasks went into another state; `reason` is why it is undone or stuck."""

    workflow_id: UUID
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class HookFailed(TaskEvent):
    """A hook raised or ran too long; `final` says whether it will not be tried again."""

    hook: str
    error: str
    final: bool


@dataclass(frozen=True, slots=True)
class KeyTaken(TaskEvent):
    """A follow-up was not stored since an unfinished task of its type holds the key."""

    key: str
    holder: UUID


@dataclass(frozen=True, slots=True)
class TypeUnhandled(Event):
    """Stored tasks of this type stay QUEUED: no handler for it is registered on this node."""

    type: str
    count: int


@dataclass(frozen=True, slots=True)
class ThreadAbandoned(TaskEvent):
    """A handler or hook did not stop in its grace time; its thread was left behind and fenced off."""

    where: str


@dataclass(frozen=True, slots=True)
class CellFailed(Event):
    """A cell could not start, or everact's own code in it failed; supervision decided what follows."""

    type: str
    error: str
    decision: str


@dataclass(frozen=True, slots=True)
class PoolSuspended(Event):
    """A handler's pool went over its intensity: its tasks stay QUEUED until a probe succeeds."""

    type: str
    error: str
    probe_after: float


@dataclass(frozen=True, slots=True)
class PoolResumed(Event):
    """A suspended pool works again."""

    type: str


@dataclass(frozen=True, slots=True)
class ActorRestarted(Event):
    """An internal actor failed in one turn and went on; `error` is what it raised."""

    actor: str
    error: str


@dataclass(frozen=True, slots=True)
class ChildFailed(Event):
    """A spawned actor failed, or could not start; `decision` is what its supervisor made of it.

    Attributes:
        supervisor, child: Paths.
        generation: Which instance of the child it was, from 1.
        error: What it raised.
        decision: "resume", "restart in 0.5 s", "stop", "escalate" or "give up".
    """

    supervisor: str
    child: str
    generation: int
    error: str
    decision: str


@dataclass(frozen=True, slots=True)
class ActorAbandoned(Event):
    """An actor did not end or start in its time: its thread was left behind and fenced off."""

    actor: str
    where: str


@dataclass(frozen=True, slots=True)
class DeadLetter(Event):
    """A message that no actor has handled to its end; `system.dead_letters()` keeps the last ones.

    Attributes:
        actor: The path of the actor that it was sent to.
        message: The message.
        reason: Why it was not handled.
    """

    actor: str
    message: object
    reason: str


@dataclass(frozen=True, slots=True)
class SystemStopping(Event):
    """A failure was escalated to the top: the system stops, and this is why."""

    cause: str


@dataclass(frozen=True, slots=True)
class EventsDropped(Event):
    """Subscribers were too slow; this many events were not delivered."""

    count: int
