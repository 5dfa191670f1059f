"""`sim.expect(order).completed()`: what a test expects of a task, or of the workflow that it is the root of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from everact.tasks.status import TaskStatus
from everact.tasks.unwinding import EntryState
from everact.tasks.workflow import WorkflowState
from everact.testing.history import What
from everact.testing.trace import short

if TYPE_CHECKING:
    from everact.testing.simulation import Simulation

__tracebackhide__ = True  # for pytest
_ANY = object()


class Expectation:
    """Each method raises an AssertionError that tells what is the case instead, and returns the expectation."""

    def __init__(self, sim: Simulation, id: UUID) -> None:
        self._sim = sim
        self._id = id
        self._name = sim.history.known(id.bytes)

    def completed(self, result: Any = _ANY) -> Expectation:
        """It has completed, and its workflow too; perhaps with this result."""
        self._ended(TaskStatus.COMPLETED, WorkflowState.COMPLETED)
        found = self._sim.system.get(self._id).result
        if result is not _ANY and found != result:
            self._complain(f"it has completed with {found!r}, not {result!r}")
        return self

    def failed(self, error: type[BaseException] | None = None) -> Expectation:
        """It has failed for good, whatever became of its workflow; perhaps with this error."""
        record = self._sim.system.get(self._id)
        self._status(TaskStatus.FAILED)
        told = "" if record.error is None else record.error.type
        if error is not None and short(told) != error.__name__:
            self._complain(f"it has failed with {told}, not {error.__name__}")
        return self

    def cancelled(self) -> Expectation:
        """It was cancelled."""
        self._status(TaskStatus.CANCELLED)
        return self

    def quarantined(self) -> Expectation:
        """It was set aside."""
        self._status(TaskStatus.QUARANTINED)
        return self

    def compensated(self, steps: Sequence[str] | None = None) -> Expectation:
        """Its workflow was undone; perhaps just these steps, in the order in which they were undone.

        Args:
            steps: Names of saga steps, or of the types of the tasks that were undone.
        """
        self._state(WorkflowState.COMPENSATED)
        undone = self._undone()
        if steps is not None and not _are(undone, steps):
            self._complain(f"the steps {[names[0] for names in undone]} were undone, in this order, not {list(steps)}")
        return self

    def stuck(self) -> Expectation:
        """Its workflow is stuck."""
        self._state(WorkflowState.STUCK)
        return self

    def attempts(self, number: int) -> Expectation:
        """Its handler was called so often."""
        found = len(self._sim.history.of(What.STARTED, task=self._name))
        if found != number:
            self._complain(f"its handler was called {found} time(s), not {number}")
        return self

    # -- how it is -----------------------------------------------------------------------------------------

    def _ended(self, status: TaskStatus, state: WorkflowState) -> None:
        self._status(status)
        self._state(state)

    def _status(self, status: TaskStatus) -> None:
        record = self._sim.system.get(self._id)
        if record.status is not status:
            error = "" if record.error is None else f" ({record.error.type}: {record.error.text})"
            self._complain(f"it is {record.status}{error}, not {status}")

    def _state(self, state: WorkflowState) -> None:
        found = self._sim.system.workflow(self._id)
        if found.state is not state:
            self._complain(f"its workflow is {found.state.value}, not {state.value}:\n{found.tree()}")

    def _undone(self) -> list[tuple[str, str]]:
        storage = self._sim._world.living().storage
        log = [entry for entry in storage.undo_log(self._id.bytes) if entry.state == EntryState.PLAYED]
        return [self._step(storage, entry.step) for entry in sorted(log, key=lambda entry: -entry.position)]

    @staticmethod
    def _step(storage: Any, id: bytes) -> tuple[str, str]:
        """What it is called: as a step of its saga, if it is one, and by its type."""
        record = storage.get(id)
        kind = short(record.type)
        named = None if record.flow is None else record.flow.step
        return str(named or kind), kind

    def _complain(self, what: str) -> NoReturn:
        msg = f"{self._name}: {what}"
        raise AssertionError(msg)


def _are(undone: Sequence[tuple[str, str]], steps: Sequence[str]) -> bool:
    return len(undone) == len(steps) and all(step in names for names, step in zip(undone, steps, strict=True))
