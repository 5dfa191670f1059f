"""The demo, run as a user runs it, and checks that it could fail."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner

from everact import ActorSystem, TaskStatus, demo
from everact.cli import main
from everact.demo_accounts import Accounts, draw_up, lost_tasks
from everact.demo_symbols import Symbol, SymbolIndex, Totals, symbols_in
from everact.demo_tasks import Alert, ParseFile, Report, StoreSymbols, handlers_on
from everact.demo_worker import INDEX, LEDGER, append_to_ledger, read_ledger, refuses

FILES = 60 + len(demo.BROKEN)
GOOD = Accounts(
    files=10,
    report=Totals(files=8, symbols=100, failures=2),
    reports=1,
    failures=frozenset({"a.py", "b.py"}),
    refused=frozenset({"a.py", "b.py"}),
    continued=9,
    lost=0,
    seconds=1.0,
)
ANY_ID = UUID(int=7)


# The whole demo


class Run:
    """One run of the demo: how it ended, what it printed, and what it left behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "kept"
        command = [sys.executable, "-m", "everact", "demo", "--limit", "60", "--actors", "--keep", str(self.folder)]
        self.process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
        self.lines = self.process.stdout.splitlines()

    def number(self, name: str) -> float:
        (found,) = [line.removeprefix(f"  {name}").split()[0] for line in self.lines if line.startswith(f"  {name} ")]
        return float(found)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("demo"))


@pytest.mark.slow
@pytest.mark.crash
def test_the_demo_succeeds_and_its_numbers_agree(run: Run) -> None:
    assert run.process.returncode == 0, run.process.stdout + run.process.stderr
    assert run.lines[-2] == "Nothing was lost."
    assert run.number("files") == FILES
    assert run.number("symbols") > FILES
    assert run.number("failures") >= len(demo.BROKEN)
    assert run.number("lost") == 0
    assert run.number("seconds") > 0


