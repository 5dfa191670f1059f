"""From a system's numbers to Prometheus' families. The only module that knows prometheus_client's types."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from everact.metrics.catalogue import CATALOGUE, Metric
from everact.metrics.snapshot import SOURCES, Snapshot, Source, Sources
from everact.metrics.tally import Histogram
from everact.tasks import status as st

logger = logging.getLogger("everact.metrics")
Sample = tuple[tuple[str, ...], float | Histogram]
Reader = Callable[[Source, Snapshot], Iterable[Sample]]


class SystemsCollector(Collector):
    """Collects the metrics of all running systems of this process.

    Give it to a registry of your own, or use `everact.metrics.REGISTRY`, which has it. A scrape costs what the number
    of series costs; it never reads the backlog.
    """

    def __init__(self, sources: Sources = SOURCES) -> None:
        self._sources = sources

    def describe(self) -> Iterable[Family]:
        """Nothing: registering must not collect."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Make the families, in the order of the catalogue."""
        seen = [(label, read(source)) for label, source in self._sources.all()]
        for metric in CATALOGUE:
            family = _family(metric)
            for label, samples in seen:
                for labels, value in samples.get(metric.name, ()):
                    _add(family, (label, *labels), value)
            yield family


def read(source: Source) -> dict[str, list[Sample]]:
    """All samples of one system, by metric; none if it cannot be read, so that the others can be."""
    try:
        snapshot = source.snapshot()
        return {name: list(reader(source, snapshot)) for name, reader in READERS.items()}
    except Exception:
        logger.exception("the metrics of %s cannot be read", source.name)
        return {}


def _family(metric: Metric) -> Family:
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    if metric.kind == "gauge":
        return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def _add(family: Family, labels: tuple[str, ...], value: float | Histogram) -> None:
    if isinstance(value, Histogram):
        family.add_metric(labels, _buckets(value), value.sum / value.unit)  # type: ignore[attr-defined]
    else:
        family.add_metric(labels, value)  # type: ignore[attr-defined]


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    counts, total = list(histogram.counts), 0
    bounds = [*map(str, histogram.bounds), "+Inf"]
    buckets: list[tuple[str, float]] = []
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets


# Where each metric is read


def _ended(status: int, source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    for series in list(source.tally.series.values()):
        yield (series.task, series.queue), series.ended[status]


def _series(name: str, source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    for series in list(source.tally.series.values()):
        yield (series.task, series.queue), getattr(series, name)


def _task(name: str, source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    for state in snapshot.tasks:
        yield (state.task, state.queue), getattr(state, name)


def _tally(name: str, source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    yield (), getattr(source.tally, name)


def _state(name: str, source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    yield (), float(getattr(snapshot, name))


def _decisions(source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    yield from list(source.tally.decisions.items())


def _counts(name: str, source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    for label, count in list(getattr(source.tally, name).items()):
        yield (label,), count


def _alive(source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    for kind, count in snapshot.alive.items():
        yield (kind,), count


def _build(source: Source, snapshot: Snapshot) -> Iterator[Sample]:  # noqa: ARG001 - a Reader
    yield (source.version, platform.python_version()), 1.0


READERS: dict[str, Reader] = {
    "everact_tasks_dispatched_total": partial(_series, "dispatched"),
    "everact_tasks_started_total": partial(_task, "started"),
    "everact_tasks_completed_total": partial(_ended, st.COMPLETED),
    "everact_tasks_failed_total": partial(_ended, st.FAILED),
    "everact_tasks_cancelled_total": partial(_ended, st.CANCELLED),
    "everact_tasks_retried_total": partial(_ended, st.SCHEDULED),
    "everact_tasks_quarantined_total": partial(_ended, st.QUARANTINED),
    "everact_workflows_total": partial(_counts, "workflows"),
    "everact_compensations_total": partial(_counts, "compensations"),
    "everact_restarts_total": _decisions,
    "everact_dead_letters_total": partial(_state, "dead_letters"),
    "everact_events_dropped_total": partial(_state, "dropped_events"),
    "everact_task_queue_wait_seconds": partial(_series, "wait"),
    "everact_task_run_seconds": partial(_series, "run"),
    "everact_commit_seconds": partial(_tally, "commit_seconds"),
    "everact_commit_batch_writes": partial(_tally, "commit_writes"),
    "everact_tasks_ready": partial(_task, "ready"),
    "everact_tasks_scheduled": partial(_task, "scheduled"),
    "everact_tasks_running": partial(_task, "running"),
    "everact_tasks_unhandled": partial(_state, "unhandled"),
    "everact_oldest_ready_age_seconds": partial(_task, "oldest"),
    "everact_mailbox_depth": partial(_task, "depth"),
    "everact_actors_alive": _alive,
    "everact_pools_suspended": partial(_state, "suspended"),
    "everact_workflows_stuck": partial(_state, "stuck"),
    "everact_threads_abandoned": partial(_state, "abandoned"),
    "everact_storage_full": partial(_state, "full"),
    "everact_build_info": _build,
}

COLLECTOR = SystemsCollector()
REGISTRY = CollectorRegistry()
"""everact's own registry: the metrics of all systems of this process, and nothing else."""
REGISTRY.register(COLLECTOR)
