"""What a test prints of a run in which something was broken: what, how it came to that, and how to see it again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from everact.testing.checkers import PromiseBroken
from everact.testing.faults import Faults
from everact.testing.history import Event, History
from everact.testing.mermaid import diagram
from everact.testing.past import causal_past, tasks_in
from everact.testing.plan_code import plan_code
from everact.testing.space_time import table

if TYPE_CHECKING:
    from everact.testing.simulation import Simulation

MOST_ROWS = 80
IN_CODE, BY_PYTEST = "Simulation(..., schedule='{}')", "pytest --everact-schedule={}"
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class Report:
    """A failure as a text and as a diagram; each is made when it is asked for.

    Attributes:
        broken: Which promise or expectation, in one line.
        also: What else, a line each.
        history: What happened.
        event: The number of the event at which it shows; -1 if it shows at the end only.
        faults: The plan that it happened under.
        schedule: What replays it, with its faults if they can be written as plain data; empty if something else does.
        command: How that is done.
        arguments: What the test was given besides the simulation, as code.
        causes: What is known about the part that faults and choices have had in it, a line each.
        effort: How it was found and made small.
        file: Where the diagram is.
    """

    broken: str
    history: History
    faults: Faults
    schedule: str
    command: str = IN_CODE
    also: Sequence[str] = ()
    arguments: str = ""
    event: int = -1
    causes: Sequence[str] = ()
    effort: str = ""
    file: Path | None = None

    @cached_property
    def past(self) -> list[Event]:
        """What led to it: of a long story its end."""
        return causal_past(self.history, tasks_in(self.broken, self.history), self.event)[-MOST_ROWS:]

    @property
    def diagram(self) -> str:
        """The same as a sequence diagram, in the language of Mermaid."""
        return diagram(self.past, self.broken, self.event)

    def write(self, folder: Path, name: str) -> Path:
        """Write the diagram to a file that is named after a test; returns where it is."""
        folder.mkdir(parents=True, exist_ok=True)
        found = folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-')[-_LONGEST_NAME:]}.mmd"
        found.write_text(self.diagram + "\n", encoding="utf-8")
        return found

    @property
    def _replay(self) -> str:
        same = "" if self.faults.portable else ", and the same faults"
        return f"Replay it with {self.command.format(self.schedule)}{same}" if self.schedule else ""

    def __str__(self) -> str:
        parts = [
            "\n".join([self.broken, *(f"also: {line}" for line in self.also)]),
            f"With {self.arguments}" if self.arguments else "",
            table(self.history, self.past, self.event),
            plan_code(self.faults) if self.faults.count else "No faults are needed for it.",
            "\n".join(self.causes),
            self._replay,
            f"As a sequence diagram: {_from_here(self.file)}" if self.file is not None else "",
            self.effort,
        ]
        return "\n\n".join(filter(None, parts))


def report(sim: Simulation, error: BaseException, **more: Any) -> Report:
    """Report what a simulation has shown to be broken.

    Args:
        sim: The simulation.
        error: What was raised in it.
        **more: What the replay string is to have besides choices and faults.
    """
    broken, *also = told_by(error)
    event = error.violations[0].event if isinstance(error, PromiseBroken) else -1
    return Report(
        broken=broken, also=also, event=event, history=sim.history, faults=sim.faults, schedule=sim.replay(**more)
    )


def _from_here(file: Path) -> Path:
    """As it is named in the directory of the tests."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def told_by(error: BaseException) -> list[str]:
    """What is broken, a line for each promise; for other errors just one line.

    Example:
        >>> told_by(AssertionError("Charge#1: it is failed, not completed")), told_by(KeyError())
        (['Charge#1: it is failed, not completed'], ['KeyError'])
    """
    if isinstance(error, PromiseBroken):
        return [str(violation) for violation in error.violations]
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, AssertionError) and text:
        return [text]
    return [f"{type(error).__name__}: {text}" if text else type(error).__name__]
