"""A real Prometheus server scrapes a system at work, and in the end says of every counter what the system says."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from everact import Actor, ActorSystem, Backoff, ChildSpec, Retry, TaskContext, TaskStatus, WorkflowState, task
from everact.metrics import CATALOGUE, Server, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]
WAIT = 60.0
ONCE = Retry(attempts=1)
AT_ONCE = Backoff(0, most=0, jitter=0)


@task(name="Good")
def good(n: int) -> int:
    return n


@task(name="Bad", retry=Retry(attempts=3, delay=0))
def bad(n: int) -> int:
    raise ValueError(n)


@task(name="Parent")
def parent(ctx: TaskContext, n: int) -> None:
    ctx.dispatch(good.task(n))


@task(name="Book", retry=ONCE)
def book(ctx: TaskContext, outcome: str) -> None:
    ctx.compensate_with(unbook.task(outcome))
    ctx.dispatch(pay.task(outcome))


@task(name="Unbook", retry=ONCE)
def unbook(outcome: str) -> None:
    if outcome != "undone":
        raise ValueError(outcome)


@task(name="Pay", retry=ONCE)
def pay(outcome: str) -> None:
    raise ValueError(outcome)


def raise_workflows(system: ActorSystem) -> None:
    for outcome, count in (("undone", 5), ("stuck", 2), ("skipped", 1)):
        booked = system.dispatch_many([book.task(outcome)] * count)
        until(lambda booked=booked: all(over(system, handle.id) for handle in booked))
        if outcome == "skipped":
            system.resume(booked[0].id, skip=True, note="by hand")
            system.wait_workflow(booked[0].id, WAIT)


def over(system: ActorSystem, workflow_id: UUID) -> bool:
    return system.workflow(workflow_id).state in (WorkflowState.COMPENSATED, WorkflowState.STUCK)


@task(name="Broken")
def broken_before(n: int) -> int:
    return n


@task(name="Broken")
def broken(text: str) -> str:
    return text


LABELS = ("task", "directive", "state", "outcome")


class Fragile(Actor):
    def on_receive(self, message: str) -> None:
        raise ValueError(message)


class Prometheus:
    """A server process of our own, and its query API."""

    def __init__(self, folder: Path, target: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = folder / "prometheus.yml"
        scrape = f"scrape_configs: [{{job_name: everact, static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}]"
        config.write_text(f"global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\n{scrape}\n", encoding="utf-8")
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(command, cwd=folder, stdout=self.log, stderr=self.log)

    def query(self, expression: str) -> dict[frozenset[tuple[str, str]], float]:
        """Values by labels; nothing while it is not up."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return {}
        return {frozenset(each["metric"].items()): float(each["value"][1]) for each in found}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@contextmanager
def scraped(folder: Path) -> Iterator[tuple[Prometheus, Server]]:
    with serve(0) as server:
        prometheus = Prometheus(folder, server.port)
        try:
            yield prometheus, server
        finally:
            prometheus.close()


def raise_every_counter(system: ActorSystem) -> None:
    """A load in which everything that is counted happens at least once."""
    stuck = threading.Event()
    unsubscribe = system.events.subscribe(lambda event: stuck.wait(WAIT))
    for number in range(6):
        system.dispatch_many([good.task(number)] * 2000)
        system.dispatch_many([parent.task(number)] * 20)
        system.dispatch_many([bad.task(number)] * 5)
    cancelled = system.dispatch_many([good.task(0)] * 7, delay=3600)
    system.cancel_many(handle.id for handle in cancelled)
    raise_workflows(system)
    fragile = system.spawn(Fragile, spec=ChildSpec(backoff=AT_ONCE))
    for _ in range(3):
        fragile.tell("fail")
    system.wait_idle(WAIT)
    stuck.set()
    unsubscribe()
    until(lambda: len(system.dead_letters()) == 3 and restarts_of(system) == 3)


def restarts_of(system: ActorSystem) -> int:
    return sum(info.restarts for info in system.actors() if info.kind == "Fragile")


