"""Checkers of workflows: what a handler wanted is committed with it, and what was done is undone in reverse, once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from everact.tasks.record import COMPENSATION, TASK
from everact.tasks.status import COMPLETED
from everact.tasks.unwinding import EntryState
from everact.tasks.workflow import WorkflowState
from everact.testing.evidence import Evidence, Violation
from everact.testing.history import Event, What


def follow_ups_come_with_their_outcome(evidence: Evidence) -> Iterator[Violation]:
    """P3, C13: what a completed attempt has dispatched is committed with its completion."""
    stored = {event.task: event for event in evidence.history.of(What.STORED, What.LEFT_OUT)}
    for name, end in evidence.ends.items():
        if end.what is not What.COMPLETED:
            continue
        for event in _last_attempt(evidence.by_task[name], evidence.history.of(What.WANTED), end):
            found = stored.get(event.task)
            if found is None:
                text = f"{name} has dispatched {event.task} and completed, and it was not stored"
                yield Violation("P3", text, end.number)
            elif found.commit != end.commit:
                text = f"{event.task} came in commit {found.commit}; {name}, which dispatched it, ended in {end.commit}"
                yield Violation("P3", text, found.number)


def _last_attempt(events: list[Event], wanted: list[Event], end: Event) -> Iterator[Event]:
    """What the attempt that completed has wanted, apart from what a hook that raised had."""
    returned = [event for event in events if event.what is What.RETURNED and event.number < end.number]
    if not returned:
        return
    last = returned[-1]
    if any(event.what is What.HOOK_RAISED and event.number > last.number for event in events):
        return
    began = max(event.number for event in events if event.what is What.STARTED and event.number < last.number)
    name = end.task
    yield from (event for event in wanted if event.about == name and began < event.number < end.number)


def sagas_wait_for_their_stage(evidence: Evidence) -> Iterator[Violation]:
    """C6: a saga goes on when all steps that it has started have ended, and not before."""
    steps: dict[str, list[Event]] = defaultdict(list)
    for event in evidence.history.of(What.STORED, What.WOKEN):
        if event.what is What.STORED:
            steps[event.about].append(event)
            continue
        for step in steps[event.task]:
            if _open_at(evidence, step.task, event):
                yield Violation("C6", f"{event.task} went on, and its step {step.task} had not ended", event.number)


def workflows_end_last(evidence: Evidence) -> Iterator[Violation]:
    """C6: a workflow ends when all of its tasks have."""
    members: dict[str, list[str]] = defaultdict(list)
    for event in evidence.history.of(What.STORED, What.WORKFLOW):
        row = evidence.rows.get(event.task)
        if event.what is What.STORED and row is not None:
            members[evidence.history.known(row.workflow_id)].append(event.task)
        elif event.what is What.WORKFLOW and WorkflowState(event.detail).final:
            for task in members[event.task]:
                if _open_at(evidence, task, event):
                    text = f"workflow {event.task} was {event.detail}, and {task} had not ended"
                    yield Violation("C6", text, event.number)


def _open_at(evidence: Evidence, task: str, moment: Event) -> bool:
    """Whether a task had not ended by the end of a commit."""
    end = evidence.ends.get(task)
    return end is None or end.commit > moment.commit


def undone_is_what_was_done(evidence: Evidence) -> Iterator[Violation]:
    """C6: of a workflow that is compensated, each completed step that can be undone is; of a completed one, none."""
    states = {evidence.history.known(row.id): row for row in evidence.workflows}
    undone = Counter(event.about for event in evidence.history.of(What.UNDONE))
    for name, row in states.items():
        for entry in evidence.logs.get(row.id, ()):
            over = (EntryState.PLAYED, EntryState.SKIPPED, EntryState.HELD)
            if row.state is WorkflowState.COMPENSATED and entry.state not in over:
                step = evidence.history.known(entry.step)
                yield Violation(
                    "C6", f"workflow {name} is compensated, and the undo of {step} is {EntryState(entry.state)}"
                )
    for task, record in evidence.rows.items():
        row = states.get(evidence.history.known(record.workflow_id))  # type: ignore[assignment]
        spec, end = evidence.spec(task), evidence.ends.get(task)
        if row is None or spec is None or record.kind != TASK or end is None:
            continue
        owed = row.state is WorkflowState.COMPENSATED and end.what is What.COMPLETED and spec.compensates
        if owed and not undone[task] and not _skipped(evidence, row.id, record.id):
            text = f"{task} completed, its workflow is compensated, and it was not undone"
            yield Violation("C6", text, end.number)
        if row.state is WorkflowState.COMPLETED and undone[task]:
            yield Violation("C6", f"{task} was undone, and its workflow is completed", end.number)


def _skipped(evidence: Evidence, workflow: bytes, step: bytes) -> bool:
    return any(entry.state == EntryState.SKIPPED and entry.step == step for entry in evidence.logs.get(workflow, ()))


def undone_in_reverse(evidence: Evidence) -> Iterator[Violation]:
    """C6: steps are undone one at a time, the one that ended last first, and none before it has ended."""
    last: dict[bytes, Event] = {}
    for event in evidence.history.of(What.UNDO_STARTED):
        row = evidence.rows.get(event.task)
        end = evidence.ends.get(event.about)
        if end is None or end.number > event.number:
            yield Violation("C6", f"{event.about} was undone before it had ended", event.number)
            continue
        before = last.get(row.workflow_id) if row is not None else None
        if before is not None and before.about != event.about and evidence.ends[before.about].number < end.number:
            text = f"{event.about} was undone after {before.about}, which had ended before it"
            yield Violation("C6", text, event.number)
        if row is not None:
            last[row.workflow_id] = event


def undone_once(evidence: Evidence) -> Iterator[Violation]:
    """C7: each entry is played to its end once; a call may be repeated only where its outcome was lost."""
    for event in evidence.history.of(What.UNDO_STARTED):
        events = evidence.by_task[event.task]
        before = [each for each in events if each.what is What.UNDONE and each.number < event.number]
        if before and before[-1].node not in evidence.broken_off:
            cut_off = any(each.what is What.REQUEUED for each in events) or evidence.faults.fail_after
            if not cut_off:
                yield Violation("C7", f"{event.about} was undone, and undone again", event.number)
    # A saga that knows the undo is played first, and goes on as the task that it makes.
    continued = {record.parent for record in evidence.records if record.kind == COMPENSATION}
    done = Counter(
        (record.flow.undoes, record.flow.number)
        for record in evidence.records
        if record.flow is not None
        and record.flow.undoes is not None
        and record.status == COMPLETED
        and record.id not in continued
    )
    for (step, number), count in done.items():
        if count > 1:
            yield Violation("C7", f"entry {number} of {evidence.history.known(step or b'')} was played {count} times")
