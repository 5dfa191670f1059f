"""The architecture, read from the source: one direction of imports, one runtime seam, small rooms.

Import-linter holds the same layer contract. It reads the installed layout and follows indirect imports;
these tests need no set-up, see imports that are built from a string, and check what a contract cannot.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Top row first. Folders in one row are side by side and do not know each other.
ROWS = (("testing",), ("everact",), ("supervision",), ("actors",), ("storage", "metrics"), ("tasks",))
DEPTH = {folder: depth for depth, row in enumerate(ROWS) for folder in row}

# The seam: threads, queues, clocks, ids and random numbers come from the runtime, else a seed is no history.
SEAM = ("actors/runtime.py", "testing/*")
HIDDEN_MODULES = {
    "_thread",
    "concurrent",
    "multiprocessing",
    "queue",
    "random",
    "secrets",
    "threading",
    "time",
    "uuid",
}
PURE_NAMES = {"uuid.UUID", "uuid.uuid5"}
HIDDEN_NAMES = {
    "asyncio.new_event_loop",
    "asyncio.run",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "os.getrandom",
    "os.urandom",
}
SEAM_EXCEPTIONS = {
    "metrics/exposition.py": "serves scrapes on a thread that belongs to no system, and is no part of a history",
    "everact/demo.py": "a demo program: it times itself and kills its own worker",
    "everact/demo_*.py": "parts of the demo program, for the same reason",
}

MAX_LINES = 400
NAMES_THAT_SAY_NOTHING = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}


# What a module imports and which library names it uses


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield path (from the root, with slashes) and text of every module of the package."""
    for folder in folders or DEPTH:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")


def package_of(path: str) -> list[str]:
    """Return the package that holds the module at `path`, from which relative imports count."""
    folders = path.split("/")[:-1]
    return folders if folders[0] == "everact" else ["everact", *folders]


def imported_by_string(call: ast.Call) -> str | None:
    """Return `x` of `import_module("x")` and `__import__("x")`."""
    called = ast.unparse(call.func).rpartition(".")[2]
    if called in {"import_module", "__import__"} and call.args and isinstance(call.args[0], ast.Constant):
        return str(call.args[0].value)
    return None


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of everything imported, wherever in the module that happens."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = package_of(path)
            start = package[: len(package) - node.level + 1] if node.level else []
            base = [*start, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
        elif isinstance(node, ast.Call) and (name := imported_by_string(node)):
            yield node.lineno, name


def bindings(tree: ast.Module) -> dict[str, str]:
    """Return what each imported local name stands for: `{"dt": "datetime.datetime"}`."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.partition(".")[0]
                bound[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return bound


def uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of every attribute reached through an imported name."""
    bound = bindings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, _, rest = ast.unparse(node).partition(".")
            if head in bound:
                yield node.lineno, f"{bound[head]}.{rest}"


# The seam


def goes_around_the_seam(path: str, source: str) -> list[str]:
    """Return `path:line: name` for every use of a thread, queue, clock, id or random number."""
    tree = ast.parse(source)
    found: set[tuple[int, str]] = set()
    for line, name in imports(path, tree):
        hidden = name.partition(".")[0] in HIDDEN_MODULES and name not in PURE_NAMES
        if hidden or name in HIDDEN_NAMES:
            found.add((line, name))
    found.update((line, name) for line, name in uses(tree) if name in HIDDEN_NAMES)
    return [f"{path}:{line}: {name}" for line, name in sorted(found)]


def test_only_the_runtime_touches_threads_queues_clocks_ids_and_random_numbers() -> None:
    free = (*SEAM, *SEAM_EXCEPTIONS)
    violations = [
        violation
        for path, source in sources()
        if not any(fnmatch(path, pattern) for pattern in free)
        for violation in goes_around_the_seam(path, source)
    ]
    assert violations == []


def test_the_runtime_is_where_the_seam_is_said_to_be() -> None:
    path = "actors/runtime.py"
    assert goes_around_the_seam(path, (ROOT / path).read_text(encoding="utf-8")) != []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import threading", "threading"),
        ("import queue as q", "queue"),
        ("def f():\n    import time", "time"),
        ("from time import monotonic", "time.monotonic"),
        ("if TYPE_CHECKING:\n    from threading import Thread", "threading.Thread"),
        ("import random", "random"),
        ("import secrets", "secrets"),
        ("import concurrent.futures", "concurrent.futures"),
        ("from concurrent import futures", "concurrent.futures"),
        ("from multiprocessing import Process", "multiprocessing.Process"),
        ("import _thread", "_thread"),
        ("import uuid", "uuid"),
        ("from uuid import UUID, uuid4", "uuid.uuid4"),
        ("from uuid import *", "uuid.*"),
        ("import importlib\nimportlib.import_module('threading')", "threading"),
        ("__import__('time')", "time"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as dt\ndt.utcnow()", "datetime.datetime.utcnow"),
        ("import datetime\ndatetime.datetime.now(tz)", "datetime.datetime.now"),
        ("import datetime as d\nfield(default_factory=d.datetime.today)", "datetime.datetime.today"),
        ("from datetime import date\ndate.today()", "datetime.date.today"),
        ("import os\nos.urandom(8)", "os.urandom"),
        ("from os import urandom", "os.urandom"),
        ("import asyncio\nasyncio.run(main())", "asyncio.run"),
        ("import asyncio as aio\naio.new_event_loop()", "asyncio.new_event_loop"),
        ("from asyncio import run", "asyncio.run"),
    ],
)
def test_the_seam_check_reports(source: str, name: str) -> None:
    line = len(source.splitlines())
    assert goes_around_the_seam("tasks/planted.py", source) == [f"tasks/planted.py:{line}: {name}"]


