"""Every error that everact raises, in one tree.

    EverActError
    ├── ConfigurationError (ValueError)     a setting, a storage URL or an option has no meaning
    ├── HandlerError (TypeError)            a handler cannot be registered as it is written
    │   └── SagaError                       a saga, or a step of one, cannot work as it is written
    ├── SystemNotRunning                    the system has not been started, or has stopped
    ├── ForkedSystem                        used in a child process after fork
    ├── BlockingCallError                   a blocking call on a thread that must not block
    ├── WouldDeadlock                       a wait inside a handler that could never end
    │   └── AskCycle                        an actor asks one that is waiting for it
    ├── ActorDead (ActorDeadError)          the actor has stopped; it never saw the message
    ├── ActorStartFailed                    a spawned actor could not start
    ├── AskTimeout (Timeout, TimeoutError)  no reply in time; the message may still be handled
    ├── MailboxFull                         a bounded mailbox has no room
    ├── RestartsExhausted                   children of a supervisor failed too often
    ├── AttemptOver                         a context was used after its attempt had ended
    ├── CompensationError                   a compensation wanted to be undone, or to abort its workflow
    ├── StepFailed                          a saga ends, since a step did not complete
    ├── NotStuck                            a workflow was to be resumed that is not stuck
    ├── IllegalMove                         a task status cannot follow the one before it (a bug of everact)
    ├── TaskTypeUnknown (LookupError)       nothing is registered for this task's class
    ├── PayloadError (ValueError)           a task does not survive encoding
    ├── ResultError                         what `handle` returned cannot be encoded
    ├── TaskNotFound (LookupError)          no record has this id
    ├── NotOwner                            the task belongs to another living node
    ├── WaitTimeout (TimeoutError)          your wait ended, the task goes on
    ├── TaskTimeout (TimeoutError)          an attempt ran longer than the handler's `timeout`
    ├── HookTimeout (TimeoutError)          a hook ran longer than the handler's `hook_timeout`
    ├── PoisonTask                          the process died too often while a task ran; it is set aside
    ├── UnexpectedCancel                    a handler raised a cancellation that nobody had asked for
    ├── TaskFailed                          raised by `result()`: the task ended FAILED
    │   └── TaskQuarantined                 ... or QUARANTINED
    ├── TaskCancelled                       raised by `result()`, given to `on_error`: it ended CANCELLED
    └── StorageError
        ├── StorageUnavailable              the outcome of a write is unknown, or storage cannot be opened
        │   └── StorageBusy                 another process kept the database locked
        ├── StorageFull                     there is no room for new tasks
        └── MigrationError                  the file's schema is newer than this version, or half-migrated

`CancelRequested` stands outside the tree, as a BaseException: `except Exception` in a handler must not
swallow the request to stop.

A message says what failed, which task or handler it was, and what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    from uuid import UUID


class EverActError(Exception):
    """Root of the tree; catch it to catch whatever everact itself raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By message and attributes: the arguments of most of these classes are facts, not the message.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[EverActError], arguments: tuple[object, ...], facts: dict[str, object]) -> EverActError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(facts)
    return error


class CancelRequested(BaseException):
    """Raised in a sync handler by `raise_if_cancelled()`; let it pass, or clean up and re-raise it."""


class ConfigurationError(EverActError, ValueError):
    """A setting, a storage URL or an option that has no meaning."""


class HandlerError(EverActError, TypeError):
    """A handler cannot be registered as it is written; the message has the remedy."""


class SagaError(HandlerError):
    """A saga, or a step of one, cannot work as it is written; the message names both and has the remedy."""


class SystemNotRunning(EverActError):
    """The system has not been started yet, or has already stopped."""

    def __init__(self, name: str, state: str, cause: BaseException | None = None) -> None:
        self.name = name
        self.state = state
        why = "" if cause is None else f" since a failure was escalated to it ({type(cause).__name__}: {cause})"
        super().__init__(
            f"actor system {name!r} is {state}{why}; "
            "use it inside `with ActorSystem(...)`, or between start() and stop()"
        )


class ForkedSystem(EverActError):
    """The process forked after the system had started; its threads exist only in the parent."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"actor system {name!r} was started before this process was forked, and its threads live in the "
            "parent; start an ActorSystem of its own in each child (gunicorn: in post_fork)"
        )


class BlockingCallError(EverActError):
    """A blocking call on one of everact's own threads, which would stop the very work it waits for."""

    def __init__(self, call: str, thread: str) -> None:
        self.call = call
        self.thread = thread
        super().__init__(
            f"{call}() blocks, and was called on everact's {thread} thread; in async handlers await the handle, "
            "or the async form (dispatch_async, cancel_async, wait_async, ...)"
        )


class WouldDeadlock(EverActError):
    """A wait inside a handler that could never end, refused instead of hanging."""


