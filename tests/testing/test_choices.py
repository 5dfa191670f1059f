"""Policies: each makes its choices as it says, and the calm one is always the first."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from everact import ConfigurationError
from everact.testing.choices import FAULTY, RUN, Drawn, Pct, RandomWalk, Replay, StaleSchedule
from everact.testing.fiber import Deadlock, Endless, Group, always
from everact.testing.schedule import Schedule
from everact.testing.scheduler import Scheduler

OPTIONS = ["a", "b", "c"]


def test_a_random_walk_takes_each_thread_as_often_as_the_others() -> None:
    walk = RandomWalk(1)
    taken = Counter(walk.choose(OPTIONS, RUN) for _ in range(3000))
    assert all(900 < count < 1100 for count in taken.values())


def test_a_random_walk_lets_few_faults_happen() -> None:
    walk = RandomWalk(1)
    surprises = sum(walk.choose(OPTIONS, "a fault") > 0 for _ in range(3000))
    assert 0 < surprises < 3000 * FAULTY


def test_pct_goes_on_with_the_thread_of_highest_priority_but_for_its_falls() -> None:
    pct = Pct(seed=3, depth=3, steps=100)
    taken = [OPTIONS[pct.choose(OPTIONS, RUN)] for _ in range(100)]
    changes = [place for place in range(1, 100) if taken[place] != taken[place - 1]]
    assert len(changes) <= 2
    assert len(set(taken)) == len(changes) + 1


def lost_update(policy: RandomWalk | Pct) -> bool:
    """Whether two threads that read, wait and write one number have met in between: a bug of depth 2."""
    scheduler, number = Scheduler(policy), [0]
    group = Group("node")

    def add() -> None:
        for _ in range(3):
            scheduler.wait(always, None, "works")
        read = number[0]
        scheduler.wait(always, None, "has read")
        number[0] = read + 1

    threads = [scheduler.spawn(add, "adder", None, group) for _ in range(2)]
    scheduler.wait(lambda: all(thread.ended for thread in threads), None, "waits")
    scheduler.end()
    return number[0] < 2


def test_pct_finds_a_bug_of_its_depth_as_often_as_it_promises() -> None:
    steps, runs = 10, 200
    found = sum(lost_update(Pct(seed, depth=2, steps=steps)) for seed in range(runs))
    assert found >= runs / (3 * steps)
    assert sum(lost_update(Pct(seed, depth=1, steps=steps)) for seed in range(runs)) == 0, "depth 1 never interrupts"


def test_all_choices_are_drawn_on_the_driver_s_thread() -> None:
    drawn_on: set[int] = set()

    def draw(count: int) -> int:
        drawn_on.add(threading.get_ident())
        return count - 1

    scheduler = Scheduler(Drawn(draw))
    group = Group("node")
    threads = [
        scheduler.spawn(lambda: void(scheduler.wait(always, None, "works")), "worker", None, group) for _ in range(3)
    ]
    scheduler.wait(lambda: all(thread.ended for thread in threads), None, "waits")
    scheduler.end()
    assert drawn_on == {threading.get_ident()}
    assert len(scheduler.choices) > 3


class StopTest(BaseException):
    """What Hypothesis raises in a draw when it has seen enough."""


def test_what_a_draw_raises_reaches_the_test() -> None:
    left = [5]

    def draw(count: int) -> int:
        left[0] -= 1
        if left[0] == 0:
            raise StopTest
        return 0

    scheduler = Scheduler(Drawn(draw))
    group = Group("node")

    def work() -> None:
        while True:
            scheduler.wait(always, None, "works")

    for _ in range(2):
        scheduler.spawn(work, "worker", None, group)
    with pytest.raises(StopTest):
        scheduler.wait(lambda: False, None, "waits")
    assert scheduler.end() == []


def test_a_draw_beyond_the_options_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"draw\(3\).*returned 3"):
        Drawn(lambda count: count).choose(OPTIONS, RUN)


def test_a_replay_is_calm_after_its_end_and_refuses_what_is_not_there() -> None:
    replay = Replay(str(Schedule("0" * 8, 1, (2, 0, 1))))
    assert [replay.choose(OPTIONS, RUN) for _ in range(5)] == [2, 0, 1, 0, 0]
    with pytest.raises(StaleSchedule, match="choice 1 of the schedule takes option 2 of 'who runs'"):
        Replay(str(Schedule("0" * 8, 1, (2,)))).choose(["a", "b"], RUN)


@pytest.mark.parametrize("choices", [(), (1,), (0, 0, 3), (200, 1), tuple([0] * 300 + [2]), tuple([1, 2] * 200)])
def test_a_schedule_survives_its_text(choices: tuple[int, ...]) -> None:
    assert Schedule.parse(str(Schedule("0badcafe", -3, choices))) == Schedule("0badcafe", -3, choices)


@pytest.mark.parametrize("text", ["", "ev0:a:1:", "ev1:a:1", "ev1:a:x:", "ev1:a:1:#", "ev1:a:1:~AAAA"])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="schedule"):
        Replay(text)


def test_a_deadlock_of_threads_is_told_to_the_driver_by_their_names() -> None:
    scheduler = Scheduler(RandomWalk(0))
    scheduler.spawn(lambda: void(scheduler.wait(lambda: False, None, "waits")), "stuck one", None, Group("node"))
    with pytest.raises(Deadlock, match="stuck one"):
        scheduler.wait(lambda: False, None, "waits")
    assert scheduler.end() == []


def test_a_simulation_that_goes_on_and_on_is_ended() -> None:
    scheduler = Scheduler(RandomWalk(0))
    scheduler.most_steps = 100

    def work() -> None:
        while True:
            scheduler.wait(always, None, "works")

    scheduler.spawn(work, "busy one", None, Group("node"))
    with pytest.raises(Endless, match="101 steps"):
        scheduler.wait(lambda: False, None, "waits")
    assert scheduler.end() == []


def test_what_a_thread_ends_with_is_kept_and_stops_nobody_else() -> None:
    scheduler = Scheduler(RandomWalk(0))

    def fail() -> None:
        raise OSError("no")

    thread = scheduler.spawn(fail, "failing one", None, Group("node"))
    scheduler.wait(lambda: thread.ended, None, "waits")
    assert [(name, str(error)) for name, error in scheduler.errors] == [("failing one", "no")]
    scheduler.end()


def void(_: object) -> None:
    """Drop a value where a signature wants None."""
