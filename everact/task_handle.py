"""What `dispatch` returns: the way to one task's record, its end and its result."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import UUID

import msgspec

from everact import access
from everact.tasks import status as st
from everact.tasks.cancellation import CancelOutcome
from everact.tasks.errors import TaskCancelled, TaskFailed, TaskQuarantined
from everact.tasks.record import TaskRecord
from everact.tasks.status import TaskStatus

if TYPE_CHECKING:
    from everact.access import Final
    from everact.storage.codec import TaskCodec
    from everact.system import ActorSystem

R = TypeVar("R")


class TaskHandle(msgspec.Struct, Generic[R], eq=False, gc=False):
    """A dispatched task. Cheap to make and to drop; the task does not depend on it.

    Await it in an event loop for its result: `await system.dispatch(...)`'s handle, or
    `await (await system.dispatch_async(task))`.
    """

    _system: ActorSystem
    _id: bytes
    _codec: TaskCodec | None = None

    @property
    def id(self) -> UUID:
        """The task's UUIDv7."""
        return UUID(bytes=self._id)

    def record(self) -> TaskRecord:
        """Read the task as it is now.

        Raises:
            TaskNotFound: The record is not there any more.
        """
        return self._system.get(self.id)

    def status(self) -> TaskStatus:
        """Where the task is in its life now."""
        return self.record().status

    def wait(self, timeout: float | None = None) -> TaskRecord:
        """Block until the task has ended, however it ended.

        Args:
            timeout: Seconds; None waits as long as it takes, and is refused inside a handler.

        Raises:
            WaitTimeout: It has not ended in time; it goes on.
            BlockingCallError: Called on one of everact's own threads.
            WouldDeadlock: Called in a handler that the task in turn waits for.
        """
        return self._system.wait(self.id, timeout)

    def result(self, timeout: float | None = None) -> R:
        """Block until the task has ended, and return what `handle` returned.

        Args:
            timeout: Seconds; None waits as long as it takes, and is refused inside a handler.

        Raises:
            TaskFailed: It ended FAILED (TaskQuarantined: QUARANTINED).
            TaskCancelled: It ended CANCELLED.
            WaitTimeout: It has not ended in time; it goes on.
            BlockingCallError, WouldDeadlock: As `wait`.
        """
        engine = self._system._running()
        access.refuse_on_own_threads(engine, "result")
        return self._unpack(access.final(engine, self._id, timeout))

    def cancel(self, reason: str = "") -> CancelOutcome:
        """Cancel the task; see `ActorSystem.cancel`."""
        return self._system.cancel(self.id, reason)

    def __await__(self) -> Generator[Any, None, R]:
        return self._result_async().__await__()

    async def _result_async(self) -> R:
        return self._unpack(await access.final_async(self._system._running(), self._id, None))

    def _unpack(self, ended: Final) -> R:
        if ended.status == st.COMPLETED:
            return cast("R", self._decode(ended.result))
        if ended.status == st.CANCELLED:
            raise TaskCancelled(self.id, ended.error.text if ended.error is not None else "")
        kind = TaskQuarantined if ended.status == st.QUARANTINED else TaskFailed
        error = ended.error
        raise kind(self.id, error.type if error else "", str(error.text) if error else "", ended.attempt)

    def _decode(self, result: bytes | None) -> Any:
        if result is None or self._codec is not None:
            return None if self._codec is None else self._codec.decode_result(result, self._id)
        return self.record().result  # found by its id only, so its type is not known here

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskHandle) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)
