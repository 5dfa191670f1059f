"""everact's promises as functions from a run to what it has broken of them.

| promise | checkers |
|---|---|
| P1, C1 acknowledged is stored, whatever dies | `acknowledged_is_kept` |
| P2, C2 one terminal status, never left | `it_ends_once` |
| P3, C13 follow-ups commit with their outcome | `follow_ups_come_with_their_outcome`, `stored_is_kept` |
| P4, C8 cancels are answered truly | `cancels_are_answered_truly` |
| P5 whoever asks is answered | `calls_are_answered`; a wait without an end is a `Deadlock` |
| P6 failures stay where they are | `failures_stay_where_they_are` |
| P7 nothing vanishes | `nothing_vanishes` |
| P8 memory is bounded | `memory_is_bounded` |
| P9, C19 one seed is one history | `differences` of two runs, in this process or another |
| C3 the last attempt alone writes, on one node at a time | `only_the_last_attempt_counts` |
| C4 attempts come back, or their node died | `attempts_come_back` |
| C5 attempts and delays within the policy | `attempts_are_as_many_as_they_may`, `retries_come_when_they_should` |
| C6 what was done is undone, in reverse | `undone_is_what_was_done`, `undone_in_reverse` |
| C6 sagas go on, and workflows end, when what they wait for has | `sagas_wait_for_their_stage`, `workflows_end_last` |
| C7 undone once | `undone_once` |
| C11 never before it is due | `retries_come_when_they_should` |
| C14 one id is one row, one key one task | `stored_is_kept`, `keys_are_held_by_one` |
| C16 order within a priority | `order_is_kept` |
| C17 subscribers are told what was committed | `subscribers_are_told` |
| C18 everything ends | `everything_ends` |
| C20 storages agree | `differences` of two runs, one on each |

What a history of tasks does not show is tested elsewhere:

| property | why not here | instead |
|---|---|---|
| C9 restarts within the intensity | of actors, which are in no history | tests/supervision/test_intensity.py |
| C9 siblings as the strategy says | the same | tests/supervision/test_strategy.py |
| C10 a mailbox outlives restarts, in order | the same; of tasks it is C18 | tests/supervision/test_random_trees.py |
| C12 recurring schedules | there are none | |
| C15 rate limits | there are none | |
| C16 no one is overtaken too often | there is no such bound: what is urgent goes first | |
| C17 counters and gauges | metrics are off in a simulation | tests/metrics/test_histories.py |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from everact.testing import check_system, check_tasks, check_workflows
from everact.testing.evidence import Evidence, Violation
from everact.testing.history import History

if TYPE_CHECKING:
    from everact.testing.simulation import Simulation

__tracebackhide__ = True  # for pytest
Checker = Callable[[Evidence], Iterator[Violation]]
CHECKERS: tuple[Checker, ...] = (
    check_tasks.acknowledged_is_kept,
    check_tasks.stored_is_kept,
    check_tasks.keys_are_held_by_one,
    check_tasks.it_ends_once,
    check_tasks.everything_ends,
    check_tasks.attempts_come_back,
    check_tasks.only_the_last_attempt_counts,
    check_tasks.attempts_are_as_many_as_they_may,
    check_tasks.retries_come_when_they_should,
    check_tasks.cancels_are_answered_truly,
    check_tasks.calls_are_answered,
    check_workflows.follow_ups_come_with_their_outcome,
    check_workflows.sagas_wait_for_their_stage,
    check_workflows.workflows_end_last,
    check_workflows.undone_is_what_was_done,
    check_workflows.undone_in_reverse,
    check_workflows.undone_once,
    check_system.failures_stay_where_they_are,
    check_system.nothing_vanishes,
    check_system.memory_is_bounded,
    check_system.order_is_kept,
    check_system.subscribers_are_told,
)


class PromiseBroken(AssertionError):
    """A run has broken promises.

    Attributes:
        violations: Which.
        schedule: What replays the run.
    """

    def __init__(self, violations: list[Violation], schedule: str, faults: str) -> None:
        self.violations, self.schedule = violations, schedule
        told = "\n".join(map(str, violations))
        super().__init__(f"{told}\nreplay it with Simulation(..., schedule={schedule!r}, faults={faults})")


def violations(evidence: Evidence) -> list[Violation]:
    """Everything that all checkers complain about."""
    return [violation for checker in CHECKERS for violation in checker(evidence)]


def check_all(sim: Simulation, *, at_rest: bool | None = None) -> None:
    """Hold a simulation to the promises.

    Args:
        sim: The simulation.
        at_rest: False if what must be the case when nothing is left to do is not asked for; by default it is if
            nothing is.

    Raises:
        PromiseBroken: It breaks some.
    """
    evidence = sim.evidence()
    found = violations(evidence if at_rest is None else replace(evidence, at_rest=at_rest))
    if found:
        raise PromiseBroken(found, sim.schedule, repr(sim.faults))


def differences(one: History, other: History) -> str:
    """Where two histories differ first; empty if they do not.

    Example:
        >>> differences(History(lambda: (0, 0.0)), History(lambda: (0, 0.0)))
        ''
    """
    for mine, yours in zip(one, other, strict=False):
        if mine != yours:
            return f"event {mine.number}:\n{mine}\n{yours}"
    shared = min(len(one), len(other))
    longer = one if len(one) > shared else other
    return "" if len(longer) == shared else f"only one of them goes on after event {shared - 1}:\n{longer[shared]}"
