"""Over any history the counters are the counts of what was told to subscribers, and every gauge goes back to 0."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from everact import Actor, ActorSystem, Retry, TaskContext, TaskHandler, events
from everact.metrics import CATALOGUE, REGISTRY

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
GAUGES = ("ready", "scheduled", "running", "everact_mailbox_depth", "everact_oldest_ready_age_seconds")
QUIET = {
    "everact_tasks_unhandled": 0,
    "everact_pools_suspended": 0,
    "everact_threads_abandoned": 0,
    "everact_workflows_stuck": 0,
    "everact_storage_full": 0,
    "everact_build_info": 1,
    "everact_actors_alive internal": 3,
    "everact_actors_alive handler": 2,  # the concurrency of the handler
    "everact_actors_alive user": 0,  # what was spawned has been stopped again
}
"""What the gauges of the whole system say when all has come to rest."""


def test_every_gauge_of_the_catalogue_is_looked_at_here() -> None:
    looked_at = {name if name.startswith("everact_") else f"everact_tasks_{name}" for name in GAUGES}
    looked_at |= {name.partition(" ")[0] for name in QUIET}
    assert looked_at == {metric.name for metric in CATALOGUE if metric.kind == "gauge"}


def exposed(system: ActorSystem) -> dict[str, float]:
    """Values of the system's own task by metric name, `everact_tasks_` and `_total` left off."""
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.name.removeprefix("everact_tasks_").removesuffix("_total"): sample.value
        for sample in samples
        if sample.labels.get("system") == system.name and sample.labels.get("task") == "Step"
    }


def exposed_at_rest(system: ActorSystem) -> dict[str, float]:
    """What is exposed once no mailbox holds a task any more: one that was cancelled stays until a cell comes to it."""
    deadline = time.monotonic() + WAIT
    while (values := exposed(system)).get("everact_mailbox_depth") and time.monotonic() < deadline:
        time.sleep(0.01)
    return values


def exposed_of_the_whole(system: ActorSystem) -> dict[str, float]:
    """Values of the gauges that belong to no task, by name and kind of actor."""
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    gauges = [sample for family in families if family.type == "gauge" for sample in family.samples]
    return {
        f"{sample.name} {sample.labels.get('actor', '')}".strip(): sample.value
        for sample in gauges
        if sample.labels.get("system") == system.name and "task" not in sample.labels
    }


class Echo(Actor):
    def on_receive(self, message: object) -> object:
        return message


def live_and_die(system: ActorSystem, actors: int) -> float:
    """Spawn some actors and stop them again; returns how many the gauge has shown in between."""
    spawned = [system.spawn(Echo) for _ in range(actors)]
    shown = exposed_of_the_whole(system)["everact_actors_alive user"]
    for ref in spawned:
        ref.stop()
    return shown


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


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["memory", "sqlite"])
@settings(max_examples=40, deadline=None)
@given(program=PROGRAMS, actors=st.integers(1, 3))
def test_counters_equal_the_events_and_gauges_return_to_nothing(
    storage: str, program: list[tuple[Step, float | None, bool]], actors: int
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
            assert live_and_die(system, actors) == actors
            run(system, program)
            counted, whole = exposed_at_rest(system), exposed_of_the_whole(system)
            started = sum(record.attempt for record in system.tasks(limit=10_000))
    # Leaving the block has waited for the subscribers.
    assert {name: counted[name] for name in COUNTED.values()} == {name: told[name] for name in COUNTED.values()}
    assert counted["started"] >= started  # an attempt that a cancel has met is one, though it does not count as such
    assert {gauge: counted[gauge] for gauge in GAUGES} == dict.fromkeys(GAUGES, 0)
    assert whole == QUIET