def until(condition: object) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def own_counts(system: ActorSystem) -> dict[tuple[str, str], float]:
    """What the system says itself, from its records: by counter and task type, or what else the counter is by."""
    records = system.tasks(limit=1_000_000)
    counted: Counter[tuple[str, str]] = Counter()
    for record in records:
        kind = record.type
        counted["dispatched", kind] += 1
        counted[str(record.status), kind] += 1
        if record.status is not TaskStatus.QUARANTINED:
            counted["started", kind] += record.attempt
        if record.status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
            counted["retried", kind] += record.attempt - 1
    counted["dispatched", "Broken"] = 0  # by the system before
    for workflow in system.workflows(limit=1_000_000):
        undone = any(entry.state in ("played", "stuck", "skipped") for entry in workflow.undo_log)
        stuck = any(entry.state in ("stuck", "skipped") for entry in workflow.undo_log)
        counted["workflows", "compensating"] += undone
        counted["workflows", "stuck"] += stuck
        counted["workflows", str(workflow.state.value)] += workflow.state.final
        for entry in workflow.undo_log:
            counted["compensations", entry.state] += 1
            counted["compensations", "stuck"] += entry.state == "skipped"
    counted["restarts", "restart"] = restarts_of(system)
    counted["dead_letters", ""] = len(system.dead_letters())
    counted["events_dropped", ""] = system.health().dropped_events
    return {key: count for key, count in counted.items() if count}


def scraped_counts(prometheus: Prometheus) -> dict[tuple[str, str], float]:
    """What Prometheus has, in the same form, for every counter of the catalogue."""
    counted: dict[tuple[str, str], float] = {}
    for metric in CATALOGUE:
        if metric.kind == "counter":
            short = metric.name.removeprefix("everact_").removeprefix("tasks_").removesuffix("_total")
            for labels, value in prometheus.query(f'{metric.name}{{system="shop"}}').items():
                by = dict(labels)
                counted[short, next((by[label] for label in LABELS if label in by), "")] = value
    return {key: value for key, value in counted.items() if value}


def test_the_counters_in_prometheus_are_the_counts_of_the_system(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}?durability=process"
    with ActorSystem("before", handlers=[broken_before], storage=url) as before:
        before.dispatch(broken_before.task(1), delay=0.01)
        before._engine.node.pools[0].suspended = True  # type: ignore[union-attr]
    with (
        ActorSystem("shop", handlers=[good, bad, parent, book, unbook, pay, broken], storage=url) as system,
        scraped(tmp_path) as (prometheus, _),
    ):
        until(lambda: prometheus.query('up{job="everact"} == 1'))
        raise_every_counter(system)
        until(lambda: system.counts()[TaskStatus.QUARANTINED] == 1)
        own = own_counts(system)
        counters = {metric.name for metric in CATALOGUE if metric.kind == "counter"}
        assert len({short for short, _ in own}) == len(counters), "the load does not raise every counter"
        until(lambda: scraped_counts(prometheus) == own)  # at the next scrape
        assert prometheus.query('sum(everact_tasks_running{system="shop"})') == {frozenset(): 0}
        until(lambda: prometheus.query('sum(everact_tasks_ready{system="shop"})') == {frozenset(): 0})
        waited = prometheus.query('sum(everact_task_queue_wait_seconds_count{system="shop"})')
        assert waited == {frozenset(): sum(count for (short, _), count in own.items() if short == "started")}


def test_a_counter_that_misses_one_would_be_found(tmp_path: Path) -> None:
    with (
        ActorSystem("shop", handlers=[good]) as system,
        scraped(tmp_path) as (prometheus, _),
    ):
        system.dispatch_many([good.task(1)] * 10)
        system.wait_idle(WAIT)
        series = system._engine.meter.tally.series["Good", "default"]  # type: ignore[union-attr]
        series.ended[TaskStatus.COMPLETED] -= 1
        until(lambda: scraped_counts(prometheus))
        assert scraped_counts(prometheus) != own_counts(system)