class AskCycle(WouldDeadlock):
    """An actor asks, and would wait for, an actor that waits for it, perhaps through others."""

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path = path
        super().__init__(
            f"this ask would wait for itself: {' -> '.join(path)}; "
            "use tell and answer in a message of its own, or do not wait for the future inside an actor"
        )


class ActorDead(EverActError, pykka.ActorDeadError):
    """The actor has stopped, or stopped before it came to this message. A pykka user catches ActorDeadError."""


class ActorStartFailed(EverActError):
    """A spawned actor could not start: its factory or `on_start` raised, which is the `__cause__`."""

    def __init__(self, actor: str, error: str) -> None:
        self.actor = actor
        super().__init__(f"{actor} could not start ({error}); it is not spawned. Mend the cause and spawn it again")


class AskTimeout(EverActError, pykka.Timeout, TimeoutError):
    """No reply came in time. The message is not withdrawn: the actor may still handle it."""

    def __init__(self, actor: str, seconds: float) -> None:
        self.actor = actor
        self.seconds = seconds
        super().__init__(
            f"{seconds:g} seconds passed without a reply from {actor}; "
            "give a longer timeout, or set `ask_timeout` on its class"
        )


class MailboxFull(EverActError):
    """A bounded mailbox has no room. Raised to the sender, or told as the reason of a dead letter, by its rule."""

    def __init__(self, actor: str, bound: int, detail: str) -> None:
        self.actor, self.bound = actor, bound
        super().__init__(
            f"the mailbox of {actor} holds {bound} messages and is full; {detail}; "
            "send less, raise its mailbox_bound, or choose another overflow rule"
        )


class RestartsExhausted(EverActError):
    """The children of a supervisor failed more often than its intensity allows; it gives up and fails itself."""

    def __init__(self, supervisor: str, child: str, error: str, restarts: int | None, within: float) -> None:
        self.supervisor = supervisor
        self.child = child
        super().__init__(
            f"{supervisor} gives up: {child} failed ({error}), which would be more than "
            f"{restarts} restart(s) in {within:g} s; mend the cause, or raise its intensity"
        )


class AttemptOver(EverActError):
    """A `TaskContext` was used after the attempt it belongs to had ended."""

    def __init__(self, task_id: UUID, attempt: int) -> None:
        self.task_id = task_id
        self.attempt = attempt
        super().__init__(
            f"attempt {attempt} of task {task_id} has ended, what its context dispatches now would be lost; "
            "call ctx.dispatch() before the handler or hook returns, or keep the system and use system.dispatch()"
        )


class CompensationError(EverActError):
    """A compensation or cleanup wanted to be undone itself, or to abort the workflow that it belongs to."""

    def __init__(self, task_id: UUID, kind: str) -> None:
        self.task_id, self.kind = task_id, kind
        remedy = "call compensate_with() and abort_workflow() in the steps themselves"
        super().__init__(f"task {task_id} is a {kind}, which nothing undoes and which aborts nothing; {remedy}")


class StepFailed(EverActError):
    """A saga cannot go on, since a step that it needs has not completed; kept as the error of the saga's task."""

    def __init__(self, saga: str, step: str, cause: str | None) -> None:
        self.saga, self.step = saga, step
        remedy = "give the step critical=False if the saga is to go on without it"
        super().__init__(f"saga {saga!r} ends, as step {step!r} did not complete ({cause or 'cancelled'}); {remedy}")


class NotStuck(EverActError):
    """A workflow was to be resumed that is not stuck."""

    def __init__(self, workflow_id: UUID, state: str) -> None:
        self.workflow_id, self.state = workflow_id, state
        remedy = "only a stuck one can be resumed, system.workflows(state=...) lists those"
        super().__init__(f"workflow {workflow_id} is {state}; {remedy}")


class IllegalMove(EverActError):
    """A status that cannot follow the one before it. If you see this, everact has a bug."""


class TaskTypeUnknown(EverActError, LookupError):
    """Nothing is registered for the class of this task; nothing was stored."""

    def __init__(self, task_type: str, known: tuple[str, ...]) -> None:
        self.task_type = task_type
        names = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")  # noqa: PLR2004
        super().__init__(
            f"no handler is registered for {task_type}; add its handler to ActorSystem(handlers=[...]). "
            f"Registered: {names or 'none'}"
        )


class PayloadError(EverActError, ValueError):
    """A task that does not survive encoding, or is over the limits; nothing was stored."""


class ResultError(EverActError):
    """What `handle` returned cannot be encoded; the attempt fails and is not retried."""


class TaskNotFound(EverActError, LookupError):
    """No record has this id in this storage."""

    def __init__(self, task_id: UUID) -> None:
        self.task_id = task_id
        super().__init__(
            f"no task {task_id} in this storage; check the id, and that the system has the storage URL "
            "it was dispatched to"
        )


