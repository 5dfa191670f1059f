"""What the supervision tests share: programs that measure in a process of their own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).with_name("programs")
Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def measure() -> Measure:
    """Runs a program by its file name with arguments, and returns the figures that it prints and its exit code."""

    def run(name: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, str(PROGRAMS / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "exit_code": done.returncode}

    return run
