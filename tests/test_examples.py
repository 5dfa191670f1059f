"""The examples run as a user runs them, and tell what they promise."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: str, cwd: Path) -> list[str]:
    """Run an example and return the lines that it prints; it must end well, and without a word on stderr."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],  # a full path stands for itself
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def chapters(lines: list[str]) -> dict[str, list[str]]:
    """The story by its chapters; within one, what runs side by side comes in any order, so lines are sorted."""
    told: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("  "):
            told[list(told)[-1]].append(line.strip())
        else:
            told[line] = []
    return {title: sorted(chapter) for title, chapter in told.items()}


@pytest.mark.parametrize("arguments", [[], ["--memory"]])
def test_the_saga_example_undoes_what_it_must_and_nothing_else(tmp_path: Path, arguments: list[str]) -> None:
    lines = [line.strip() for line in run("order_saga.py", *arguments, cwd=tmp_path)]
    titles = ["All goes well", "The card is declined", "Cancelled half-way", "The refund fails too"]
    starts = [lines.index(title) for title in titles]
    story = {lines[a]: lines[a + 1 : b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)}
    well = ["reserved", "charged 80", "picked", "shipped from shelf-1"]
    assert story["All goes well"][:-1] == [f"order 1: {step}" for step in well]
    assert story["The card is declined"] == [
        "order 2: reserved",
        "order 2: released (completed)",
        "compensated: ValueError: card declined",
    ]
    cancelled = story["Cancelled half-way"]
    assert cancelled[-1] == "compensated"
    assert [line for line in cancelled if line.startswith("order 3")] == [
        "order 3: reserved",
        "order 3: charged 30",
        "order 3: refunded payment-3",
        "order 3: released (completed)",
    ]
    assert story["The refund fails too"][3:] == [
        "undo pending",
        "undo stuck",
        "order 4: refunded payment-4",
        "order 4: released (completed)",
        "compensated",
    ]


def test_the_quickstart_prints_its_result_and_keeps_its_task_on_disk(tmp_path: Path) -> None:
    assert run("quickstart.py", cwd=tmp_path) == ["3"]
    assert (tmp_path / "demo.db").exists()
    assert run("quickstart.py", cwd=tmp_path) == ["3"]  # on the same file again


@pytest.mark.parametrize("arguments", [[], ["--memory"]])
def test_the_orders_example_tells_the_whole_story(tmp_path: Path, arguments: list[str]) -> None:
    story = chapters(run("orders.py", *arguments, cwd=tmp_path))
    expected = {
        "Basic continuation": ["products read from spring.csv", "catalogue published"],
        "Passing context": ["invoice-ada-1200 mailed, 2 copies, for visit-42"],
        "Conditional continuation": ["order 1: mailed: your payment failed"],
        "Error handling with continuations": [
            "order 2: attempt 1",
            "order 2: attempt 2",
            "order 2: attempt 3",
            "order 2: rolled back",
            "alert: the warehouse does not answer",
            "order 2: failed after 3 attempts",
        ],
        "Complex workflow": [
            "order 3: valid",
            "order 3: mailed: receipt",
            "order 3: reserved",
            "order 3: shipped",
            "order 3: mailed: confirmation",
            "order 3: workflow completed, 6 tasks",
        ],
        "Cancelling a pending task": ["reminder: cancelled"],
        "Cancelling a running task, with clean-up in its hooks": [
            "stock count: ladder put away",
            "stock count: signalled",
            "aisles open again: customers waiting",
            "stock count: cancelled",
        ],
        "Bulk cancellation": ["newsletters: 5 cancelled"],
        "Rescheduling": [f"parcel 10: look {look}" for look in (1, 2, 3, 4)],
    }
    assert list(story) == list(expected)
    assert story == {title: sorted(lines) for title, lines in expected.items()}
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


