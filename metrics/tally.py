"""What has happened, in plain numbers: counted in bulk after each commit, by one thread at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from everact.metrics.catalogue import BATCH_BUCKETS, COMMIT_BUCKETS, RUN_BUCKETS
from everact.tasks import status as st

MOST_VALUES = 200
"""How many task types, and how many queues, have series of their own; the rest share one."""
OTHER = "other"
MICROSECONDS = 1_000_000
BULK = 1024
"""So many values are gathered before they are sorted into buckets, which costs a third of doing that one by one."""


class Histogram:
    """Counts by bucket, and a sum, of values in a small whole unit.

    Args:
        bounds: Upper bounds as they are exposed.
        unit: How many of the small unit are one of the exposed; values and sum are in the small one.
    """

    __slots__ = ("bounds", "counts", "limits", "sum", "unit")

    def __init__(self, bounds: tuple[float, ...], unit: int = MICROSECONDS) -> None:
        self.bounds = bounds
        self.unit = unit
        self.limits = tuple(int(bound * unit) for bound in bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0

    def observe(self, values: Sequence[int]) -> None:
        """Count values; one below 0, which a clock that was set back makes, counts as 0."""
        ordered, below = sorted(values), 0
        for place, limit in enumerate(self.limits):
            upto = bisect_right(ordered, limit, lo=below)
            self.counts[place] += upto - below
            below = upto
        self.counts[-1] += len(ordered) - below
        self.sum += sum(ordered[bisect_right(ordered, 0) :])

    def with_more(self, values: Sequence[int]) -> Histogram:
        """A copy that has counted these as well."""
        copy = Histogram(self.bounds, self.unit)
        copy.counts, copy.sum = list(self.counts), self.sum
        copy.observe(values)
        return copy


class Pairs:
    """Two histograms of values that come together, gathered before they are counted.

    One thread at a time adds to `gathered`, in place: this is done for every task, and a call for each would cost as
    much again as the counting.

    Attributes:
        gathered: One value for the first histogram, one for the second, and so on by turns.
    """

    __slots__ = ("_first", "_lock", "_second", "gathered")

    def __init__(self, first: Histogram, second: Histogram, lock: AbstractContextManager[Any]) -> None:
        self.gathered: list[int] = []
        self._first = first
        self._second = second
        self._lock = lock

    def sort_in(self) -> None:
        """Count what has been gathered. Called by the one who gathers, when there is enough."""
        # With the lock, or a scrape could see a value twice, and the next one less than the last: a counter that
        # falls is one that was reset, to Prometheus.
        with self._lock:
            self._first.observe(self.gathered[::2])
            self._second.observe(self.gathered[1::2])
            self.gathered.clear()

    @property
    def first(self) -> Histogram:
        """The first one, with all that has been gathered."""
        with self._lock:
            return self._first.with_more(self.gathered[::2])

    @property
    def second(self) -> Histogram:
        """The second one."""
        with self._lock:
            return self._second.with_more(self.gathered[1::2])


class Series:
    """The numbers of one task type. One thread at a time adds to them.

    Attributes:
        task, queue: Its labels.
        dispatched: Tasks stored.
        ended: Outcomes by status; SCHEDULED is an attempt that is followed by another.
        times: Of attempts, in microseconds: from due to begun, from begun to ended.
    """

    __slots__ = ("dispatched", "ended", "queue", "task", "times")

    def __init__(self, task: str, queue: str, lock: AbstractContextManager[Any]) -> None:
        self.task = task
        self.queue = queue
        self.dispatched = 0
        self.ended = [0] * (st.QUARANTINED + 1)
        self.times = Pairs(Histogram(RUN_BUCKETS), Histogram(RUN_BUCKETS), lock)

    @property
    def wait(self) -> Histogram:
        """From due to begun."""
        return self.times.first

    @property
    def run(self) -> Histogram:
        """From begun to ended."""
        return self.times.second


class Tally:
    """The numbers of one system.

    Args:
        lock: Keeps a scrape and `Pairs.sort_in` apart.

    Attributes:
        series: By task type and queue.
        commits: Of the journal's transactions: microseconds, and rows that they wrote.
        decisions: What supervision decided, by kind of actor and directive.
        workflows: How often workflows went into each state.
        compensations: What undo entries have become.
    """

    def __init__(self, lock: AbstractContextManager[Any]) -> None:
        self.series: dict[tuple[str, str], Series] = {}
        self.commits = Pairs(Histogram(COMMIT_BUCKETS), Histogram(BATCH_BUCKETS, unit=1), lock)
        self.decisions: dict[tuple[str, str], int] = {}
        self.workflows: dict[str, int] = {}
        self.compensations: dict[str, int] = {}
        self._lock = lock
        self._tasks: set[str] = set()
        self._queues: set[str] = set()

    @property
    def commit_seconds(self) -> Histogram:
        """How long the transactions took."""
        return self.commits.first

    @property
    def commit_writes(self) -> Histogram:
        """How many rows each of them wrote."""
        return self.commits.second

    def series_of(self, task: str, queue: str) -> Series:
        """The numbers of a task type; above `MOST_VALUES` types or queues, of all the others together.

        Asked once per handler, when the system is built.
        """
        labels = _capped(task, self._tasks), _capped(queue, self._queues)
        if labels not in self.series:
            self.series[labels] = Series(*labels, self._lock)
        return self.series[labels]

    @property
    def others(self) -> Series:
        """The numbers of all task types that have no handler here, together."""
        return self.series_of(OTHER, OTHER)

    def moved(self, states: Iterable[str], entries: Iterable[str]) -> None:
        """Count workflows that went into these states, and what undo entries have become."""
        for counts, names in ((self.workflows, states), (self.compensations, entries)):
            for name in names:
                counts[name] = counts.get(name, 0) + 1

    def decided(self, actor: str, directive: str) -> None:
        """Count one decision. May be called from any thread."""
        with self._lock:
            self.decisions[actor, directive] = self.decisions.get((actor, directive), 0) + 1


def _capped(value: str, known: set[str]) -> str:
    if value not in known:
        if len(known) >= MOST_VALUES or value == OTHER:
            return OTHER
        known.add(value)
    return value
