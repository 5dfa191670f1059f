"""Several processes open one new file at the same moment, as the workers of a web server do."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from everact.storage.sqlite import SqliteStorage

def open_once(path):
    storage = SqliteStorage(path, "power")
    storage.open(1)
    storage.close()

for number in range(25):
    path = os.path.join(sys.argv[1], f"{number}.db")
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            try:
                open_once(path)
            except BaseException as error:
                print(repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_processes_that_open_one_new_file_at_once_all_succeed(tmp_path: pathlib.Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("", "")
