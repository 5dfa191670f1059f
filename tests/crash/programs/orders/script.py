"""What happens to one order: how its workflow is written, and what goes wrong on the way."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

RESERVE, CHARGE, SHIP, RECEIPT = STEPS = ("reserve", "charge", "ship", "receipt")


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write the workflow.

    Attributes:
        about: How.
        undoable: The steps that have an undo.
        pivot: The step after which nothing is undone.
        critical: Whether a receipt that fails has the order undone.
    """

    about: str
    undoable: tuple[str, ...] = (RESERVE, CHARGE, SHIP)
    pivot: str | None = None
    critical: bool = False


FORMS = {
    "handlers": Form("handlers with compensate_with, compensate and continuations; an uncritical receipt"),
    "saga": Form("a saga with ship as its pivot and an uncritical receipt", (RESERVE, CHARGE), SHIP),
    "reversible": Form("a saga without a pivot, whose steps are all critical", critical=True),
    "strict": Form("a saga with a critical receipt after its pivot", (RESERVE, CHARGE), SHIP, critical=True),
}


class Ending(enum.Enum):
    """How a step ends. One that fails does so in each of its attempts, until somebody has mended it."""

    FAILS = "fails"
    ABORTS = "has the workflow aborted"


class Undoing(enum.Enum):
    """What is wrong with the undo of a step, and what an operator does about it."""

    ONCE = "fails once"
    MENDED = "fails until it is mended and resumed"
    SKIPPED = "fails until it is skipped"


@dataclass(frozen=True, slots=True)
class Script:
    """One order.

    Attributes:
        form: Which of `FORMS`.
        flaky: A step whose first attempt fails.
        step, ending: The step that does not end well, and how.
        undo, undoing: The step whose undo fails, and how.
        skip: Whether an operator passes over what is stuck, rather than having it mended.
    """

    form: str
    flaky: str | None = None
    step: str | None = None
    ending: Ending = Ending.FAILS
    undo: str | None = None
    undoing: Undoing = Undoing.ONCE
    skip: bool = False

    def __str__(self) -> str:
        parts = [f"{self.flaky} fails once"] if self.flaky else []
        if self.step:
            parts.append(f"{self.step} {self.ending.value}")
        if self.undo:
            parts.append(f"the undo of {self.undo} {self.undoing.value}")
        elif self.skip:
            parts.append("and is skipped")
        return f"{self.form}: {', '.join(parts) or 'all goes well'}"

    @property
    def passed(self) -> bool:
        """Whether the pivot has completed when the step ends that does not end well."""
        pivot = FORMS[self.form].pivot
        if pivot is None or self.step is None:
            return False
        ended, turn = STEPS.index(self.step), STEPS.index(pivot)
        return ended > turn or (ended == turn and self.ending is Ending.ABORTS)


def every_script() -> Iterator[Script]:
    """Every form, failing and aborting at each step, and failing at each undo that then is played."""
    for form, traits in FORMS.items():
        yield Script(form)
        yield from (Script(form, flaky=step) for step in STEPS)
        for step in STEPS:
            for ending in Ending:
                yield from _with_undos(Script(form, step=step, ending=ending))
        last = SHIP if traits.pivot else RECEIPT
        for flaky in traits.undoable:
            if flaky != last:
                yield Script(form, flaky=flaky, step=last)


def _with_undos(script: Script) -> Iterator[Script]:
    yield script
    form = FORMS[script.form]
    if script.passed:
        if form.critical or script.ending is Ending.ABORTS:
            yield replace(script, skip=True)
        return
    if script.step == RECEIPT and script.ending is Ending.FAILS and not form.critical:
        return
    for undo in played(script):
        for undoing in Undoing:
            yield replace(script, undo=undo, undoing=undoing, skip=undoing is Undoing.SKIPPED)


def played(script: Script) -> list[str]:
    """The steps that are undone if no process dies, in the order in which they were done."""
    assert script.step is not None
    done = STEPS[: STEPS.index(script.step) + (script.ending is Ending.ABORTS)]
    return [step for step in done if step in FORMS[script.form].undoable]