@pytest.mark.parametrize(
    "source",
    [
        "from uuid import UUID, uuid5",
        "from datetime import datetime\ndatetime.fromtimestamp(0)",
        "from everact.actors.runtime import Runtime\nRuntime().now()",
        "import os.path\nos.path.join('a')",
        "import asyncio\nasyncio.CancelledError",
        "def f(clock):\n    return clock.datetime.now()",
    ],
)
def test_the_seam_check_accepts(source: str) -> None:
    assert goes_around_the_seam("tasks/planted.py", source) == []


def test_every_exception_from_the_seam_gives_its_reason() -> None:
    assert all(len(reason.split()) > 3 for reason in SEAM_EXCEPTIONS.values())


# Layers


def folder_of(name: str) -> str | None:
    """Return the folder that an imported name lives in, or None for another library's."""
    head, _, rest = name.partition(".")
    below = rest.partition(".")[0]
    if head == "everact":
        return below if below in DEPTH else "everact"
    return None


def may_import(importer: str, imported: str) -> bool:
    """Return whether the layers let one folder import another: itself, or any row below its own."""
    return importer == imported or DEPTH[importer] < DEPTH[imported]


def breaks_the_layers(path: str, source: str) -> list[str]:
    """Return `path:line: name` for every import that goes up, sideways or around the package."""
    folder = path.partition("/")[0]
    found: set[tuple[int, str]] = set()
    for line, name in imports(path, ast.parse(source)):
        target = folder_of(name)
        upward = target is not None and not may_import(folder, target)
        head = name.partition(".")[0]
        second_copy = head in DEPTH and head != "everact"
        foreign = head == "prometheus_client" and folder != "metrics"
        if upward or second_copy or foreign:
            found.add((line, name))
    return [f"{path}:{line}: {name}" for line, name in sorted(found)]


def test_imports_go_down_the_layers_only() -> None:
    assert [violation for path, source in sources() for violation in breaks_the_layers(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source", "name"),
    [
        ("tasks/a.py", "from everact.storage.codec import encode", "everact.storage.codec.encode"),
        ("tasks/a.py", "import everact.actors.ref", "everact.actors.ref"),
        ("tasks/a.py", "from everact import ActorSystem", "everact.ActorSystem"),
        ("tasks/a.py", "def f():\n    from everact.system import ActorSystem", "everact.system.ActorSystem"),
        ("tasks/a.py", "import importlib\nimportlib.import_module('everact.system')", "everact.system"),
        ("tasks/a.py", "from ..storage import codec", "everact.storage.codec"),
        ("storage/a.py", "from everact.metrics import catalogue", "everact.metrics.catalogue"),
        ("metrics/a.py", "from everact import storage", "everact.storage"),
        (
            "metrics/a.py",
            "from everact.actors.event_stream import Stream",
            "everact.actors.event_stream.Stream",
        ),
        (
            "actors/a.py",
            "from everact.supervision.strategy import Strategy",
            "everact.supervision.strategy.Strategy",
        ),
        ("supervision/a.py", "import everact", "everact"),
        ("everact/a.py", "from everact.testing import Simulation", "everact.testing.Simulation"),
        ("actors/inner/a.py", "from ...supervision import strategy", "everact.supervision.strategy"),
        ("everact/a.py", "import actors", "actors"),
        ("everact/a.py", "from tasks.ids import new", "tasks.ids.new"),
        ("actors/a.py", "import prometheus_client", "prometheus_client"),
        ("everact/a.py", "from prometheus_client import Counter", "prometheus_client.Counter"),
    ],
)
def test_the_layer_check_reports(path: str, source: str, name: str) -> None:
    line = len(source.splitlines())
    assert breaks_the_layers(path, source) == [f"{path}:{line}: {name}"]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("testing/a.py", "from everact import ActorSystem"),
        ("everact/__init__.py", "from everact.system import ActorSystem"),
        ("everact/a.py", "from .config import Settings"),
        ("supervision/a.py", "from everact.actors.ref import ActorRef"),
        ("actors/a.py", "from everact.metrics.catalogue import CATALOGUE"),
        ("actors/inner/a.py", "from ..ref import ActorRef"),
        ("storage/a.py", "from .codec import encode\nfrom everact.tasks.record import TaskRecord"),
        ("metrics/a.py", "from prometheus_client import Counter"),
        ("tasks/a.py", "import asyncio\nfrom dataclasses import dataclass"),
    ],
)
def test_the_layer_check_accepts(path: str, source: str) -> None:
    assert breaks_the_layers(path, source) == []


# Small rooms


def test_no_module_is_longer_than_one_concept_needs() -> None:
    lengths = {path: len(source.splitlines()) for path, source in sources(*DEPTH, "tools")}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    stems = [(path, Path(path).stem.strip("_")) for path, _ in sources(*DEPTH, "tools", "tests")]
    assert [path for path, stem in stems if stem in NAMES_THAT_SAY_NOTHING] == []


def test_every_folder_of_the_package_is_read() -> None:
    read = {path.partition("/")[0] for path, _ in sources()}
    assert read == set(DEPTH)
