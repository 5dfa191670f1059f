"""What everact wants to reach, as data, and whether a run has reached it. Ratios are within one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Run, ratio, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A figure of a case, alone or divided by one of another case, and its bound.

    Attributes:
        about: What it is, for the table.
        case: Whose figure.
        figure: Its name.
        over: The case that it is divided by; None for the figure itself.
        at_least: The bound, if more is better.
        at_most: The bound, if less is better.
    """

    about: str
    case: str
    figure: str = "tasks/s"
    over: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def measured(self, results: Mapping[str, Sequence[Run]]) -> float | None:
        """What the run has of it; None if a case was left out, or could not measure that."""
        mine = spread(results.get(self.case, ()), self.figure)
        if self.over is None:
            return None if mine is None else mine.median
        return ratio(mine, spread(results.get(self.over, ()), self.figure))

    def met(self, measured: float) -> bool:
        """Whether that is good enough."""
        enough = self.at_least is None or measured >= self.at_least
        return enough and (self.at_most is None or measured <= self.at_most)

    @property
    def bound(self) -> str:
        """The bound, as the table shows it."""
        sign, value = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {value:,g}" + (f" × {self.over}" if self.over else "")


GOALS = (
    Goal(about="in memory, 1 caller", case="everact: memory, 1 caller", over="huey memory, 1 caller", at_least=3),
    Goal(about="in memory, 1 caller", case="everact: memory, 1 caller", over="dramatiq stub, 1 caller", at_least=10),
    Goal(
        about="latency in memory, p50",
        case="everact: memory, dispatch to start",
        figure="p50 ms",
        over="dramatiq stub, dispatch to start",
        at_most=0.5,
    ),
    Goal(about="SQLite, 1 caller", case="everact: SQLite, 1 caller", over="huey SQLite, 1 caller", at_least=2),
    Goal(about="SQLite, 1 caller: syncs per task", case="everact: SQLite, 1 caller", figure="fsyncs/task", at_most=1.3),
    Goal(about="SQLite, 16 callers", case="everact: SQLite, 16 callers", over="huey SQLite, 16 callers", at_least=7),
    Goal(about="SQLite, 64 callers", case="everact: SQLite, 64 callers", over="huey SQLite, 16 callers", at_least=13),
    Goal(
        about="SQLite, dispatch_many(1000)",
        case="everact: SQLite, dispatch_many(1000)",
        over="huey SQLite, 1 caller",
        at_least=40,
    ),
    *(
        Goal(
            about=f"latency on SQLite, {figure.split()[0]}",
            case="everact: SQLite, dispatch to start",
            figure=figure,
            over="huey SQLite, dispatch to start",
            at_most=0.45,
        )
        for figure in ("p50 ms", "p99 ms")
    ),
    Goal(about="idle for a minute: % of a core", case="everact: SQLite, idle", figure="CPU %", at_most=0.1),
    Goal(about="beside a busy thread: tasks/s", case="everact: SQLite, beside a busy thread", at_least=5000),
    Goal(
        about="beside a busy thread",
        case="everact: SQLite, beside a busy thread",
        over="everact: SQLite, beside a busy thread, executemany",
        at_least=20,
    ),
    Goal(
        about="recovery of 10,000: seconds to the first run",
        case="everact: SQLite, 10,000 pending",
        figure="first run s",
        at_most=0.3,
    ),
    Goal(
        about="recovery of 10,000: drained",
        case="everact: SQLite, 10,000 pending",
        over="huey SQLite, 10,000 pending",
        at_least=10,
    ),
    Goal(
        about="1,000,000 waiting: MB over idle",
        case="everact: SQLite, 1,000,000 waiting",
        figure="MB over idle",
        at_most=150,
    ),
    Goal(
        about="1,000,000 waiting: dispatch rate, of that of the empty file",
        case="everact: SQLite, 1,000,000 waiting",
        figure="full/empty",
        at_least=0.8,
    ),
    *(
        Goal(
            about=f"metrics on, of off, {storage}",
            case=f"everact: {storage}, metrics on/off",
            figure="clock: median",
            at_least=0.95,
        )
        for storage in ("memory", "SQLite")
    ),
    *(
        Goal(
            about=f"1,000 handler types, {storage}",
            case=f"everact: {storage}, 1,000 types",
            over=f"everact: {storage}, 1 type",
            at_least=0.8,
        )
        for storage in ("memory", "SQLite")
    ),
)


def unanswered(goals: Iterable[Goal], results: Mapping[str, Sequence[Run]]) -> list[Goal]:
    """The goals whose cases were run and do not have the figure."""
    ran = [goal for goal in goals if results.get(goal.case) and (goal.over is None or results.get(goal.over))]
    return [goal for goal in ran if goal.measured(results) is None]
