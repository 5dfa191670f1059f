"""What a campaign must have come by: a search that never gets to the dangerous places finds nothing there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise

from everact.testing import Event, Simulation, What

Goal = Callable[[Simulation], bool]
GOALS: dict[str, Goal] = {}


def goal(name: str) -> Callable[[Goal], Goal]:
    """Have a function say whether a run has come by."""

    def add(reached: Goal) -> Goal:
        GOALS[name] = reached
        return reached

    return add


def _says(sim: Simulation, what: What, text: str) -> bool:
    return any(text in event.detail for event in sim.history.of(what))


def _with(sim: Simulation, *what: What) -> Iterable[tuple[Event, list[Event]]]:
    """Events of a kind, each with what came of the same task later."""
    for event in sim.history.of(*what):
        yield event, [each for each in sim.history if each.task == event.task and each.number > event.number]


@goal("a crash inside a compensation")
def crash_inside_compensation(sim: Simulation) -> bool:
    ends = {event.node: event.number for event in sim.history.of(What.CRASHED)}
    for event, later in _with(sim, What.UNDO_STARTED):
        back = any(each.what in (What.UNDONE, What.UNDO_RAISED) and each.node == event.node for each in later)
        if event.node in ends and not back:
            return True
    return False


@goal("a late finish fenced off")
def late_finish(sim: Simulation) -> bool:
    """It came back after the task was retried, or had ended, and changed nothing."""
    for _, later in _with(sim, What.RETRY, What.FAILED, What.CANCELLED):
        for one, other in pairwise(later):
            if other.what in (What.RETURNED, What.RAISED) and one.attempt > other.attempt:
                return True
        if later and later[0].what is What.RETURNED:
            return True
    return False


@goal("a restart limit hit")
def restart_limit(sim: Simulation) -> bool:
    return _says(sim, What.TOLD, "PoolSuspended")


@goal("a thread left behind")
def thread_left_behind(sim: Simulation) -> bool:
    return _says(sim, What.TOLD, "ThreadAbandoned")


@goal("a cancel that raced the start")
def cancel_raced_start(sim: Simulation) -> bool:
    for _, later in _with(sim, What.CANCEL_ASKED):
        seen = [each.what for each in later if each.what in (What.STARTED, What.CANCEL_ANSWERED)]
        if seen[:2] == [What.STARTED, What.CANCEL_ANSWERED]:
            return True
    return False


@goal("an unknown commit that had landed")
def landed(sim: Simulation) -> bool:
    return _says(sim, What.FAULT, "is written, and said to be of unknown outcome")


@goal("an unknown commit that was lost")
def lost(sim: Simulation) -> bool:
    return _says(sim, What.FAULT, "is lost, and said to be of unknown outcome")


@goal("a full disk that refuses a dispatch")
def disk_full(sim: Simulation) -> bool:
    return _says(sim, What.REFUSED, "StorageFull")


@goal("a full mailbox")
def full_mailbox(sim: Simulation) -> bool:
    """More of a kind wait to start than it holds, with what its cells may have in their hands."""
    room = {spec.name: spec.concurrency + sim._world._parts[0].high_water for spec in sim.specs}
    waiting: dict[str, set[str]] = defaultdict(set)
    for event in sim.history:
        kind = event.task.partition("#")[0]
        if event.what is What.STORED and event.due is not None and event.due <= event.time:
            waiting[kind].add(event.task)
            if len(waiting[kind]) > room.get(kind, len(waiting[kind])):
                return True
        elif event.what is not What.ACKNOWLEDGED:
            waiting[kind].discard(event.task)
    return False


@goal("a busy database")
def busy(sim: Simulation) -> bool:
    return _says(sim, What.FAULT, "finds the database locked")


@goal("a paused node")
def paused(sim: Simulation) -> bool:
    return _says(sim, What.FAULT, "paused")


@goal("a clock that jumps")
def jumped(sim: Simulation) -> bool:
    return _says(sim, What.FAULT, "its clock is set")


@goal("a task that another node has taken over")
def adopted(sim: Simulation) -> bool:
    stored = {event.task: event.node.partition(".")[0] for event in sim.history.of(What.STORED)}
    return any(
        stored.get(event.task, event.node).partition(".")[0] != event.node.partition(".")[0]
        for event in sim.history.of(What.STARTED)
    )


@goal("a stop that interrupts a task")
def requeued(sim: Simulation) -> bool:
    return bool(sim.history.of(What.REQUEUED))


@goal("a task that kills its process once too often")
def quarantined(sim: Simulation) -> bool:
    return bool(sim.history.of(What.QUARANTINED))


@goal("a follow-up that meets a taken key")
def key_taken(sim: Simulation) -> bool:
    return bool(sim.history.of(What.LEFT_OUT))


@goal("a workflow stuck and resumed")
def stuck(sim: Simulation) -> bool:
    return _says(sim, What.WORKFLOW, "stuck") and _says(sim, What.WORKFLOW, "compensated")


@goal("a group of steps undone")
def group_undone(sim: Simulation) -> bool:
    undone = {event.about.partition("#")[0] for event in sim.history.of(What.UNDONE)}
    return {"Room", "Seat", "Car"} <= undone


@goal("a workflow cancelled while it runs")
def workflow_cancelled(sim: Simulation) -> bool:
    return _says(sim, What.CANCEL_ANSWERED, "workflow compensating")


@goal("a cancel too late for the pivot")
def past_pivot(sim: Simulation) -> bool:
    return _says(sim, What.CANCEL_ANSWERED, "workflow past_pivot")


@goal("a cancel between two attempts")
def cancel_between(sim: Simulation) -> bool:
    for event in sim.history.of(What.CANCEL_REQUESTED):
        before = [each for each in sim.history if each.task == event.task and each.number < event.number]
        runs = [each.what for each in before if each.what in (What.STARTED, What.RETRY)]
        if runs and runs[-1] is What.RETRY:
            return True
    return False


@goal("an undo that fails first")
def undo_fails(sim: Simulation) -> bool:
    return bool(sim.history.of(What.UNDO_RAISED))


@goal("an end written along with something else")
def written_along(sim: Simulation) -> bool:
    """Nobody listens, so that it may be kept back."""
    ended = {event.commit: event.task for event in sim.history.of(What.COMPLETED)}
    return not sim._world.events and any(
        event.commit in ended and event.about != ended[event.commit] and not event.about
        for event in sim.history.of(What.STORED)
    )


@goal("a saga undone in memory only")
def undone_in_memory(sim: Simulation) -> bool:
    return sim._world._storage == "memory://" and _says(sim, What.WORKFLOW, "compensated")


def reached(sim: Simulation) -> set[str]:
    """The goals that a run has come by."""
    return {name for name, is_reached in GOALS.items() if is_reached(sim)}
