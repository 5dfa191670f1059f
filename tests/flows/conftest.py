"""What the flow tests share: the storages they run on, and real processes to kill."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty storage, once of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'tasks.db'}"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of an empty storage that outlives a process."""
    return f"sqlite:///{tmp_path / 'tasks.db'}"


class Program:
    """A program from `programs/` that runs as a process of its own."""

    def __init__(self, name: str, arguments: tuple[str, ...], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / name), *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, line: str) -> None:
        """Read what it prints up to and with this line; it goes on meanwhile."""
        assert self._process.stdout is not None
        for printed in self._process.stdout:
            if printed.rstrip("\n") == line:
                return
        pytest.fail(f"the program ended without printing {line!r}:\n{self._process.communicate()[1]}")

    def kill(self) -> None:
        """SIGKILL: no handler, no atexit, no flush."""
        self._process.kill()
        self._process.communicate()

    def finish(self) -> tuple[int, list[str]]:
        """Wait for its end; returns the exit code and the lines that it printed."""
        printed, _ = self._process.communicate()
        return self._process.returncode, printed.splitlines()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts a program by its file name with arguments; what still runs at the end is killed."""
    started: list[Program] = []

    def start(name: str, *arguments: str) -> Program:
        started.append(Program(name, arguments, tmp_path))
        return started[-1]

    yield start
    for program in started:
        program.kill()
