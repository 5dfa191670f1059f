"""Hypothesis strategies for what a test leaves open: in which order things happen, and what goes wrong.

Their simplest values are the calm order and the plan without faults; they shrink by leaving out surprises and faults.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from everact.tasks.registration import specify
from everact.testing.choices import Policy
from everact.testing.faults import Faults
from everact.testing.guided import Guided
from everact.testing.moments import after, at, attempt, before, between, commit, every
from everact.testing.trace import short, undo_of

ERRORS = (TimeoutError, ConnectionError)
_STEPS = 60
"""How many calm choices may come between two surprises."""
_OPTIONS = 4


def schedules(max_surprises: int = 12) -> SearchStrategy[Policy]:
    """Orders of steps that are calm but for some surprises, for `Simulation(policy=...)`.

    Args:
        max_surprises: How many there are at the most; a bug that needs many is found by seeds rather than by these.

    Example:
        >>> schedules(0).example()  # doctest: +SKIP
        Guided((), seed=0)
    """
    gaps = st.tuples(st.integers(0, _STEPS), st.integers(1, _OPTIONS))
    return st.lists(gaps, max_size=max_surprises).map(calm_but_for)


def calm_but_for(gaps: list[tuple[int, int]]) -> Policy:
    """An order of steps with some surprises: how many calm choices come before each, and which one it is.

    Example:
        >>> calm_but_for([(2, 1)])
        Guided((0, 0, 1), seed=0)
    """
    return Guided([choice for calm, surprise in gaps for choice in (*[0] * calm, surprise)])


def fault_plans(
    app: Iterable[object],
    *,
    max_faults: int = 3,
    nodes: int = 1,
    errors: Iterable[type[BaseException]] = ERRORS,
    cancels: bool = False,
    commits: int = 30,
    seconds: float = 60.0,
) -> SearchStrategy[Faults]:
    """Fault plans for an application.

    Args:
        app: The handlers.
        max_faults: How many faults a plan has at the most.
        nodes: How many nodes there are.
        errors: What attempts may raise.
        cancels: Whether tasks and workflows are cancelled too, which is no fault but what somebody asks for.
        commits: Faults at commits come at one of the first so many.
        seconds: Faults that have a time come within so many.
    """
    specs = specify(app)
    tasks = [short(spec.name) for spec in specs]
    undos = [undo_of(spec.name) for spec in specs if spec.compensates]
    kinds = [*_in_attempts(tasks, undos, list(errors)), *_at_commits(commits), *_at_times(nodes, seconds)]
    if cancels:
        named = st.tuples(st.sampled_from(tasks), st.integers(1, 300))
        kinds += [_fault("cancel", named), _fault("cancel_workflow", named)]
    return st.lists(st.one_of(kinds), max_size=max_faults).map(_plan)


def _in_attempts(tasks: list[str], undos: list[str], errors: list[type[BaseException]]) -> list[SearchStrategy[Any]]:
    attempts = st.tuples(
        st.sampled_from([*tasks, *undos]), st.builds(attempt, st.integers(1, 3)), st.sampled_from(errors)
    )
    return [
        _fault("fail", attempts),
        _fault("fail_after", attempts),
        _fault("duplicate", st.sampled_from(tasks)),
        _fault("delay", st.tuples(st.sampled_from(tasks), st.sampled_from([1, 10, 100]))),
    ]


def _at_commits(commits: int) -> list[SearchStrategy[Any]]:
    numbers = st.integers(1, commits)
    once = st.builds(commit, numbers)
    repeated = st.one_of(once, st.builds(every, st.integers(2, 9)))
    return [
        _fault("crash_at", st.one_of(st.builds(before, numbers), st.builds(after, numbers))),
        _fault("busy", repeated),
        _fault("commit_unknown", once),
        _fault("commit_lost", once),
    ]


def _at_times(nodes: int, seconds: float) -> list[SearchStrategy[Any]]:
    names = st.sampled_from([f"node-{number + 1}" for number in range(nodes)])
    time = st.integers(0, 10 * int(seconds)).map(lambda tenths: tenths / 10)
    moments = st.builds(at, time)
    return [
        _fault("crash", st.tuples(names, moments)),
        _fault("pause", st.tuples(names, moments, st.sampled_from([1, 10, 100]))),
        _fault("jump", st.tuples(names, moments, st.sampled_from([100, -100]))),
        _fault("disk_full", st.builds(lambda start, length: between(start, start + length), time, st.integers(1, 20))),
    ]


def _fault(name: str, values: SearchStrategy[Any]) -> SearchStrategy[tuple[str, Any]]:
    return values.map(lambda value: (name, value))


def _plan(faults: list[tuple[str, Any]]) -> Faults:
    found: dict[str, list[Any]] = defaultdict(list)
    for name, value in faults:
        if value not in found[name]:
            found[name].append(value)
    return Faults(**found)