def test_the_async_example_crawls_and_cancels_and_closes_its_clients(tmp_path: Path) -> None:
    assert run("async_handlers.py", cwd=tmp_path) == [
        "the front page links to /about /news",
        "pages crawled: 4",
        "fetched side by side: [[], ['/news/1']]",
        "the slow page was cancelled",
        "clients still open: 0",
    ]


def test_the_example_of_tests_passes_and_finds_what_is_broken_in_its_shop(tmp_path: Path) -> None:
    source = (EXAMPLES / "test_order_saga.py").read_text(encoding="utf-8")
    assert pytest_on(tmp_path, source) == (0, 0)
    for test, right, wrong in (
        ("agree", "key=ctx.task_id", "key=object()"),  # a bank that is asked again charges again
        ("paid_back", "Step(reserve, undo=release)", "Step(reserve)"),
        # Takes for granted that there was a charge.
        ("cancelled", "self.paid.pop(order.number, None)", "self.paid[order.number] -= order.amount"),
    ):
        assert right in source
        code, failed = pytest_on(tmp_path, source.replace(right, wrong), "-k", test)
        assert (code, failed) == (1, 1), wrong


def pytest_on(folder: Path, source: str, *options: str) -> tuple[int, int]:
    """Run pytest on a file, as a user does; its exit code, and how many tests have failed."""
    (folder / "test_order_saga.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_everact", *options]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take more time to start than this to run
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout.count("\nFAILED ")


BASES = {"everact": "from everact import Actor", "pykka": "from pykka import ThreadingActor as Actor"}


@pytest.mark.parametrize("base", BASES)
def test_a_pykka_program_prints_the_same_with_either_base_class(tmp_path: Path, base: str) -> None:
    before, found, after = (EXAMPLES / "pykka_program.py").read_text(encoding="utf-8").partition(BASES["everact"])
    assert found
    assert "everact" not in after  # the one line is all that is changed
    program = tmp_path / "program.py"
    program.write_text(before + BASES[base] + after, encoding="utf-8")
    assert run(str(program), cwd=tmp_path) == [
        "entries: 2",
        "refused: 42 is no entry",
        "The guest book closes with ['Ada was here', 'so was Bob']",
        "stopped: True False",
        "nobody is there any more",
        "the oven has 180 degrees in steps [60, 120, 180]",
        "set to 20 degrees",
        "in Kelvin: 293",
        "sold 3 of 3",
        "sold 2 of 4",
        "left: 0",
        "words: [1, 2, 3, 0, 5, 2] in all 13",
        "actors that are left: ['Counter', 'Counter', 'Counter', 'Oven', 'Stock', 'Till', 'Till']",
        "all stopped: True",
    ]


def test_every_example_is_tested() -> None:
    tested = {"quickstart.py", "orders.py", "order_saga.py", "test_order_saga.py"}
    tested |= {"async_handlers.py", "pykka_program.py", "fastapi_app.py"}
    assert {file.name for file in EXAMPLES.glob("*.py")} == tested


def test_the_fastapi_example_dispatches_and_shows_its_metrics(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_app:app", "--port", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            until(lambda: answers(client, "/healthz"))
            assert client.get("/healthz").json() == {"ok": True}
            task_id = client.post("/orders/7").json()["task"]
            until(lambda: client.get(f"/tasks/{task_id}").json()["status"] == "completed")
            assert client.get(f"/tasks/{task_id}").json()["result"] == "order 7 shipped"
            page = client.get("/metrics/").text
            assert 'everact_tasks_completed_total{queue="default",system="shop",task="ShipOrder"} 1.0' in page
    finally:
        server.terminate()
        assert server.wait(20) in {0, -signal.SIGTERM}  # uvicorn has stopped the application, and goes by the signal
    assert running_incarnations(tmp_path / "shop.db") == 0  # its lifespan has stopped the system


def running_incarnations(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM incarnation WHERE ended IS NULL").fetchone()[0])


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
