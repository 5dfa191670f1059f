"""What a saga does next, from what has become of its steps' tasks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from everact.tasks.saga import Saga, Step, parallel
from everact.tasks.saga_plan import Broken, Done, Plan, Seen, Start, Wait, plan
from everact.tasks.status import CANCELLED, COMPLETED, FAILED, QUARANTINED, QUEUED, RUNNING, SCHEDULED

Planner = Callable[[Saga, Mapping[str, Seen | None]], Plan]

OPEN = (SCHEDULED, QUEUED, RUNNING)
UNDONE = (FAILED, CANCELLED, QUARANTINED)
OVER = (COMPLETED, *UNDONE)


@dataclass(frozen=True)
class Work:
    order: int


def step(name: str, *, pivot: bool = False, critical: bool = True) -> Step:
    return Step(Work, name=name, pivot=pivot, critical=critical)


def saga_of(*stages: str, pivot: str = "", uncritical: str = "") -> Saga:
    """One letter is one step, one word one stage."""
    groups = [
        parallel(*(step(name, critical=name not in uncritical) for name in stage))
        if stage != pivot
        else step(stage, pivot=True)
        for stage in stages
    ]
    return Saga("order", *groups)


def seen(**statuses: int) -> dict[str, Seen | None]:
    """A letter in upper case is a critical step, one in lower case is not."""
    return {name: Seen(status, critical=name.isupper()) for name, status in statuses.items()}


def starts(found: Plan) -> list[str]:
    assert isinstance(found, Start)
    return [step.name for step in found.steps]


# By example


def test_the_first_stage_starts_as_a_whole() -> None:
    assert starts(plan(saga_of("AB", "C"), {})) == ["A", "B"]
    assert starts(plan(saga_of("AB", "C"), {"A": None, "B": None, "C": None})) == ["A", "B"]


@pytest.mark.parametrize("status", OPEN)
def test_a_stage_waits_for_every_step_of_the_one_before(status: int) -> None:
    saga = saga_of("AB", "C")
    assert plan(saga, seen(A=COMPLETED, B=status)) == Wait()
    assert starts(plan(saga, seen(A=COMPLETED, B=COMPLETED))) == ["C"]


@pytest.mark.parametrize("status", OPEN)
def test_the_last_stage_is_waited_for(status: int) -> None:
    assert plan(saga_of("A", "B"), seen(A=COMPLETED, B=status)) == Wait()
    assert plan(saga_of("A", "B"), seen(A=COMPLETED, B=COMPLETED)) == Done()


@pytest.mark.parametrize("status", UNDONE)
@pytest.mark.parametrize("stages", [("AB",), ("AB", "C")])
def test_a_critical_step_that_did_not_complete_breaks_the_saga_even_in_its_last_stage(
    status: int, stages: tuple[str, ...]
) -> None:
    assert plan(saga_of(*stages), seen(A=COMPLETED, B=status)) == Broken("B")


def test_what_runs_beside_a_broken_step_is_waited_for() -> None:
    assert plan(saga_of("AB", "C"), seen(A=RUNNING, B=FAILED)) == Wait()


@pytest.mark.parametrize("status", UNDONE)
def test_an_uncritical_step_is_passed_over(status: int) -> None:
    saga = saga_of("Ab", "c", uncritical="bc")
    assert starts(plan(saga, seen(A=COMPLETED, b=status))) == ["c"]
    assert plan(saga, seen(A=COMPLETED, b=status, c=status)) == Done()


def test_what_counts_is_whether_the_step_was_dispatched_as_critical() -> None:
    saga = saga_of("A", "B", uncritical="A")
    assert plan(saga, {"A": Seen(FAILED, critical=True)}) == Broken("A")
    assert starts(plan(saga_of("A", "B"), {"A": Seen(FAILED, critical=False)})) == ["B"]


@pytest.mark.parametrize("status", UNDONE)
def test_after_the_pivot_a_saga_goes_on_past_a_step_that_was_skipped(status: int) -> None:
    saga = saga_of("A", "P", "BC", "D", pivot="P")
    assert starts(plan(saga, seen(A=COMPLETED, P=COMPLETED, B=status, C=COMPLETED))) == ["D"]
    assert plan(saga, seen(A=COMPLETED, P=COMPLETED, B=status, C=RUNNING)) == Wait()
    assert plan(saga, seen(A=COMPLETED, P=COMPLETED, B=COMPLETED, C=COMPLETED, D=status)) == Done()


@pytest.mark.parametrize("status", UNDONE)
def test_a_pivot_that_did_not_complete_breaks_the_saga(status: int) -> None:
    saga = saga_of("A", "P", "B", pivot="P")
    assert plan(saga, seen(A=COMPLETED, P=status)) == Broken("P")
    assert plan(saga, seen(A=status)) == Broken("A")


def test_of_a_stage_that_was_dispatched_in_part_the_rest_starts() -> None:
    saga = saga_of("ABC", "D")
    assert starts(plan(saga, seen(B=RUNNING))) == ["A", "C"]
    assert starts(plan(saga, seen(A=COMPLETED, B=COMPLETED))) == ["C"]


def test_of_a_stage_that_is_broken_nothing_more_starts() -> None:
    saga = saga_of("ABC", "D")
    assert plan(saga, seen(A=FAILED)) == Broken("A")
    assert plan(saga, seen(A=FAILED, B=RUNNING)) == Wait()


def test_a_step_that_the_code_no_longer_has_is_ignored() -> None:
    assert starts(plan(saga_of("A", "B"), seen(A=COMPLETED, X=FAILED, Y=RUNNING))) == ["B"]


# Whatever happens


@st.composite
def sagas(draw: st.DrawFn) -> Saga:
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    pivot = draw(st.none() | st.integers(0, len(sizes) - 1))
    stages = [
        step(f"pivot{number}", pivot=True)
        if number == pivot
        else parallel(*(step(f"s{number}.{n}", critical=draw(st.booleans())) for n in range(size)))
        for number, size in enumerate(sizes)
    ]
    return Saga("order", *stages)


def names_of(saga: Saga) -> list[str]:
    return [step.name for stage in saga.stages for step in stage]


class Driven:
    """Runs a saga to its end by what a planner says, with ends drawn for its steps, and checks each word of it."""

    def __init__(self, planner: Planner, saga: Saga, draw: st.DataObject) -> None:
        self.planner = planner
        self.saga = saga
        self.draw = draw
        self.seen: dict[str, Seen | None] = {}

    def run(self) -> Broken | Done:
        # Each step starts once and ends once, so more rounds than this means that it turns in circles.
        for _ in range(2 * len(names_of(self.saga)) + 1):
            found = self.planner(self.saga, self.seen)
            match found:
                case Start(steps):
                    self.start(steps)
                case Wait():
                    self.end_one()
                case Broken() | Done():
                    return found
        raise AssertionError("no end")

    def start(self, steps: tuple[Step, ...]) -> None:
        assert steps, "nothing to start"
        for step in steps:
            assert self.seen.get(step.name) is None, f"{step.name} is started twice"
            assert all(task and task.over for task in self.before(step)), f"{step.name} is started too early"
        self.seen |= {step.name: Seen(self.draw.draw(st.sampled_from(OPEN)), step.critical) for step in steps}

    def before(self, step: Step) -> Iterator[Seen | None]:
        for stage in self.saga.stages:
            if step in stage:
                return
            yield from (self.seen.get(earlier.name) for earlier in stage)

    def end_one(self) -> None:
        running = [name for name, task in self.seen.items() if task and not task.over]
        assert running, "waits for nothing"
        name = self.draw.draw(st.sampled_from(running))
        # Mostly completed, else few histories would get past a pivot.
        status = self.draw.draw(st.sampled_from((COMPLETED, COMPLETED, COMPLETED, COMPLETED, *UNDONE)))
        self.seen[name] = Seen(status, self.saga.step(name).critical)

    def broken(self) -> set[str]:
        return {name for name, task in self.seen.items() if task and task.broken}

    def passed(self) -> bool:
        pivot = self.saga.pivot and self.seen.get(self.saga.pivot.name)
        return bool(pivot and pivot.status == COMPLETED)


def check_history(planner: Planner, saga: Saga, data: st.DataObject) -> None:
    driven = Driven(planner, saga, data)
    end = driven.run()
    assert all(task and task.over for task in driven.seen.values()), "it ends while a step is under way"
    if isinstance(end, Broken):
        assert end.step_name in driven.broken(), "it breaks for no reason"
        assert not driven.passed(), "it breaks after the pivot"
    else:
        assert set(driven.seen) == set(names_of(saga)), "a step is left out"
        assert driven.passed() or not driven.broken(), "it is done in spite of a failure"


@pytest.mark.slow
@given(sagas(), st.data())
def test_every_history_ends_with_each_step_started_once_and_in_order(saga: Saga, data: st.DataObject) -> None:
    check_history(plan, saga, data)


@pytest.mark.slow
@given(sagas(), st.data())
def test_whatever_is_stored_no_step_starts_twice_or_before_its_turn(saga: Saga, data: st.DataObject) -> None:
    """Also what cannot happen: a definition that changed under way, a stage that was dispatched in part."""
    tasks = st.none() | st.builds(Seen, st.sampled_from(OPEN + OVER), st.booleans())
    driven = Driven(plan, saga, data)
    driven.seen = {name: data.draw(tasks) for name in names_of(saga)}
    found = plan(saga, driven.seen)
    if isinstance(found, Start):
        driven.start(found.steps)
    if isinstance(found, Broken):
        assert found.step_name in driven.broken()
        assert not driven.passed()
    if isinstance(found, Done):
        assert all(task and task.over for task in driven.seen.values())


@pytest.mark.slow
@given(sagas(), st.data())
def test_when_every_step_has_ended_a_saga_is_done_or_broken(saga: Saga, data: st.DataObject) -> None:
    ends = st.builds(Seen, st.sampled_from(OVER), st.booleans())
    statuses: dict[str, Seen | None] = {name: data.draw(ends) for name in names_of(saga)}
    assert isinstance(plan(saga, statuses), Done | Broken)


@pytest.mark.slow
@given(sagas(), st.data())
def test_a_plan_is_the_same_when_it_is_asked_again(saga: Saga, data: st.DataObject) -> None:
    tasks = st.none() | st.builds(Seen, st.sampled_from(OPEN + OVER), st.booleans())
    statuses = {name: data.draw(tasks) for name in names_of(saga)}
    kept = dict(statuses)
    assert plan(saga, statuses) == plan(saga, statuses)
    assert statuses == kept


# The same checks see planted mistakes


def impatient(saga: Saga, seen: Mapping[str, Seen | None]) -> Plan:
    """Does not wait for the stage before."""
    missing = tuple(step for stage in saga.stages for step in stage if seen.get(step.name) is None)
    return Start(missing) if missing else plan(saga, seen)


def forgetful(saga: Saga, seen: Mapping[str, Seen | None]) -> Plan:
    """Starts whole stages, whatever of them runs already."""
    found = plan(saga, seen)
    return Start(saga.stages[0]) if isinstance(found, Wait) else found


def careless(saga: Saga, seen: Mapping[str, Seen | None]) -> Plan:
    """Takes every failure for an uncritical one."""
    return plan(saga, {name: task and Seen(task.status, critical=False) for name, task in seen.items()})


def rash(saga: Saga, seen: Mapping[str, Seen | None]) -> Plan:
    """Gives up while other steps are under way."""
    broken = [name for name, task in seen.items() if task and task.broken]
    found = plan(saga, seen)
    return Broken(broken[0]) if broken and isinstance(found, Wait) else found


def stubborn(saga: Saga, seen: Mapping[str, Seen | None]) -> Plan:
    """Waits for ever instead of ending."""
    found = plan(saga, seen)
    return Wait() if isinstance(found, Done) else found


def backward(saga: Saga, seen: Mapping[str, Seen | None]) -> Plan:
    """Breaks although the pivot has completed."""
    found = plan(saga, seen)
    broken = [name for name, task in seen.items() if task and task.broken]
    return Broken(broken[0]) if broken and isinstance(found, Done) else found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planner", "complaint"),
    [
        (impatient, "started too early"),
        (forgetful, "started twice"),
        (careless, "done in spite of a failure"),
        (rash, "under way"),
        (stubborn, "waits for nothing"),
        (backward, "breaks after the pivot"),
    ],
)
def test_the_same_check_catches_a_planner_that_is(planner: Planner, complaint: str) -> None:
    # The first mistake will do, so nothing is shrunk; the same histories each time.
    @settings(phases=[Phase.generate], derandomize=True, max_examples=1_000, report_multiple_bugs=False)
    @given(sagas(), st.data())
    def history(saga: Saga, data: st.DataObject) -> None:
        check_history(planner, saga, data)

    with pytest.raises(AssertionError, match=complaint):
        history()
