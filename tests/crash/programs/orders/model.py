"""What must have become of an order, by the rules alone: nothing here knows the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from orders.script import FORMS, RECEIPT, STEPS, Ending, Script, Undoing


@dataclass
class Expected:
    """The end of one order.

    Attributes:
        state: The workflow's.
        completed: The steps that were done, in order.
        log: What is on record for being undone: each step with what is known of its outcome, in order.
        undone: The steps whose entries are played, in the order in which they are.
        skipped: Those that an operator passed over.
        alerts: The steps whose failure somebody is told of.
        stuck: Whether it waited for an operator.
    """

    state: str = "completed"
    completed: list[str] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)
    stuck: bool = False


def expected(script: Script, *, doubted: bool = False) -> Expected:
    """Tell the end of an order.

    Args:
        script: What happens to it.
        doubted: Whether the step that fails may have had its effect, as a process died while it ran.
    """
    form, end, passed = FORMS[script.form], Expected(), False
    for step in STEPS:
        troubled, critical = step == script.step, step != RECEIPT or form.critical
        failed = troubled and script.ending is Ending.FAILS
        if failed:
            end.alerts.append(step)
        if step in form.undoable and not passed and (doubted or not failed):
            end.log.append((step, "unknown" if failed else "completed"))
        passed = passed or (step == form.pivot and not failed)
        if passed and troubled and (critical or not failed):
            end.stuck = True
            failed = failed and script.skip  # mended, it is run again
        if not failed:
            end.completed.append(step)
        if troubled and not passed and (critical or not failed):
            _unwind(script, end)
            break
    return end


def _unwind(script: Script, end: Expected) -> None:
    if not end.log:
        end.state = "failed" if script.ending is Ending.FAILS else "cancelled"
        return
    end.state = "compensated"
    for step, _ in reversed(end.log):
        broken = step == script.undo and script.undoing is not Undoing.ONCE
        end.stuck |= broken
        (end.skipped if broken and script.skip else end.undone).append(step)
