"""What a saga does next: a pure function of its steps and of what has become of their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from everact.tasks.saga import Saga, Step
from everact.tasks.status import COMPLETED


class Seen(NamedTuple):
    """What is known of a step's task.

    Attributes:
        status: See `tasks/status.py`. A nested saga's is terminal once all of its steps are over.
        critical: Whether it was dispatched as critical, which outlives a change of the code.
    """

    status: int
    critical: bool

    @property
    def over(self) -> bool:
        """Whether the task has ended."""
        return self.status >= COMPLETED

    @property
    def broken(self) -> bool:
        """Whether it has ended in a way that the saga cannot go on from."""
        return self.over and self.critical and self.status != COMPLETED


@dataclass(frozen=True, slots=True)
class Start:
    """Dispatch these steps now, in one commit."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """A step is under way; ask again when it has ended."""


@dataclass(frozen=True, slots=True)
class Broken:
    """This critical step did not complete, and nothing else is under way; nothing more is started."""

    step_name: str


@dataclass(frozen=True, slots=True)
class Done:
    """Every step is over."""


Plan = Start | Wait | Broken | Done


def plan(saga: Saga, seen: Mapping[str, Seen | None]) -> Plan:
    """Decide what follows.

    A step that has ended without completing is passed over if it is not critical, or if the pivot has completed:
    from there a saga only goes forward, and its workflow is parked until an operator says so. While it is parked,
    do not ask.

    Args:
        saga: Its definition.
        seen: What has become of each step's task, by name; None or nothing for one that has no task yet. Names
            that the saga does not have are ignored, as of a step that was removed from the code.

    Example:
        >>> from dataclasses import dataclass
        >>> from everact.tasks.status import COMPLETED, RUNNING
        >>> @dataclass(frozen=True)
        ... class Reserve:
        ...     order: int
        >>> @dataclass(frozen=True)
        ... class Ship:
        ...     order: int
        >>> order = Saga("order", Step(Reserve), Step(Ship))
        >>> plan(order, {})
        Start(steps=(<step 'Reserve'>,))
        >>> plan(order, {"Reserve": Seen(RUNNING, critical=True)})
        Wait()
        >>> plan(order, {"Reserve": Seen(COMPLETED, critical=True)})
        Start(steps=(<step 'Ship'>,))
    """
    passed = saga.pivot is not None and _completed(seen.get(saga.pivot.name))
    for stage in saga.stages:
        known = [(step, seen.get(step.name)) for step in stage]
        broken = None if passed else next((step for step, task in known if task and task.broken), None)
        missing = tuple(step for step, task in known if task is None)
        if missing and broken is None:
            return Start(missing)
        if any(task and not task.over for _, task in known):
            return Wait()
        if broken is not None:
            return Broken(broken.name)
    return Done()


def _completed(task: Seen | None) -> bool:
    return task is not None and task.status == COMPLETED
