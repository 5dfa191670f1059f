"""Checkers of single tasks: they are kept, end once, run as often as they may, and are told the truth about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from everact.tasks import status as st
from everact.tasks.record import COMPENSATION
from everact.tasks.schedule import FOREVER, MICROSECONDS
from everact.testing.evidence import Evidence, Violation
from everact.testing.history import ENDS, Event, What

_STATUS = {
    What.COMPLETED: st.COMPLETED,
    What.FAILED: st.FAILED,
    What.CANCELLED: st.CANCELLED,
    What.QUARANTINED: st.QUARANTINED,
}
_WRITTEN = (*ENDS, What.RETRY, What.REQUEUED)
_STARTS = (What.STARTED, What.UNDO_STARTED)
_COMES_BACK = {
    What.STARTED: (What.RETURNED, What.RAISED),
    What.UNDO_STARTED: (What.UNDONE, What.UNDO_RAISED),
}
CLOSE = 2.0 / MICROSECONDS
"""Wall-clock times are whole microseconds."""


def acknowledged_is_kept(evidence: Evidence) -> Iterator[Violation]:
    """P1, C1: what was acknowledged is there, whatever died since."""
    for event in evidence.history.of(What.ACKNOWLEDGED):
        name = event.about or event.task
        if name not in evidence.rows:
            yield Violation("P1", f"{name} was acknowledged at {event.time:g} s, and is not stored", event.number)


def stored_is_kept(evidence: Evidence) -> Iterator[Violation]:
    """P3, C13: what was committed with an outcome is there, and nothing else is."""
    stored = {event.task: event for event in evidence.history.of(What.STORED)}
    for name, event in stored.items():
        if name not in evidence.rows:
            yield Violation("P3", f"{name} ({event.detail or 'dispatched'}) was committed, and is lost", event.number)
    for name in evidence.rows:
        if name not in stored:
            yield Violation("P3", f"{name} is stored, and was never committed by anybody")
    for id, count in Counter(record.id for record in evidence.records).items():  # noqa: A001
        if count > 1:
            yield Violation("C14", f"{evidence.history.known(id)} is stored {count} times under one id")


def keys_are_held_by_one(evidence: Evidence) -> Iterator[Violation]:
    """C14: of the tasks of one type that have not ended, only one has a key. In one commit ends come first."""
    keys = {name: (row.type, row.key) for name, row in evidence.rows.items() if row.key is not None}
    holders: dict[tuple[str, str | None], list[str]] = {}
    for event in evidence.history.of(What.STORED):
        own = evidence.ends.get(event.task)
        barred = own is not None and own.commit == event.commit  # its workflow is being undone
        if (key := keys.get(event.task)) is None or barred:
            continue
        for holder in holders.setdefault(key, []):
            end = evidence.ends.get(holder)
            if end is None or end.commit > event.commit:
                text = f"{event.task} was stored under key {key[1]!r}, which {holder} had, and that had not ended"
                yield Violation("C14", text, event.number)
        holders[key].append(event.task)


def it_ends_once(evidence: Evidence) -> Iterator[Violation]:
    """P2, C2: exactly one terminal status, which is never left."""
    for name, events in evidence.by_task.items():
        end: Event | None = None
        for event in events:
            if end is not None and event.what in (*ENDS, What.RETRY, What.REQUEUED, What.PARKED, What.WOKEN):
                text = f"{name} had ended {end.what} at {end.time:g} s, and then it was {event.what}"
                yield Violation("P2", text, event.number)
            elif end is not None and event.what in _STARTS:
                text = f"{name} had ended {end.what} at {end.time:g} s, and attempt {event.attempt} started after that"
                yield Violation("P2", text, event.number)
            end = event if end is None and event.what in ENDS else end
        row = evidence.rows.get(name)
        if row is not None and end is not None and row.status != _STATUS[end.what]:
            yield Violation("P2", f"{name} ended {end.what}, and is stored as {st.TaskStatus(row.status)}", end.number)


def everything_ends(evidence: Evidence) -> Iterator[Violation]:
    """C18: when nothing is left to do, what is stored has ended, or waits for its time."""
    if not evidence.at_rest:
        return
    stuck = {row.id for row in evidence.workflows if row.state.value == "stuck"}
    for name, row in evidence.rows.items():
        waits = row.status == st.SCHEDULED and row.attempt == 0 and row.due < FOREVER  # no saga without a stage
        if row.status < st.COMPLETED and not waits and row.workflow_id not in stuck:
            yield Violation("C18", f"{name} is {st.TaskStatus(row.status)} for ever, though nothing is left to do")


def attempts_come_back(evidence: Evidence) -> Iterator[Violation]:
    """C4: each attempt that started has ended, or its node died, or it was left behind."""
    for name, events in evidence.by_task.items():
        for place, event in enumerate(events):
            if event.what not in _STARTS or event.node in evidence.broken_off or not evidence.at_rest:
                continue
            rest = events[place + 1 :]
            back = any(each.what in _COMES_BACK[event.what] and each.node == event.node for each in rest)
            left_behind = any(each.detail == "ThreadAbandoned" or each.what in ENDS for each in rest)
            if not (back or left_behind):
                yield Violation("C4", f"attempt {event.attempt} of {name} started, and never ended", event.number)


def only_the_last_attempt_counts(evidence: Evidence) -> Iterator[Violation]:
    """C3: what is written of a task comes from its last attempt, and no other node starts one before that."""
    for name, events in evidence.by_task.items():
        last: Event | None = None
        in_hand = False
        for event in events:
            lives = last is not None and evidence.lives(last.node, event)
            if event.what in _STARTS:
                if in_hand and lives and last is not None and last.node != event.node:
                    text = f"{name} started on {event.node}, and {last.node} had attempt {last.attempt} in hand"
                    yield Violation("C3", text, event.number)
                last, in_hand = event, True
            elif event.what in (What.PARKED, What.WOKEN):  # a saga counts anew in each stage
                last, in_hand = None, False
            elif event.what in _WRITTEN:
                attempt = event.attempt + (event.what is What.REQUEUED)  # one that a stop has cut off is not counted
                if lives and last is not None and event.attempt > 0 and attempt < last.attempt:
                    text = f"attempt {event.attempt} of {name} was {event.what}, and attempt {last.attempt} had started"
                    yield Violation("C3", text, event.number)
                in_hand = False


def attempts_are_as_many_as_they_may(evidence: Evidence) -> Iterator[Violation]:
    """C5: no more attempts than the policy allows, but for those that a crash or a stop has cut off."""
    for name, events in evidence.by_task.items():
        row, spec = evidence.rows.get(name), evidence.spec(name)
        if row is None or spec is None or spec.coordinates:
            continue
        policy = spec.compensation_retry if row.kind == COMPENSATION else spec.retry
        for event in events:
            if event.what in _STARTS and event.attempt > policy.attempts:
                text = f"attempt {event.attempt} of {name} started, and its policy has {policy.attempts}"
                yield Violation("C5", text, event.number)
        starts = Counter((event.node, event.attempt) for event in events if event.what in _STARTS)
        for (node, attempt), count in starts.items():
            if count > 1 and not any(event.what is What.REQUEUED for event in events):
                yield Violation("C5", f"attempt {attempt} of {name} ran {count} times on {node}")


def retries_come_when_they_should(evidence: Evidence) -> Iterator[Violation]:
    """C5, C11: a retry waits as long as its policy says, and nothing starts before it is due."""
    if evidence.faults.jump:  # then the wall clock of a node is not the time that passed
        return
    for name, events in evidence.by_task.items():
        row, spec = evidence.rows.get(name), evidence.spec(name)
        due: float | None = None
        raised: Event | None = None
        for event in events:
            if event.what in (What.RAISED, What.UNDO_RAISED):
                raised = event
            if event.what in (What.STORED, What.RETRY):
                due = event.due
            if event.what in _STARTS and due is not None and event.time < due - CLOSE:
                text = f"{name} started at {event.time:g} s, and is due at {due:g} s"
                yield Violation("C11", text, event.number)
            if event.what is What.RETRY and row is not None and spec is not None and raised is not None:
                policy = spec.compensation_retry if row.kind == COMPENSATION else spec.retry
                least, most = policy.delay_after(event.attempt, 0.0), policy.delay_after(event.attempt, 1.0)
                waits = (event.due or 0.0) - raised.time
                if waits < least - CLOSE or (event.due or 0.0) - event.time > most + CLOSE:
                    text = f"{name} waits {waits:g} s after attempt {event.attempt}, and should {least:g} to {most:g} s"
                    yield Violation("C5", text, event.number)


def cancels_are_answered_truly(evidence: Evidence) -> Iterator[Violation]:
    """P4, C8: cancelled before it started: never starts. Told to stop, or finished before: its record says so."""
    for event in evidence.history.of(What.CANCEL_ANSWERED):
        events, end = evidence.by_task.get(event.task, []), evidence.ends.get(event.task)
        if event.detail == "cancelled":
            spec = evidence.spec(event.task)
            for each in events:
                in_hand = each.node not in evidence.broken_off and not (spec is not None and spec.coordinates)
                if each.what is What.STARTED and (each.number > event.number or in_hand):
                    text = f"{event.task} was CANCELLED, they said, and its handler was called at {each.time:g} s"
                    yield Violation("P4", text, each.number)
            if end is None or end.what is not What.CANCELLED or end.number > event.number:
                was = "has not ended" if end is None else f"ended {end.what}"
                yield Violation("P4", f"{event.task} was CANCELLED, they said, and it {was}", event.number)
        elif event.detail == "already_finished" and (end is None or end.number > event.number):
            yield Violation("P4", f"{event.task} was finished before, they said, and it was not", event.number)
        elif event.detail == "not_found" and any(
            each.what is What.ACKNOWLEDGED and each.number < event.number for each in events
        ):
            yield Violation("P4", f"{event.task} was not found, they said, and it had been acknowledged", event.number)


def calls_are_answered(evidence: Evidence) -> Iterator[Violation]:
    """P5: whoever asks is answered in time."""
    answers = {
        What.DISPATCHED: (What.ACKNOWLEDGED, What.REFUSED),
        What.CANCEL_ASKED: (What.CANCEL_ANSWERED, What.REFUSED),
    }
    patience = 120.0
    for asked, answered in answers.items():
        for event in evidence.history.of(asked):
            rest = evidence.by_task[event.task]
            found = any(each.what in answered and each.number > event.number for each in rest)
            if not found and evidence.time - event.time > patience:
                yield Violation(
                    "P5", f"{event.task} was {asked} at {event.time:g} s, and nobody answered", event.number
                )
