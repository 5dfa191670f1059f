"""What the crash tests share: programs that run as processes of their own, and a look at what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs")
PATIENCE = 60.0
POLL_SECONDS = 0.005


def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Wait for what other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(POLL_SECONDS)


class Program:
    """A program from `programs/`, with a process group of its own."""

    def __init__(self, name: str, arguments: tuple[str, ...], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / name), *arguments],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read(self) -> str:
        """Read the next line that it prints; empty if it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def ask(self, command: str) -> str:
        """Have it do something, and wait for its answer."""
        self.tell(command)
        answer = self.read()
        assert answer, f"it ended at {command!r}:\n{self._process.communicate()[1]}"
        return answer

    def tell(self, command: str) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def suspend(self) -> None:
        """SIGSTOP; returns when it stands still."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to itself only; children that it left behind live on."""
        self._process.kill()
        self._process.wait()

    def finish(self, seconds: float = PATIENCE) -> tuple[int, str, str]:
        """Wait for its end; returns the exit code and what it printed, and complained of."""
        printed, complained = self._process.communicate(timeout=seconds)
        return self._process.returncode, printed, complained

    def clear_away(self) -> None:
        """Kill it with everything that it has started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.communicate()


Launch = Callable[..., Program]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts a program by its file name with arguments; nothing of it is left after the test."""
    started: list[Program] = []

    def start(name: str, *arguments: str | Path) -> Program:
        started.append(Program(name, tuple(map(str, arguments)), tmp_path))
        return started[-1]

    yield start
    for program in started:
        program.clear_away()
