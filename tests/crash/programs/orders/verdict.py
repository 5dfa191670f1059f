"""Whether an order has come to the end that the model tells: what is wrong, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from everact import TaskStatus
from orders.diary import ALERTED, BEGAN, DID, STUCK, UNDID, UNDOING, Line
from orders.found import PENDING, PLAYED, SKIPPED, STATES, Found
from orders.life import NOTE
from orders.model import Expected, expected
from orders.script import Script


def faults(script: Script, found: Found, lines: Sequence[Line]) -> list[str]:
    """Compare what is there with what must be.

    Args:
        script: What was to happen.
        found: The database.
        lines: The diary.
    """
    doubted = is_doubted(script, found)
    end = expected(script, doubted=doubted)
    return [
        *_doubts(script, lines, doubted),
        *_records(found, end),
        *_entries(found, end),
        *_effects(lines, end),
        *_order(lines, end),
        *_bars(found, lines),
        *_help(script, found, lines, end),
    ]


def is_doubted(script: Script, found: Found) -> bool:
    """Whether the step that fails is on record as one whose outcome is unknown."""
    return any((entry.step, entry.outcome) == (script.step, "unknown") and entry.state for entry in found.entries)


def _doubts(script: Script, lines: Sequence[Line], doubted: bool) -> Iterator[str]:
    """A step may be doubted only if a process has died, and must be if one has died while it ran."""
    lives = {line.life for line in lines}
    if doubted and max(lives) == 1:
        yield f"the outcome of {script.step} is called unknown, though no process has died"
    began = {line.life for line in lines if (line.word, line.step) == (BEGAN, script.step)}
    can_be_doubted = expected(script, doubted=True).log != expected(script).log
    if can_be_doubted and len(began) > 1 and not doubted and not any(line.word == STUCK for line in lines):
        yield f"a process died while {script.step} ran, and nothing is on record for what it may have done"


def _records(found: Found, end: Expected) -> Iterator[str]:
    if found.state != end.state:
        yield f"the workflow is {found.state}, not {end.state}"
    done = [task.step for task in found.tasks if task.step and task.status is TaskStatus.COMPLETED]
    if done != end.completed:
        yield f"completed are {done}, not {end.completed}"
    yield from (f"{task.type} is left {task.status}" for task in found.tasks if not task.status.terminal)
    told = sum(task.type == "SendAlert" and task.status is TaskStatus.COMPLETED for task in found.tasks)
    if told != len(end.alerts):
        yield f"{told} alerts are completed, not {len(end.alerts)}"


def _entries(found: Found, end: Expected) -> Iterator[str]:
    placed = [entry for entry in found.entries if entry.state]
    if (log := [(entry.step, entry.outcome) for entry in placed]) != end.log:
        yield f"the undo log has {log}, not {end.log}"
    left = SKIPPED if end.skipped else PENDING
    for entry in placed:
        wanted = PLAYED if entry.step in end.undone else left
        if entry.state != wanted:
            yield f"the entry of {entry.step} is {STATES[entry.state]}, not {STATES[wanted]}"


def _effects(lines: Sequence[Line], end: Expected) -> Iterator[str]:
    for word, steps in ((DID, end.completed), (UNDID, end.undone), (ALERTED, end.alerts)):
        happened = list(dict.fromkeys(line.step for line in lines if line.word == word))
        if happened != steps:
            yield f"in the world outside it {word} {happened}, not {steps}"


def _order(lines: Sequence[Line], end: Expected) -> Iterator[str]:
    """An undo is over, however often it ran, before the next one begins."""
    turns = {step: turn for turn, (step, _) in enumerate(reversed(end.log))}
    undoing = [turns.get(line.step, -1) for line in lines if line.word in (UNDOING, UNDID)]
    if undoing != sorted(undoing):
        yield f"undos were out of turn: {[line.step for line in lines if line.word == UNDOING]}"


def _bars(found: Found, lines: Sequence[Line]) -> Iterator[str]:
    """No step starts once the workflow unwinds."""
    since = found.when("compensating")
    for task in found.tasks:
        if task.step and since is not None and task.started is not None and task.started > since:
            yield f"{task.step} started when the workflow was being undone already"
    words = [line.word for line in lines]
    first = words.index(UNDOING) if UNDOING in words else len(words)
    yield from (f"{line.step} began after the first undo" for line in lines[first:] if line.word == BEGAN)


def _help(script: Script, found: Found, lines: Sequence[Line], end: Expected) -> Iterator[str]:
    waited = any(line.word == STUCK for line in lines)
    if waited != end.stuck:
        yield "it waited for an operator" if waited else "no operator saw it stuck"
    notes = Counter((event, detail) for _, event, detail in found.events)
    if end.stuck and not notes["skipped" if script.skip else "resumed", NOTE]:
        yield f"what the operator said is not in the history: {dict(notes)}"
    if any(entry.state == SKIPPED and entry.note != NOTE for entry in found.entries):
        yield "what the operator said is not with the entry"
