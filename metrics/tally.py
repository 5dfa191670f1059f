"""What has happened, in plain numbers: counted in bulk after each commit, by one thread at a time."""

from __future__ import annotations

from bisect import bisect_left

from everact.metrics.catalogue import BATCH_BUCKETS, COMMIT_BUCKETS, RUN_BUCKETS
from everact.tasks import status as st

MOST_VALUES = 200
"""How many task types, and how many queues, have series of their own; the rest share one."""
OTHER = "other"
MICROSECONDS = 1_000_000
SHORTEST = int(RUN_BUCKETS[0] * MICROSECONDS)


class Histogram:
    """Counts by bucket, and a sum, of values in a small whole unit. A tenth of what prometheus_client's costs.

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

    def observe(self, value: int) -> None:
        """Count one value."""
        self.counts[bisect_left(self.limits, value)] += 1
        self.sum += value


class Series:
    """The numbers of one task type.

    Attributes:
        task, queue: Its labels.
        dispatched: Tasks stored.
        ended: Outcomes by status; SCHEDULED is an attempt that is followed by another.
        wait: From due to begun.
        run: From begun to ended.
    """

    __slots__ = ("dispatched", "ended", "queue", "run", "task", "wait")

    def __init__(self, task: str, queue: str) -> None:
        self.task = task
        self.queue = queue
        self.dispatched = 0
        self.ended = [0] * (st.QUARANTINED + 1)
        self.wait = Histogram(RUN_BUCKETS)
        self.run = Histogram(RUN_BUCKETS)

    def attempt(self, due: int, started: int, ended: int) -> None:
        """Measure one attempt; times in microseconds. A clock that was set back in between measures as 0."""
        # Written out, as this is done once per task: most values are in the first bucket.
        wait, run, first = self.wait, self.run, SHORTEST
        value = started - due
        if value > first:
            wait.observe(value)
        else:
            wait.counts[0] += 1
            if value > 0:
                wait.sum += value
        value = ended - started
        if value > first:
            run.observe(value)
        else:
            run.counts[0] += 1
            if value > 0:
                run.sum += value


class Tally:
    """The numbers of one system.

    Attributes:
        series: By task type and queue.
        commit_seconds, commit_writes: Of the journal's transactions.
        decisions: What supervision decided, by kind of actor and directive.
    """

    def __init__(self) -> None:
        self.series: dict[tuple[str, str], Series] = {}
        self.commit_seconds = Histogram(COMMIT_BUCKETS)
        self.commit_writes = Histogram(BATCH_BUCKETS, unit=1)
        self.decisions: dict[tuple[str, str], int] = {}
        self._tasks: set[str] = set()
        self._queues: set[str] = set()

    def series_of(self, task: str, queue: str) -> Series:
        """The numbers of a task type; above `MOST_VALUES` types or queues, of all the others together.

        Asked once per handler, when the system is built.
        """
        labels = _capped(task, self._tasks), _capped(queue, self._queues)
        if labels not in self.series:
            self.series[labels] = Series(*labels)
        return self.series[labels]

    @property
    def others(self) -> Series:
        """The numbers of all task types that have no handler here, together."""
        return self.series_of(OTHER, OTHER)

    def decided(self, actor: str, directive: str) -> None:
        """Count one decision. Called by one thread at a time."""
        self.decisions[actor, directive] = self.decisions.get((actor, directive), 0) + 1


def _capped(value: str, known: set[str]) -> str:
    if value not in known:
        if len(known) >= MOST_VALUES or value == OTHER:
            return OTHER
        known.add(value)
    return value
