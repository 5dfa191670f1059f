"""Where a Prometheus server scrapes: the apps, our own server, and the health beside it."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from everact import ActorSystem, Settings, task
from everact.metrics import CATALOGUE, COLLECTOR, REGISTRY, Server, make_asgi_app, make_wsgi_app, serve
from everact.metrics.prometheus import READERS
from everact.metrics.snapshot import SOURCES, Sources


@task
def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process leave systems behind as a kill would."""
    monkeypatch.setattr(SOURCES, "_sources", {})


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("shop", handlers=[add]) as running:
        running.dispatch(add.task(1, 2)).result(timeout=10)
        yield running


@pytest.fixture
def server(system: ActorSystem) -> Iterator[Server]:
    with serve(0) as running:
        yield running


def page() -> str:
    return generate_latest(REGISTRY).decode()


def value(text: str, name: str, **labels: str) -> float:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    (found,) = [each.value for each in samples if each.name == name and labels.items() <= each.labels.items()]
    return found


def fetch(server: Server, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def call_wsgi(app: Any, path: str = "/metrics") -> tuple[str, str]:
    statuses: list[str] = []
    environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "QUERY_STRING": ""}
    body = b"".join(app(environ, lambda status, headers: statuses.append(status)))
    return statuses[0], body.decode()


def call_asgi(app: Any) -> tuple[int, str]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


def test_the_page_has_every_metric_of_the_catalogue(system: ActorSystem) -> None:
    families = {line.split()[2] for line in page().splitlines() if line.startswith("# TYPE")}
    assert families == {metric.name for metric in CATALOGUE}
    assert set(READERS) == families


def test_the_page_counts_what_has_been_done(system: ActorSystem) -> None:
    text = page()
    labels = {"system": "shop", "task": f"{__name__}.add", "queue": "default"}
    for name in ("dispatched", "started", "completed"):
        assert value(text, f"everact_tasks_{name}_total", **labels) == 1
    assert value(text, "everact_task_run_seconds_count", **labels) == 1
    assert value(text, "everact_task_queue_wait_seconds_count", **labels) == 1


def test_the_server_answers_where_prometheus_looks_and_nowhere_else(server: Server) -> None:
    assert "everact_build_info" in fetch(server, "/metrics")[1]
    assert fetch(server, "/elsewhere") == (404, "try /metrics, /healthz or /readyz\n")


def test_the_server_listens_on_loopback_unless_it_is_told_otherwise(server: Server) -> None:
    assert server._server.server_address[0] == "127.0.0.1"


def test_a_closed_server_has_let_its_port_go(system: ActorSystem) -> None:
    first = serve(0)
    first.close()
    with serve(first.port) as second:
        assert second.port == first.port


def test_a_taken_port_is_said_at_once(server: Server) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(server.port)


def test_health_names_the_systems_and_turns_with_them(server: Server, system: ActorSystem) -> None:
    assert fetch(server, "/healthz") == (200, '{"ok": true, "systems": {"shop": "ok"}}')
    assert fetch(server, "/readyz")[0] == 200
    system._engine.node.pools[0].suspended = True  # type: ignore[union-attr]
    assert fetch(server, "/healthz") == (503, '{"ok": false, "systems": {"shop": "broken"}}')


def test_without_a_running_system_the_process_is_alive_but_not_ready() -> None:
    with serve(0) as server:
        assert fetch(server, "/healthz") == (200, '{"ok": true, "systems": {}}')
        assert json.loads(fetch(server, "/readyz")[1]) == {"ok": False, "systems": {}}
        assert fetch(server, "/readyz")[0] == 503


def test_the_wsgi_and_the_asgi_app_show_the_same(system: ActorSystem) -> None:
    status, body = call_wsgi(make_wsgi_app())
    assert status == "200 OK"
    code, asynchronous = call_asgi(make_asgi_app())
    assert code == 200
    assert value(body, "everact_build_info", system="shop") == value(asynchronous, "everact_build_info", system="shop")


def test_a_registry_of_the_callers_own_shows_both(system: ActorSystem) -> None:
    registry = CollectorRegistry()
    Counter("shop_orders", "Orders.", registry=registry).inc()
    for app in (make_wsgi_app(registry), make_wsgi_app(registry)):  # asked for twice, added once
        text = call_wsgi(app)[1]
        assert value(text, "shop_orders_total") == 1
        assert value(text, "everact_build_info", system="shop") == 1


def test_the_collector_can_be_registered_by_hand(system: ActorSystem) -> None:
    registry = CollectorRegistry()
    registry.register(COLLECTOR)
    assert "everact_build_info" in generate_latest(registry).decode()


def test_a_system_that_has_stopped_is_not_exposed_any_more() -> None:
    with ActorSystem("brief"):
        assert 'system="brief"' in page()
    assert 'system="brief"' not in page()


def test_metrics_can_be_off() -> None:
    with ActorSystem("silent", handlers=[add], settings=Settings(metrics=False)) as system:
        assert system.dispatch(add.task(1, 2)).result(timeout=10) == 3
        assert 'system="silent"' not in page()


def test_two_systems_of_one_name_are_told_apart() -> None:
    with ActorSystem("twin", handlers=[add]) as one, ActorSystem("twin", handlers=[add]) as two:
        one.dispatch(add.task(1, 2)).result(timeout=10)
        two.dispatch_many([add.task(1, 2)] * 2)[-1].result(timeout=10)
        two.wait_idle(10)
        text = page()
        assert value(text, "everact_tasks_completed_total", system="twin") == 1
        assert value(text, "everact_tasks_completed_total", system="twin-2") == 2


def test_a_system_that_was_given_up_without_a_stop_is_let_go() -> None:
    system = ActorSystem("lost")
    system.start()
    meter = system._engine.meter  # type: ignore[union-attr]
    assert meter is not None
    lonely = Sources()
    lonely.add(meter)
    meter.close()
    assert [label for label, _ in lonely.all()] == ["lost"]
    system.stop()
    del system, meter
    gc.collect()
    assert lonely.all() == []


def test_a_system_that_cannot_be_read_keeps_no_other_from_being_scraped(system: ActorSystem, caplog: Any) -> None:
    with ActorSystem("broken") as broken:
        broken._engine.meter.snapshot = lambda: 1 / 0  # type: ignore[union-attr, method-assign]
        text = page()
    assert value(text, "everact_build_info", system="shop") == 1
    assert 'system="broken"' not in text
    assert "the metrics of broken cannot be read" in caplog.text


def test_labels_that_nobody_would_choose_are_escaped() -> None:
    @task(name='evil"\n\\name')
    def evil() -> None:
        return None

    with ActorSystem('a "b"\n\\', handlers=[evil]) as system:
        system.dispatch(evil.task()).result(timeout=10)
        assert value(page(), "everact_tasks_completed_total", task='evil"\n\\name', system='a "b"\n\\') == 1


def test_scrapes_and_work_do_not_disturb_each_other(system: ActorSystem) -> None:
    ended = threading.Event()
    failures: list[BaseException] = []

    def scrape() -> None:
        try:
            while not ended.is_set():
                page()
        except BaseException as error:
            failures.append(error)

    scraper = threading.Thread(target=scrape)
    scraper.start()
    system.dispatch_many([add.task(1, 2)] * 3000)
    system.wait_idle(30)
    ended.set()
    scraper.join(10)
    assert failures == []
    assert value(page(), "everact_tasks_completed_total", system="shop") == 3001


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong_with_a_scrape(server: Server) -> None:
    text = fetch(server, "/metrics")[1]
    run = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