@pytest.mark.slow
@pytest.mark.crash
def test_the_demo_shows_its_actors_as_a_tree_on_request(run: Run) -> None:
    shown = "\n".join(run.lines)
    assert re.search(r"^demo +ActorSystem +running", shown, re.MULTILINE)
    assert re.search(r"^[├└]── everact.demo_tasks.ParseFile +handler pool +running", shown, re.MULTILINE)
    assert re.search(r"^│?   └── 0 +HandlerActor +(idle|busy)", shown, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.crash
def test_the_demo_counts_failures_a_second_time_without_everact(run: Run) -> None:
    (line,) = [line for line in run.lines if line.startswith("  failures ")]
    failures, refused = re.findall(r"\d+", line)
    assert failures == refused
    index = SymbolIndex(run.folder / INDEX)
    assert {Path(path).name for path in index.failures()} >= set(demo.BROKEN)
    assert all(refuses(path) for path in index.failures())
    index.close()


@pytest.mark.slow
@pytest.mark.crash
def test_the_demo_kills_its_worker_and_goes_on(run: Run) -> None:
    (killed,) = re.findall(r"kill -9 (\d+): gone in the middle", run.process.stdout)
    (first, second) = re.findall(r"Worker (\d+)", run.process.stdout)
    assert killed == first != second
    assert run.number("continued after the kill") > 0
    assert not any(is_alive(int(pid)) for pid in (first, second))


@pytest.mark.slow
@pytest.mark.crash
def test_the_demo_keeps_its_files_on_demand(run: Run) -> None:
    assert str(run.folder) in run.lines[-1]
    assert len(read_ledger(run.folder)) == FILES
    listed = CliRunner().invoke(main, ["list", "--status", "failed", "--storage", str(run.folder / "tasks.db")])
    assert listed.stdout.count("everact.demo_tasks.ParseFile") == run.number("failures")


@pytest.mark.slow
@pytest.mark.crash
def test_a_task_that_the_ledger_knows_and_the_database_does_not_is_lost(run: Run) -> None:
    assert draw_up(run.folder, FILES, None, 1.0).lost == 0
    true_ledger = (run.folder / LEDGER).read_text()
    (run.folder / LEDGER).write_text(f'{true_ledger}\n{ANY_ID} "gone.py"')
    accounts = draw_up(run.folder, FILES, None, 1.0)
    (run.folder / LEDGER).write_text(true_ledger)
    assert accounts.lost == 1
    assert demo.judge(accounts) == 1


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_signal_ends_the_demo_and_the_worker_with_it(tmp_path: Path, number: int, exit_code: int) -> None:
    # A shell may have told the tests to ignore Ctrl-C, which programs inherit.
    program = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from everact.cli import main; main()"
    command = [sys.executable, "-c", program, "demo"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        worker = int(process.stdout.readline().split()[1])
        assert is_alive(worker)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert not is_alive(worker)
    assert list(tmp_path.iterdir()) == []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# That it could fail


@pytest.mark.parametrize(
    ("status", "lost"),
    [(None, True), *((status, status not in (TaskStatus.COMPLETED, TaskStatus.FAILED)) for status in TaskStatus)],
)
def test_a_task_without_an_end_is_lost(status: TaskStatus | None, lost: bool) -> None:
    statuses = {} if status is None else {ANY_ID: status}
    assert lost_tasks({ANY_ID: "x.py"}, statuses) == ([ANY_ID] if lost else [])


def test_good_accounts_are_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.judge(GOOD) == 0
    assert "Nothing was lost." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("accounts", "problem"),
    [
        (replace(GOOD, lost=1), "1 acknowledged task(s) were lost"),
        (replace(GOOD, refused=frozenset({"a.py"})), "do not agree about 'b.py'"),
        (replace(GOOD, refused=frozenset({"a.py", "c.py"})), "do not agree about 'c.py'"),
        (replace(GOOD, report=None, reports=0), "the report was written 0 time(s)"),
        (replace(GOOD, reports=2), "the report was written 2 time(s)"),
        (replace(GOOD, files=11), "10 of 11 files"),
    ],
)
def test_bad_accounts_are_a_failure(accounts: Accounts, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.judge(accounts) == 1
    shown = capsys.readouterr().out
    assert problem in shown
    assert "Nothing was lost" not in shown


def test_a_worker_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = demo.Child(tmp_path, "work", "many")
    with pytest.raises(demo.DemoFailed, match="invalid literal for int"):
        demo.watch(child, lambda: 0, None, lambda _: None)
    child.kill()


def test_a_worker_that_does_nothing_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle(demo.Child):
        def __init__(self) -> None:
            self.pid = 0

        def running(self) -> bool:
            return True

    monkeypatch.setattr(demo, "STALL_SECONDS", 0.0)
    with pytest.raises(demo.DemoFailed, match="no progress"):
        demo.watch(Idle(), lambda: 0, None, lambda _: None)


@pytest.mark.parametrize("torn", ["", "0000", f"{UUID(int=9)}", f"{UUID(int=9)} ", f'{UUID(int=9)} "b'])
def test_an_entry_of_the_ledger_that_a_kill_has_cut_off_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    monkeypatch.chdir(tmp_path)
    append_to_ledger([(ANY_ID, "a b.py")])
    with LEDGER.open("a") as ledger:
        ledger.write(f"\n{torn}")
    append_to_ledger([(UUID(int=8), "c\n.py")])
    assert read_ledger(tmp_path) == {ANY_ID: "a b.py", UUID(int=8): "c\n.py"}


def test_the_demo_does_not_mix_its_files_with_others(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    result = CliRunner().invoke(main, ["demo", "--keep", str(tmp_path)])
    assert result.exit_code == 2
    assert "not empty" in result.stderr


# What it indexes


def test_the_installed_files_are_those_of_this_python_each_once() -> None:
    files = demo.installed_files()
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    assert str(stdlib / "ast.py") in files
    assert any(file.startswith(str(Path(sysconfig.get_path("platlib")).resolve())) for file in files)
    assert len({os.path.realpath(file) for file in files}) == len(files)


def test_packages_of_a_virtual_environments_base_are_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lib/os.py", "lib/site-packages/base.py", "venv/site-packages/mine.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    paths = {"stdlib": tmp_path / "lib", "platlib": tmp_path / "venv/site-packages"}
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(paths[name]))
    assert [Path(file).name for file in demo.installed_files()] == ["os.py", "mine.py"]
    paths["platlib"] = tmp_path / "lib/site-packages"
    assert [Path(file).name for file in demo.installed_files()] == ["os.py", "base.py"]


def test_names_that_are_no_text_cannot_be_indexed() -> None:
    assert demo.is_text("/lib/café.py")
    assert not demo.is_text("/lib/caf\udce9.py")


def test_the_broken_files_are_broken(tmp_path: Path) -> None:
    assert [refuses(path) for path in demo.plant_broken_files(tmp_path)] == [True] * len(demo.BROKEN)


# Its tasks, as an example of handlers under test


SOURCE = """
class Shop:
    def open(self):
        if self.ready:
            async def later(): ...
try:
    pass
except OSError:
    def rescue(): ...
"""


def test_symbols_are_found_wherever_they_are_nested() -> None:
    assert symbols_in(ast.parse(SOURCE)) == [
        Symbol("Shop", 2),
        Symbol("Shop.open", 3),
        Symbol("Shop.open.later", 5),
        Symbol("rescue", 9),
    ]


def test_symbols_are_found_below_what_is_too_deep_for_recursion() -> None:
    chain = "if a: pass\n" + "elif b: pass\n" * 900 + "else:\n  def last(): ...\n"
    chain += "x = " + " + ".join(["a"] * 900)
    assert [symbol.name for symbol in symbols_in(ast.parse(chain))] == ["last"]


def test_storing_a_file_again_replaces_what_was_there(tmp_path: Path) -> None:
    index = SymbolIndex.create(tmp_path / INDEX, 2)
    assert not index.store("a.py", [Symbol("old", 1), Symbol("older", 2)])
    assert not index.store("a.py", [Symbol("new", 1)])
    assert index.store_failure("b.py", "SyntaxError: no")
    assert index.store_failure("b.py", "SyntaxError: no")
    assert index.write_report() == index.write_report() == index.report() == Totals(1, 1, 1)
    index.close()


def test_a_file_goes_from_parse_to_report_and_a_broken_one_raises_an_alert(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(SOURCE)
    (tmp_path / "bad.py").write_text("def (")
    SymbolIndex.create(tmp_path / INDEX, 3).close()
    paths = [tmp_path / name for name in ("good.py", "bad.py", "missing.py")]
    with ActorSystem(handlers=handlers_on(tmp_path / INDEX)) as system:
        good, bad, missing = system.dispatch_many([ParseFile(str(path)) for path in paths])
        system.wait_idle(10)
        assert [handle.status().name for handle in (good, bad, missing)] == ["COMPLETED", "FAILED", "FAILED"]
        assert (good.result(), bad.record().attempt) == (4, 1)
        stages = {kind: len(system.tasks(type=kind)) for kind in (StoreSymbols, Alert, Report)}
        assert stages == {StoreSymbols: 1, Alert: 2, Report: 1}
        assert [record.result for record in system.tasks(type=Report)] == [Totals(1, 4, 2)]


def test_the_report_is_single_for_ever(tmp_path: Path) -> None:
    SymbolIndex.create(tmp_path / INDEX, 1).close()
    with ActorSystem(handlers=handlers_on(tmp_path / INDEX)) as system:
        for _ in range(3):
            system.dispatch(StoreSymbols("a.py", [Symbol("f", 1)]))
            system.wait_idle(10)
        assert len(system.tasks(type=Report)) == 1


def test_the_symbols_can_be_queried_by_row(tmp_path: Path) -> None:
    index = SymbolIndex.create(tmp_path / INDEX, 1)
    index.store("a.py", [Symbol("f", 1), Symbol("f.g", 2)])
    rows = index._connection.execute("SELECT * FROM symbol").fetchall()
    assert json.dumps(rows) == '[["a.py", "f", 1], ["a.py", "f.g", 2]]'
    index.close()
