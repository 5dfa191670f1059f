"""Over any history the counters are the counts of what was told to subscribers, and every gauge goes back to 0."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from everact import ActorSystem, Retry, TaskContext, TaskHandler, events
from everact.metrics import REGISTRY

WAIT = 30.0


@dataclass(frozen=True)
class Step:
    """What one task does: fail so often, then dispatch so many."""

    failures: int
    children: int


class StepHandler(TaskHandler[Step]):
    retry = Retry(attempts=3, delay=0)
    task_name = "Step"
    concurrency = 2

    def handle(self, task: Step, ctx: TaskContext) -> None:
        if ctx.attempt <= task.failures:
            raise ValueError(task)
        for _ in range(task.children):
            ctx.dispatch(Step(0, 0))

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        ctx.dispatch(Step(0, 0))


STEPS = st.builds(Step, st.integers(0, 4), st.integers(0, 2))
DELAYS = st.sampled_from([None, 3600.0])
PROGRAMS = st.lists(st.tuples(STEPS, DELAYS, st.booleans()), max_size=12)
COUNTED = {
    events.TaskDispatched: "dispatched",
    events.TaskCompleted: "completed",
    events.TaskFailed: "failed",
    events.TaskCancelled: "cancelled",
    events.TaskRetried: "retried",
}
GAUGES = ("ready", "scheduled", "running")


def exposed(system: ActorSystem) -> dict[str, float]:
    """Values of the system's own task by metric name, `everact_tasks_` and `_total` left off."""
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.name.removeprefix("everact_tasks_").removesuffix("_total"): sample.value
        for sample in samples
        if sample.labels.get("system") == system.name and sample.labels.get("task") == "Step"
    }


def run(system: ActorSystem, program: list[tuple[Step, float | None, bool]]) -> None:
    later = []
    for step, delay, cancel in program:
        handle = system.dispatch(step, delay=delay)
        if cancel:
            handle.cancel()
        elif delay == 3600.0:
            later.append(handle.id)
    if later:
        system.cancel_many(later)
    system.wait_idle(WAIT)


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
@settings(max_examples=40, deadline=None)
@given(program=PROGRAMS)
def test_counters_equal_the_events_and_gauges_return_to_nothing(
    storage: str, program: list[tuple[Step, float | None, bool]]
) -> None:
    told: Counter[str] = Counter()

    def count(event: events.Event) -> None:
        if type(event) in COUNTED:
            told[COUNTED[type(event)]] += 1

    with tempfile.TemporaryDirectory() as folder:
        url = "memory://" if storage == "memory" else f"sqlite:///{Path(folder) / 'x.db'}?durability=process"
        system = ActorSystem("history", handlers=[StepHandler], storage=url)
        system.events.subscribe(count)
        with system:
            run(system, program)
            counted = exposed(system)
            started = sum(record.attempt for record in system.tasks(limit=10_000))
    # Leaving the block has waited for the subscribers.
    assert {name: counted[name] for name in COUNTED.values()} == {name: told[name] for name in COUNTED.values()}
    assert counted["started"] >= started  # an attempt that a cancel has met is one, though it does not count as such
    assert [counted[gauge] for gauge in GAUGES] == [0, 0, 0]
    assert counted["everact_mailbox_depth"] == counted["everact_oldest_ready_age_seconds"] == 0
