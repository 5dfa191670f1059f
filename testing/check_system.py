"""Checkers of the system as a whole: failures stay where they are, memory is bounded, order kept, events told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from everact.tasks import status as st
from everact.testing.evidence import Evidence, Violation
from everact.testing.history import ENDS, Event, What

_TOLD = {
    "TaskCompleted": What.COMPLETED,
    "TaskFailed": What.FAILED,
    "TaskCancelled": What.CANCELLED,
    "TaskQuarantined": What.QUARANTINED,
}


def failures_stay_where_they_are(evidence: Evidence) -> Iterator[Violation]:
    """P6: no thread of the engine ends by an error, none of its actors fails, the system does not give up."""
    for thread, error in evidence.errors:
        yield Violation("P6", f"thread {thread} ended with {type(error).__name__}: {error}")
    for event in evidence.history.of(What.TOLD):
        if event.detail in ("ActorRestarted", "SystemStopping"):
            yield Violation("P6", f"{event.node} was told {event.detail}", event.number)


def nothing_vanishes(evidence: Evidence) -> Iterator[Violation]:
    """P7: what was set aside is kept with its reason; no event is dropped without a word."""
    for name, row in evidence.rows.items():
        if row.status == st.QUARANTINED and (not row.payload or row.error is None):
            yield Violation("P7", f"{name} is quarantined without its payload, or without a reason")
        if row.status == st.FAILED and row.error is None:
            yield Violation("P7", f"{name} has failed, and nothing says why")


def memory_is_bounded(evidence: Evidence) -> Iterator[Violation]:
    """P8: what does not fit waits in storage."""
    for node, (most, allowed) in evidence.resident.items():
        if most > allowed:
            yield Violation("P8", f"{node} had {most} tasks in memory, and may have {allowed}")


def order_is_kept(evidence: Evidence) -> Iterator[Violation]:
    """C16: with one cell, tasks of one type and priority that were ready at once start in the order of their commits.

    Looked at within one life of a node, for tasks that were never put off, cancelled or taken over.
    """
    plan = evidence.faults
    if plan.jump or plan.commit_unknown or plan.commit_lost:  # then it is not known here what was ready when
        return
    lanes: dict[tuple[str, str, int], list[Event]] = defaultdict(list)
    stored = {event.task: event for event in evidence.history.of(What.STORED)}
    seen: set[str] = set()
    for event in evidence.history.of(What.STARTED):
        spec, row, came = evidence.spec(event.task), evidence.rows.get(event.task), stored.get(event.task)
        if spec is None or row is None or came is None or event.task in seen:
            continue
        seen.add(event.task)
        at_once = came.due is not None and came.due <= came.time and came.node == event.node
        if spec.concurrency == 1 and at_once and not spec.coordinates:
            lanes[event.node, row.type, row.priority].append(event)
    for started in lanes.values():
        for earlier, later in pairwise(started):
            if stored[earlier.task].number > stored[later.task].number:
                text = f"{later.task} was stored before {earlier.task}, and started after it"
                yield Violation("C16", text, later.number)


def subscribers_are_told(evidence: Evidence) -> Iterator[Violation]:
    """C17: what subscribers are told is what was committed, no more and no less."""
    if not (evidence.at_rest and evidence.events):
        return
    doubtful = evidence.faults.commit_unknown or evidence.faults.commit_lost
    done: Counter[tuple[str, str, What]] = Counter()
    told: Counter[tuple[str, str, What]] = Counter()
    for event in evidence.history:
        if event.node in evidence.broken_off:
            continue
        if event.what in ENDS:
            done[event.node, event.task, event.what] += 1
        elif event.what is What.TOLD and event.detail in _TOLD:
            told[event.node, event.task, _TOLD[event.detail]] += 1
    for node, task, what in (told - done) + Counter() if doubtful else (told - done) + (done - told):
        heard, was = told[node, task, what], done[node, task, what]
        text = f"subscribers of {node} were told {heard} time(s) that {task} is {what}, and it was {was} time(s)"
        yield Violation("C17", text)
