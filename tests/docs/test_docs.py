"""The pages of `docs/` and the README: their programs run, their links lead somewhere, their tables are true.

A block that begins with ```python runs as a module of its own, in an empty working directory. A block of ```text
right behind it is what it prints. ```python not-run is for fragments; these must at least compile.
"""

import enum
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner

from everact import (
    Actor,
    ActorSystem,
    Backoff,
    ChildSpec,
    Directive,
    Overflow,
    Restart,
    Retry,
    Strategy,
    TaskHandler,
    TaskStatus,
    task,
)
from everact.cli import main
from everact.tasks.handler import HOOKS
from everact.tasks.status import LEGAL_MOVES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^```python(?P<mark>[^\n]*)\n(?P<code>.*?)^```\n(?:\s*^```text\n(?P<printed>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")


@task(retry=Retry(attempts=1))
def impossible() -> None:
    msg = "it cannot be done"
    raise RuntimeError(msg)


class Block(NamedTuple):
    page: Path
    line: int
    mark: str
    code: str
    printed: str | None

    @property
    def name(self) -> str:
        return f"{self.page.stem}_{self.line}"


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 2, found["mark"].strip(), found["code"], found["printed"])
        for found in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in _blocks(page)]
RUNNABLE = [block for block in BLOCKS if not block.mark]


@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.name)
def test_a_program_in_the_docs_runs_and_prints_what_the_page_says(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"docs_{block.name}.py"
    # Empty lines before it, so that a traceback shows the line of the page.
    file.write_text("\n" * (block.line - 1) + block.code, encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, file.stem, module)  # where annotations of its classes are looked up
    spec.loader.exec_module(module)
    if block.printed is not None:
        assert capsys.readouterr().out == block.printed


def test_a_fragment_in_the_docs_compiles_and_is_marked_in_the_one_known_way() -> None:
    for block in BLOCKS:
        assert block.mark in {"", "not-run"}, block.name
        compile(block.code, block.name, "exec")


def test_every_page_about_code_has_a_program_that_runs() -> None:
    without_programs = {"state-machine.md", "cli.md", "performance.md", "simulation-mutants.md"}
    assert {block.page for block in RUNNABLE} == {page for page in PAGES if page.name not in without_programs}


def _anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        assert target.exists(), link[0]
        if link["anchor"]:
            assert link["anchor"] in _anchors(target), link[0]


def test_the_map_names_every_page() -> None:
    linked = {link["path"] for link in LINK.finditer((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= linked


# Tables that must say the same as the code


def _table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, or of the page's first one, without its head."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if heading:
        text = re.split(rf"^##+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    rows = re.search(r"^\|.+\n\|[-| ]+\n((?:\|.+\n)+)", text, re.MULTILINE)
    assert rows is not None, f"{page} has no table under {heading!r}"
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows[1].splitlines()]


def test_the_table_of_attributes_is_that_of_the_handler_class() -> None:
    documented = {row[0]: row[1] for row in _table("handlers.md", "Attributes")}
    declared = [name for name in TaskHandler.__annotations__ if not name.startswith("_")]
    actual: dict[str, Any] = {name: getattr(TaskHandler, name) for name in declared}
    assert actual["retry"] == Retry()
    shown = {name: "Retry()" if name == "retry" else repr(value).replace("'", '"') for name, value in actual.items()}
    assert documented == shown


def test_the_table_of_an_actors_settings_is_that_of_the_class() -> None:
    documented = {row[0]: row[1] for row in _table("actors.md", "Settings")}
    declared = {name: getattr(Actor, name) for name in Actor.__annotations__ if not name.startswith("_")}
    assert documented == {
        name: str(value) if isinstance(value, Overflow) else repr(value) for name, value in declared.items()
    }


def test_the_table_of_hooks_names_every_hook() -> None:
    documented = {row[0].partition("(")[0] for row in _table("handlers.md", "Hooks")}
    assert documented == set(HOOKS)


def test_the_table_of_the_retry_policy_has_its_fields_and_defaults() -> None:
    documented = {row[0]: row[1] for row in _table("retries-and-rescheduling.md", "The retry policy")}
    policy = Retry()
    shown = {name: repr(getattr(policy, name)) for name in Retry.__dataclass_fields__}
    shown |= {"on": "(Exception,)"}
    assert documented == shown


def test_the_table_of_the_child_spec_has_its_fields_and_defaults() -> None:
    documented = {row[0]: row[1] for row in _table("supervision.md", "Say how a child is treated")}
    spec = ChildSpec()
    shown = {name: repr(getattr(spec, name)) for name in ChildSpec.__dataclass_fields__}
    backoff = spec.backoff
    assert backoff == Backoff(backoff.least, most=backoff.most)
    shown |= {"restart": str(spec.restart), "backoff": f"Backoff({backoff.least}, most={backoff.most})"}
    assert documented == shown


@pytest.mark.parametrize(
    ("heading", "words"),
    [("Build a tree", Strategy), ("When it is started again", Restart), ("What a failure means", Directive)],
)
def test_a_table_of_supervision_names_every_word(heading: str, words: type[enum.Enum]) -> None:
    assert {row[0] for row in _table("supervision.md", heading)} == {word.name for word in words}


COMMANDS = re.findall(r"^everact (.+)$", (ROOT / "docs" / "cli.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_of_the_command_line_shows_every_command_and_option() -> None:
    shown = {word for line in COMMANDS for word in line.split() if word.startswith("--")} | {"--storage"}
    options = {
        name
        for command in main.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    }
    assert {row[0] for row in _table("cli.md", "")} == set(main.commands) == {line.split()[0] for line in COMMANDS}
    assert shown == options


@pytest.mark.parametrize("line", [line for line in COMMANDS if not line.startswith("demo")])
def test_a_command_on_the_page_of_the_command_line_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ActorSystem(handlers=[impossible], storage="sqlite:///shop.db") as system:
        failed = system.dispatch(impossible.task())
        failed.wait(10)
    words = [str(failed.id) if word == "ID" else word for word in shlex.split(line)]
    done = CliRunner().invoke(main, words, env={"EVERACT_DB": "sqlite:///shop.db"})
    # Cancelling what has ended, or resuming what is not stuck, changes nothing, which is what code 1 says.
    assert done.exit_code == (1 if line.startswith(("cancel", "resume")) else 0), done.output


def diagram() -> str:
    """The state machine in Mermaid, made from the table of legal moves."""
    lines = ["stateDiagram-v2", "    [*] --> scheduled", "    [*] --> queued"]
    for status, following in LEGAL_MOVES.items():
        lines += [f"    {TaskStatus(status)} --> {TaskStatus(move)}" for move in sorted(following)]
        if not following:
            lines.append(f"    {TaskStatus(status)} --> [*]")
    return "\n".join(lines) + "\n"


def test_the_diagram_of_the_state_machine_is_the_table_of_legal_moves() -> None:
    page = (ROOT / "docs" / "state-machine.md").read_text(encoding="utf-8")
    drawn = re.search(r"^```mermaid\n(.*?)^```\n", page, re.MULTILINE | re.DOTALL)
    assert drawn is not None
    assert drawn[1] == diagram()  # after a change of the table, paste what is expected here into the page


def test_the_page_of_the_state_machine_explains_every_status() -> None:
    assert [row[0] for row in _table("state-machine.md", "The statuses")] == [str(status) for status in TaskStatus]
