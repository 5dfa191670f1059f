"""The address of a task in a simulation: it outlives the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from everact.tasks.record import TaskRecord
from everact.tasks.status import TaskStatus

if TYPE_CHECKING:
    from everact.testing.simulation import Simulation


class SimTask:
    """What `Simulation.dispatch` returns.

    Attributes:
        id: The task's id.
    """

    def __init__(self, sim: Simulation, id: UUID) -> None:
        self._sim = sim
        self.id = id

    @property
    def name(self) -> str:
        """What the history calls it, "Charge#1"."""
        return self._sim.history.known(self.id.bytes)

    def record(self) -> TaskRecord:
        """Read the task as it is now, on a node that lives.

        Raises:
            TaskNotFound: It is not there.
        """
        return self._sim.system.get(self.id)

    def status(self) -> TaskStatus:
        """Where it is in its life."""
        return self.record().status

    def result(self) -> Any:
        """What its handler has returned; None if it has not completed."""
        return self.record().result

    def __repr__(self) -> str:
        return f"<SimTask {self.name}>"