class NotOwner(EverActError):
    """The task belongs to another node that is alive on the same storage."""

    def __init__(self, task_id: UUID, owner: int) -> None:
        self.task_id = task_id
        self.owner = owner
        super().__init__(
            f"task {task_id} belongs to node incarnation {owner}, which is alive; "
            "ask the process that runs it, or stop that process first"
        )


class WaitTimeout(EverActError, TimeoutError):
    """Your wait ended; the task goes on."""


class TaskTimeout(EverActError, TimeoutError):
    """An attempt ran longer than the handler's `timeout`. Retried only when `Retry.on` names this class."""

    def __init__(self, task_id: UUID, attempt: int, seconds: float) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.seconds = seconds
        super().__init__(
            f"attempt {attempt} of task {task_id} ran longer than its timeout of {seconds:g} s; "
            "raise the handler's `timeout`, or have it check ctx.cancellation"
        )


class HookTimeout(EverActError, TimeoutError):
    """A hook ran longer than the handler's `hook_timeout`; it counts as if it had raised."""

    def __init__(self, hook: str, task_id: UUID, seconds: float) -> None:
        self.hook = hook
        self.task_id = task_id
        self.seconds = seconds
        super().__init__(
            f"{hook} of task {task_id} ran longer than its hook_timeout of {seconds:g} s; "
            "move long work into a task of its own"
        )


class PoisonTask(EverActError):
    """The process died too often while this task ran (`Settings.max_crashes`); it ends QUARANTINED, unstarted."""

    def __init__(self, task_id: UUID, type_name: str, crashes: int) -> None:
        self.task_id = task_id
        self.crashes = crashes
        super().__init__(
            f"the process died {crashes} times while task {task_id} ({type_name}) ran, so it is not started again; "
            "look for what kills it (memory, a native library, os._exit), then requeue it"
        )


class UnexpectedCancel(EverActError):
    """A handler raised a cancellation that nobody had asked for; an ordinary failure for the retry policy."""

    def __init__(self, task_id: UUID, error: BaseException) -> None:
        self.task_id = task_id
        super().__init__(
            f"the handler of task {task_id} raised {type(error).__name__} though nobody had asked to cancel it; "
            "a library's own timeout often does this: catch it in the handler and raise an ordinary exception"
        )


class TaskFailed(EverActError):
    """Raised by `result()`: the task ended FAILED. The error that the handler raised is told as text."""

    verb = "failed"

    def __init__(self, task_id: UUID, error_type: str, error_text: str, attempts: int) -> None:
        self.task_id = task_id
        self.error_type = error_type
        self.error_text = error_text
        self.attempts = attempts
        super().__init__(
            f"task {task_id} {self.verb} after {attempts} attempt(s) with {error_type}: {error_text}; "
            "system.requeue(id) runs it again as a new task"
        )


class TaskQuarantined(TaskFailed):
    """Raised by `result()`: the record could not be read, or its task kept killing the process."""

    verb = "was quarantined"


class TaskCancelled(EverActError):
    """The task ended CANCELLED. Raised by `result()`, and given to `on_error` after a cancel."""

    def __init__(self, task_id: UUID, reason: str = "") -> None:
        self.task_id = task_id
        self.reason = reason
        super().__init__(f"task {task_id} was cancelled" + (f": {reason}" if reason else ""))


class StorageError(EverActError):
    """Something between everact and its file; the subclasses say what to do."""


class StorageUnavailable(StorageError):
    """A write whose outcome is unknown, or a storage that cannot be opened.

    `outcome` is "unknown" when the write may or may not be there: dispatch again with the same `id`, which
    stores the task if it is missing and returns its handle if it is not.
    """

    def __init__(
        self, detail: str, task_id: UUID | None = None, outcome: str = "refused", *, no_room: bool = False
    ) -> None:
        self.detail = detail
        self.no_room = no_room
        self.task_id = task_id
        self.outcome = outcome
        about = f" for task {task_id}" if task_id else ""
        super().__init__(
            f"storage did not confirm the write{about} ({detail}); it may or may not be stored: "
            "dispatch it again with the same id="
            if outcome == "unknown"
            else f"storage cannot be used{about} ({detail}); nothing was stored"
        )


class StorageBusy(StorageUnavailable):
    """Another process kept the database locked for as long as a write may take. Nothing was stored."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        msg = (
            f"another process holds the write lock of the database, nothing was stored ({detail}); try again, "
            "and if this goes on, find the process that keeps a transaction open"
        )
        self.args = (msg,)


class StorageFull(StorageError):
    """No room for new tasks; running work still finishes. Nothing was stored."""


class MigrationError(StorageError):
    """The file's schema does not fit this version of everact."""
