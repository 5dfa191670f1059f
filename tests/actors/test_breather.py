"""When a cell lets other threads go on."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from everact.actors.breather import DEAR_SECONDS, SELDOM, TASKS, Breather, next_pause


class Clock:
    """A runtime whose clock moves while somebody waits, by as much as the test says."""

    def __init__(self, takes: float) -> None:
        self.time, self.takes = 0.0, takes

    def monotonic(self) -> float:
        return self.time

    def gate(self) -> Clock:
        return self

    def wait(self, timeout: float) -> None:
        self.time += max(self.takes, timeout)


def test_beside_a_thread_that_computes_a_cell_rests_ever_more_seldom() -> None:
    runtime: Any = Clock(takes=0.005)
    breather = Breather(runtime)
    pauses = []
    for _ in range(7):
        pauses.append(breather.due)
        breather.pause()
    assert pauses == [32, 64, 128, 256, 512, 1024, 1024]


def test_after_a_cheap_rest_it_rests_as_often_as_ever() -> None:
    runtime: Any = Clock(takes=0.005)
    breather = Breather(runtime)
    breather.pause()
    runtime.takes = 0.0001
    breather.pause()
    assert breather.due == TASKS


@given(st.integers(TASKS, SELDOM), st.floats(0, 10))
def test_the_number_of_tasks_between_two_rests_is_bounded(tasks: int, seconds: float) -> None:
    assert TASKS <= next_pause(tasks, seconds) <= SELDOM
    assert next_pause(tasks, seconds) > tasks or tasks == SELDOM or seconds < DEAR_SECONDS
