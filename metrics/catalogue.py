"""All metrics in one table: their names, kinds, labels and help. What is not here is not exposed."""

from __future__ import annotations

from dataclasses import dataclass

TASK_LABELS = ("system", "task", "queue")
RUN_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
BATCH_BUCKETS = (1.0, 2.0, 5.0, 10.0, 25.0, 100.0, 500.0, 2000.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: As Prometheus stores it, `_total` of a counter included.
        kind: "counter", "gauge" or "histogram".
        help: What it counts or measures.
        labels: The names of its labels; their values come from closed sets.
        buckets: Upper bounds of a histogram, in its unit.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ("system",)
    buckets: tuple[float, ...] = ()


CATALOGUE: tuple[Metric, ...] = (
    Metric("everact_tasks_dispatched_total", "counter", "Tasks stored, follow-ups included.", TASK_LABELS),
    Metric("everact_tasks_started_total", "counter", "Attempts begun: calls of handle.", TASK_LABELS),
    Metric("everact_tasks_completed_total", "counter", "Tasks that ended COMPLETED.", TASK_LABELS),
    Metric("everact_tasks_failed_total", "counter", "Tasks that ended FAILED.", TASK_LABELS),
    Metric("everact_tasks_cancelled_total", "counter", "Tasks that ended CANCELLED.", TASK_LABELS),
    Metric("everact_tasks_retried_total", "counter", "Attempts that failed and are followed by another.", TASK_LABELS),
    Metric("everact_tasks_quarantined_total", "counter", "Tasks set aside: unreadable, or poison.", TASK_LABELS),
    Metric(
        "everact_workflows_total",
        "counter",
        "Workflows of several tasks, or with an undo, that went into a state.",
        ("system", "state"),
    ),
    Metric(
        "everact_compensations_total",
        "counter",
        "Undo entries that were played, that got stuck, or that were skipped.",
        ("system", "outcome"),
    ),
    Metric(
        "everact_restarts_total",
        "counter",
        "Failures of actors, by what supervision decided.",
        ("system", "actor", "directive"),
    ),
    Metric("everact_dead_letters_total", "counter", "Messages that no actor has handled to their end."),
    Metric("everact_events_dropped_total", "counter", "Events that slow subscribers missed."),
    Metric(
        "everact_task_queue_wait_seconds",
        "histogram",
        "From when a task was due to when its attempt began.",
        TASK_LABELS,
        RUN_BUCKETS,
    ),
    Metric("everact_task_run_seconds", "histogram", "How long attempts took.", TASK_LABELS, RUN_BUCKETS),
    Metric(
        "everact_commit_seconds",
        "histogram",
        "How long one transaction of the journal took.",
        ("system",),
        COMMIT_BUCKETS,
    ),
    Metric(
        "everact_commit_batch_writes",
        "histogram",
        "How many rows one transaction of the journal wrote.",
        ("system",),
        BATCH_BUCKETS,
    ),
    Metric("everact_tasks_ready", "gauge", "Tasks due that no cell has taken yet.", TASK_LABELS),
    Metric("everact_tasks_scheduled", "gauge", "Tasks due later, retries included.", TASK_LABELS),
    Metric("everact_tasks_running", "gauge", "Tasks that a cell has.", TASK_LABELS),
    Metric("everact_tasks_unhandled", "gauge", "Stored tasks whose type has no handler here."),
    Metric("everact_oldest_ready_age_seconds", "gauge", "How long the oldest ready task has been due.", TASK_LABELS),
    Metric("everact_mailbox_depth", "gauge", "Tasks waiting in the memory of this process.", TASK_LABELS),
    Metric("everact_actors_alive", "gauge", "Actors that have not ended.", ("system", "actor")),
    Metric("everact_pools_suspended", "gauge", "Handlers whose pool supervision has suspended."),
    Metric("everact_workflows_stuck", "gauge", "Workflows that wait for system.resume, up to 1,000."),
    Metric("everact_threads_abandoned", "gauge", "Threads left behind in user code that have not come back."),
    Metric("everact_storage_full", "gauge", "1 while new tasks are refused for want of room."),
    Metric("everact_build_info", "gauge", "Always 1; the versions are in the labels.", ("system", "version", "python")),
)
"""In the order in which they are exposed."""

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in CATALOGUE}
