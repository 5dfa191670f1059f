"""A script: what a client does with an application, and what goes wrong, written down to be run more than once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID, uuid5

from everact import Settings
from everact.tasks.errors import ConfigurationError
from everact.testing.faults import Faults

_NAMESPACE = UUID("5f0e1c52-9c5c-4d27-9c8e-6f5b8f1f6c11")
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Hands(Protocol):
    """What carries out the calls of a script, in a simulation or in reality."""

    def dispatch(self, task: object, id: UUID, **options: Any) -> object:
        """Dispatch a task under an id."""
        ...

    def cancel(self, id: UUID, reason: str) -> object:
        """Cancel a task."""
        ...

    def cancel_workflow(self, id: UUID, reason: str) -> object:
        """Cancel a workflow, named by its root."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...


class Script:
    """Calls that are written down, in order; they have the names that they have in a `Simulation`.

    Args:
        handlers: As for `ActorSystem`.
        faults: What goes wrong.
        settings: As for `ActorSystem`.

    Attributes:
        calls: What was written down.

    Example:
        >>> from everact import task
        >>> @task(name="Charge")
        ... def charge(amount: int) -> int:
        ...     return amount
        >>> script = Script([charge], faults=Faults(crash_at=[2]))
        >>> first = script.dispatch(charge.task(5))
        >>> script.cancel(first)
        >>> [name for name, _, _ in script.calls]
        ['dispatch', 'cancel']
    """

    def __init__(
        self, handlers: Iterable[object], *, faults: Faults | None = None, settings: Settings | None = None
    ) -> None:
        self.handlers = list(handlers)
        self.faults = faults or Faults()
        self.settings = settings or Settings()
        self.calls: list[Call] = []
        self._dispatched = 0

    def dispatch(self, task: object, **options: Any) -> int:
        """Dispatch a task; the options are those of `ActorSystem.dispatch`, but for the id.

        Returns:
            Its number, to name it by in other calls; they count from 1.
        """
        if "id" in options:
            msg = "a script gives its tasks ids itself; leave id= out, and name a task by what dispatch() returns"
            raise ConfigurationError(msg)
        self._dispatched += 1
        self.calls.append(("dispatch", (task, id_of(self._dispatched)), options))
        return self._dispatched

    def cancel(self, number: int, reason: str = "") -> None:
        """Cancel a task; whatever is answered, the script goes on."""
        self._named("cancel", number, reason)

    def cancel_workflow(self, number: int, reason: str = "") -> None:
        """Cancel the workflow that a task is the root of."""
        self._named("cancel_workflow", number, reason)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.calls.append(("wait", (seconds,), {}))

    def _named(self, name: str, number: int, reason: str) -> None:
        if not 1 <= number <= self._dispatched:
            msg = f"{name}({number!r}) names no task; {self._dispatched} were dispatched before, counted from 1"
            raise ConfigurationError(msg)
        self.calls.append((name, (id_of(number), reason), {}))

    @property
    def roots(self) -> dict[bytes, int]:
        """The numbers of the tasks that it dispatches, by id."""
        return {id_of(number).bytes: number for number in range(1, self._dispatched + 1)}


def id_of(number: int) -> UUID:
    """The id of a script's task; always the same, so that asking again after a crash is safe."""
    return uuid5(_NAMESPACE, str(number))


def carry_out(call: Call, hands: Hands) -> None:
    """Make one call."""
    name, arguments, options = call
    getattr(hands, name)(*arguments, **options)
