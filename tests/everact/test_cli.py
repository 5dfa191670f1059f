"""The command line against real databases: what it prints, what it leaves behind, and how it ends."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from everact import ActorSystem, Retry, TaskStatus, task
from everact.cli import main
from everact.cli_text import printable

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\r\n\x9b2J\u202egnp.exe"
UNKNOWN = "00000000-0000-7000-8000-000000000000"
TASK_FIELDS = {
    "id",
    "type",
    "status",
    "workflow_id",
    "parent_id",
    "attempt",
    "result",
    "error",
    "key",
    "priority",
    "queue",
    "tags",
    "headers",
    "due",
    "created",
    "started",
    "finished",
    "retry_of",
    "cancel_requested",
    "crashes",
    "kind",
}


@task(name="shop.Double")
def double(n: int) -> int:
    return 2 * n


@task(name="shop.Fail", retry=Retry(attempts=1))
def fail(text: str) -> None:
    raise RuntimeError(text)


@task(name="shop.TryLater", retry=Retry(attempts=2, delay=3600, max_delay=3600))
def try_later() -> None:
    raise OSError("not now")


@task(name=f"evil {HOSTILE}", retry=Retry(attempts=1))
def evil(text: str) -> None:
    raise RuntimeError(text)


HANDLERS = [double, fail, try_later, evil]


@dataclass
class Shop:
    """A database that an application has left, and the ids of its tasks."""

    path: Path
    completed: UUID
    failed: UUID
    scheduled: UUID
    between_attempts: UUID

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def __call__(self, *arguments: object, **options: Any) -> Result:
        """Run a command on it."""
        return everact(*arguments, "--storage", self.url, **options)

    def data(self, *arguments: object) -> Any:
        """Run a command on it with --json."""
        return json.loads(self(*arguments, "--json").stdout)


def everact(*arguments: object, env: dict[str, str] | None = None, color: bool = False) -> Result:
    # EVERACT_DB of whoever runs the tests must not be what they work on.
    environment: dict[str, str | None] = {"EVERACT_DB": None, "NO_COLOR": None, **(env or {})}
    return CliRunner(env=environment).invoke(main, list(map(str, arguments)), color=color)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    path = tmp_path / "shop.db"
    with ActorSystem(handlers=HANDLERS, storage=f"sqlite:///{path}") as system:
        completed = system.dispatch(double.task(21), tags=["red", "blue"], headers={"trace": "t-1"})
        failed = system.dispatch(fail.task("no money"))
        between_attempts = system.dispatch(try_later.task())
        scheduled = system.dispatch(double.task(1), delay=3600)
        completed.wait(10)
        failed.wait(10)
        until(lambda: system.get(between_attempts.id).error is not None, system)
        return Shop(path, completed.id, failed.id, scheduled.id, between_attempts.id)


def until(reached: Callable[[], bool], system: ActorSystem) -> None:
    """Let tasks run, one at a time, until something has happened elsewhere in the system."""
    for _ in range(1000):
        if reached():
            return
        system.dispatch(double.task(0), id=UUID(int=1)).wait(10)
    pytest.fail("it did not happen")


@pytest.fixture
def hostile(tmp_path: Path) -> Shop:
    path = tmp_path / "hostile.db"
    with ActorSystem(handlers=HANDLERS, storage=f"sqlite:///{path}") as system:
        handle = system.dispatch(evil.task(HOSTILE), tags=[HOSTILE], headers={HOSTILE: HOSTILE}, key=HOSTILE)
        handle.wait(10)
        result = system.dispatch(double.task(4))
        result.wait(10)
    return Shop(path, result.id, handle.id, handle.id, handle.id)


@pytest.fixture
def live_owner(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A second process that holds a database open; its file and the id of a task in its hands."""
    program = """
import sys
from everact import ActorSystem, task

@task(name="shop.Double")
def double(n: int) -> int:
    return 2 * n

with ActorSystem(handlers=[double], storage="sqlite:///live.db") as system:
    print(system.dispatch(double.task(1), delay=3600).id, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield tmp_path / "live.db", process.stdout.readline().strip()
        process.communicate(timeout=30)


def ids_in(result: Result) -> list[str]:
    return [line.split()[0] for line in result.stdout.splitlines()[1:]]


# list


def test_list_aligns_the_tasks_in_the_order_in_which_they_were_stored(shop: Shop) -> None:
    result = shop("list")
    head, *rows = result.stdout.splitlines()
    assert result.exit_code == 0
    assert head.split() == ["ID", "STATUS", "ATTEMPT", "CREATED", "TYPE", "ERROR"]
    assert [row.split()[0] for row in rows[:2]] == [str(shop.completed), str(shop.failed)]
    assert {row.index("shop.") for row in rows if "shop." in row} == {head.index("TYPE")}
    assert "RuntimeError: no money" in rows[1]


@pytest.mark.parametrize(
    "status", ["completed", "failed", "scheduled", "queued", "running", "cancelled", "quarantined"]
)
def test_list_by_status(shop: Shop, status: str) -> None:
    expected = {"completed": shop.completed, "failed": shop.failed, "scheduled": shop.scheduled}
    listed = [each["id"] for each in shop.data("list", "--status", status)["tasks"]]
    assert {each["status"] for each in shop.data("list", "--status", status)["tasks"]} <= {status}
    assert (str(expected[status]) in listed) if status in expected else (listed == [])


def test_list_shows_as_queued_what_is_due_and_stored_as_scheduled(shop: Shop) -> None:
    with sqlite3.connect(shop.path) as connection:
        connection.execute("UPDATE task SET due = 1 WHERE id = ?", (shop.scheduled.bytes,))
    connection.close()
    assert ids_in(shop("list", "--status", "queued", "--limit", 1)) == [str(shop.scheduled)]
    assert str(shop.scheduled) not in shop("list", "--status", "scheduled").stdout


def test_list_by_type_and_by_workflow(shop: Shop) -> None:
    assert ids_in(shop("list", "--type", "shop.Fail")) == [str(shop.failed)]
    assert ids_in(shop("list", "--workflow", shop.scheduled)) == [str(shop.scheduled)]
    assert ids_in(shop("list", "--type", "shop.Nothing")) == []


def test_list_goes_on_after_a_page(shop: Shop) -> None:
    everything = [each["id"] for each in shop.data("list")["tasks"]]
    pages, after = [], None
    while page := shop.data("list", "--limit", 2, *(["--after", after] if after else [])):
        pages += [each["id"] for each in page["tasks"]]
        after = page["next"]
        if after is None:
            break
    assert pages == everything
    assert f"--after {everything[0]}" in shop("list", "--limit", 1).stderr


def test_list_as_json_has_every_field_with_ids_as_text_and_times_in_iso(shop: Shop) -> None:
    document = shop.data("list", "--status", "completed", "--limit", 1)
    (found,) = document["tasks"]
    assert set(document) == {"tasks", "next"}
    assert set(found) == TASK_FIELDS
    assert (found["id"], found["workflow_id"]) == (str(shop.completed), str(shop.completed))
    assert (found["status"], found["result"], found["tags"]) == ("completed", 42, ["red", "blue"])
    assert (found["headers"], found["error"], found["parent_id"]) == ({"trace": "t-1"}, None, None)
    assert found["created"].endswith("Z")
    assert found["created"][10] == "T"


def test_list_of_an_unknown_page_is_not_found(shop: Shop) -> None:
    assert shop("list", "--after", UNKNOWN).exit_code == 3


@pytest.mark.parametrize(
    "arguments", [["--status", "lost"], ["--limit", "0"], ["--after", "seven"], ["--workflow", "x"], ["--frob"]]
)
def test_list_refuses_what_has_no_meaning(shop: Shop, arguments: list[str]) -> None:
    assert shop("list", *arguments).exit_code == 2


# show


def test_show_tells_the_record_the_error_and_the_history(shop: Shop) -> None:
    result = shop("show", shop.failed)
    assert result.exit_code == 0
    assert f"id           {shop.failed}" in result.stdout
    assert "status       failed" in result.stdout
    assert "error: RuntimeError: no money" in result.stdout
    assert "  Traceback (most recent call last):" in result.stdout
    assert [line.split()[1] for line in result.stdout.splitlines()[-3:]] == ["created", "started", "failed"]


def test_show_a_result_and_what_was_given_with_the_task(shop: Shop) -> None:
    lines = dict(line.split(maxsplit=1) for line in shop("show", shop.completed).stdout.splitlines() if " " in line)
    assert lines["result"] == "42"
    assert lines["tags"] == "red, blue"
    assert lines["headers"] == '{"trace": "t-1"}'


def test_show_as_json(shop: Shop) -> None:
    document = shop.data("show", shop.failed)
    assert set(document) == {"task", "history"}
    assert set(document["task"]) == TASK_FIELDS
    assert set(document["task"]["error"]) == {"type", "text", "traceback", "hook", "hook_error"}
    assert document["task"]["error"]["hook"] is None
    assert [set(entry) for entry in document["history"]] == [{"at", "event", "attempt", "detail"}] * 3


def test_show_what_is_not_there_is_not_found(shop: Shop) -> None:
    result = shop("show", UNKNOWN)
    assert (result.exit_code, result.stdout) == (3, "")
    assert UNKNOWN in result.stderr


def test_show_something_that_is_no_id_is_wrong_usage(shop: Shop) -> None:
    assert shop("show", "order-7").exit_code == 2


# Hostile text


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["show"], ["show", "--json"]])
def test_nothing_that_a_task_carries_reaches_the_terminal_as_a_command(hostile: Shop, arguments: list[str]) -> None:
    command, *flags = arguments
    result = hostile(command, *([hostile.failed] if command == "show" else []), *flags)
    assert result.exit_code == 0
    assert all(letter.isprintable() or letter == "\n" for letter in result.stdout)
    assert "owned" in result.stdout


def test_hostile_text_takes_one_row_of_the_list(hostile: Shop) -> None:
    assert len(hostile("list").stdout.splitlines()) == 3


def test_hostile_text_survives_in_json(hostile: Shop) -> None:
    found = hostile.data("show", hostile.failed)["task"]
    assert (found["tags"], found["error"]["text"], found["type"]) == ([HOSTILE], HOSTILE, f"evil {HOSTILE}")


def test_messages_about_hostile_arguments_are_escaped() -> None:
    result = everact("list", "--storage", HOSTILE)
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain café 漢字", "plain café 漢字"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\r\nb\tc\x00\x7f", r"a\r\nb\tc\x00\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202e\u2028", r"\u202e\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_statuses_are_coloured_on_a_terminal_unless_no_color_is_set(shop: Shop) -> None:
    assert "\x1b[31mfailed" in shop("list", color=True).stdout
    assert "\x1b[" not in shop("list", color=False).stdout


@pytest.mark.slow
def test_a_terminal_without_the_letters_gets_escapes(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with ActorSystem(handlers=HANDLERS, storage=f"sqlite:///{path}") as system:
        system.dispatch(fail.task("café 漢")).wait(10)
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "EVERACT_DB": str(path)}
    command = [sys.executable, "-m", "everact", "list"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=60)
    assert b"RuntimeError: caf\xe9 \\u6f22" in run.stdout


# Which database


def test_without_a_storage_it_is_wrong_usage() -> None:
    result = everact("list")
    assert result.exit_code == 2
    assert "EVERACT_DB" in result.stderr


@pytest.mark.parametrize("form", ["{path}", "sqlite:///{path}"])
def test_the_storage_may_come_from_the_environment_as_url_or_path(shop: Shop, form: str) -> None:
    result = everact("list", env={"EVERACT_DB": form.format(path=shop.path)})
    assert result.exit_code == 0
    assert str(shop.completed) in result.stdout


@pytest.mark.parametrize("storage", ["nowhere.db", "memory://", "mysql://x", "sqlite://x.db", "sqlite:///a.db?b=c"])
@pytest.mark.parametrize("command", [["list"], ["show", UNKNOWN], ["cancel", UNKNOWN], ["migrate"]])
def test_a_storage_that_has_no_meaning_is_wrong_usage(storage: str, command: list[str]) -> None:
    assert everact(*command, "--storage", storage).exit_code == 2


@pytest.mark.parametrize(
    "command", [["list"], ["show", UNKNOWN], ["cancel", UNKNOWN], ["requeue", UNKNOWN], ["migrate", "--check"]]
)
def test_a_database_that_is_missing_is_not_made(tmp_path: Path, command: list[str]) -> None:
    result = everact(*command, "--storage", f"sqlite:///{tmp_path / 'missing.db'}")
    assert result.exit_code == 1
    assert "there is no database" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_no_trace(shop: Shop) -> None:
    def trace() -> object:
        with sqlite3.connect(shop.path) as connection:
            nodes = connection.execute("SELECT * FROM incarnation").fetchall()
        connection.close()
        return nodes, shop.path.read_bytes(), sorted(shop.path.parent.iterdir())

    before = trace()
    shop("list")
    shop("show", shop.failed)
    shop("migrate", "--check")
    assert trace() == before


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    result = everact("list", "--storage", path)
    assert result.exit_code == 1
    assert "notes.txt" in result.stderr


# cancel


def test_cancel_what_has_not_started(shop: Shop) -> None:
    result = shop("cancel", shop.scheduled, "--reason", "sold out")
    assert result.exit_code == 0
    assert result.stdout == f"{shop.scheduled}  cancelled: it never starts\n"
    found = shop.data("show", shop.scheduled)["task"]
    assert (found["status"], found["error"]["text"]) == ("cancelled", "sold out")


def test_cancel_what_waits_between_attempts_is_remembered(shop: Shop) -> None:
    result = shop("cancel", shop.between_attempts, "--reason", "enough")
    assert result.exit_code == 0
    assert "signalled" in result.stdout
    assert shop.data("show", shop.between_attempts)["task"]["cancel_requested"] == "enough"


def test_cancel_as_json(shop: Shop) -> None:
    answers = shop.data("cancel", shop.scheduled, shop.completed)["outcomes"]
    assert [set(each) for each in answers] == [{"id", "outcome", "message"}] * 2
    assert [(each["id"], each["outcome"]) for each in answers] == [
        (str(shop.scheduled), "cancelled"),
        (str(shop.completed), "already_finished"),
    ]


def test_cancel_that_cancels_nothing_fails(shop: Shop) -> None:
    assert shop("cancel", shop.completed).exit_code == 1
    assert shop("cancel", shop.completed, shop.scheduled).exit_code == 0


def test_cancel_what_is_not_there_is_not_found_and_the_others_are_cancelled(shop: Shop) -> None:
    assert shop("cancel", UNKNOWN, shop.scheduled).exit_code == 3
    assert shop.data("show", shop.scheduled)["task"]["status"] == "cancelled"


def test_cancel_needs_an_id(shop: Shop) -> None:
    assert shop("cancel").exit_code == 2


@pytest.mark.slow
def test_cancel_of_a_living_applications_task_fails_and_says_why(live_owner: tuple[Path, str]) -> None:
    path, task_id = live_owner
    result = everact("cancel", task_id, "--storage", path)
    assert result.exit_code == 1
    assert "not_owner" in result.stderr
    assert "alive" in result.stderr
    listed = json.loads(everact("list", "--storage", path, "--json").stdout)["tasks"]
    assert [(each["id"], each["status"]) for each in listed] == [(task_id, "scheduled")]


# requeue


def test_requeue_makes_a_new_task_that_runs_at_the_next_start(shop: Shop) -> None:
    (answer,) = shop.data("requeue", shop.failed)["requeued"]
    assert set(answer) == {"id", "outcome", "message", "new_id"}
    assert shop.data("show", answer["new_id"])["task"]["retry_of"] == str(shop.failed)
    assert shop.data("show", answer["new_id"])["task"]["status"] == "queued"
    with ActorSystem(handlers=HANDLERS, storage=shop.url) as system:
        assert system.wait(answer["new_id"], 10).status is TaskStatus.FAILED


def test_requeue_of_what_has_not_failed_is_refused(shop: Shop) -> None:
    result = shop("requeue", shop.completed)
    assert result.exit_code == 1
    assert "refused" in result.stderr


def test_requeue_what_is_not_there_is_not_found(shop: Shop) -> None:
    result = shop("requeue", UNKNOWN, shop.failed)
    assert result.exit_code == 3
    assert f"{shop.failed}  requeued" in result.stdout


# migrate


def test_migrate_makes_a_database_and_says_from_which_schema_to_which(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    made = everact("migrate", "--storage", url)
    assert (made.exit_code, made.stdout) == (0, f"{tmp_path / 'new.db'} was brought from schema 0 to schema 3\n")
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600
    assert "up to date: schema 3" in everact("migrate", "--storage", url).stdout
    assert everact("list", "--storage", url).exit_code == 0


def test_migrate_check_fails_if_the_schema_is_behind_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    result = everact("migrate", "--check", "--json", "--storage", path)
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"from": 0, "to": 0, "newest": 3})
    assert path.read_bytes() == b""
    assert everact("migrate", "--json", "--storage", path).exit_code == 0
    assert everact("migrate", "--check", "--storage", path).exit_code == 0


def test_a_schema_that_is_behind_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    result = everact("list", "--storage", path)
    assert result.exit_code == 1
    assert "everact migrate" in result.stderr


def test_a_schema_of_a_later_version_is_left_alone(shop: Shop) -> None:
    with sqlite3.connect(shop.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for command in (["list"], ["migrate"], ["migrate", "--check"], ["requeue", shop.failed]):
        result = shop(*command)
        assert result.exit_code == 1
        assert "schema 99" in result.stderr


def test_migrate_refuses_another_applications_database(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    assert everact("migrate", "--storage", path).exit_code == 1
    assert path.read_bytes() == before


# The program


@pytest.mark.slow
def test_python_m_everact_is_the_same_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "everact", "--help"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    commands = {"demo", "list", "show", "cancel", "requeue", "migrate"}
    assert commands <= set(run.stdout.split())
    assert run.stdout.startswith("Usage: everact ")


def test_no_color_is_respected(shop: Shop) -> None:
    result = shop("list", color=True, env={"NO_COLOR": "1"})
    assert "\x1b[" not in result.stdout


def test_an_unknown_command_is_wrong_usage() -> None:
    assert everact("explode").exit_code == 2
