"""What the fixture `simulation` of the pytest plugin is made of; the plugin itself is `pytest_everact`."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from everact.testing import options
from everact.testing.report import BY_PYTEST, report
from everact.testing.schedule import Schedule
from everact.testing.simulation import Simulation
from everact.testing.sweep import policy_of

_HOW = ("seed", "policy", "schedule")


class Simulations:
    """Makes simulations that end with the test.

    Args:
        seed: Decides where neither the test nor a schedule does; it makes the same choices as for `@simulate`.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: list[Simulation] = []
        self._open = ExitStack()

    def __call__(self, handlers: Iterable[object], **given: Any) -> Simulation:
        """Begin a simulation.

        Args:
            handlers: As for `Simulation`.
            **given: As for `Simulation`. A schedule from the command line goes to the first one of a test.
        """
        text = options.current().schedule
        if text is not None and not self._made:
            of_its_own = "faults" if "faults" in Schedule.parse(text).more else ""
            given = {name: value for name, value in given.items() if name not in (*_HOW, "max_faults", of_its_own)}
            given["schedule"] = text
        elif not set(_HOW) & set(given):
            given["policy"] = policy_of(self._seed)
        sim = self._open.enter_context(Simulation(handlers, **given))
        self._made.append(sim)
        return sim

    def tell(self, error: BaseException) -> None:
        """Add a report of each simulation to an error."""
        folder, name = options.current().folder(), options.test_name("simulation")
        for number, sim in enumerate(self._made, 1):
            found = replace(report(sim, error), command=BY_PYTEST)
            if folder is not None:
                file = found.write(folder, name if len(self._made) == 1 else f"{name}-{number}")
                found = replace(found, file=file)
            error.add_note(f"\n{found}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()
