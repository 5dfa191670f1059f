"""A disk that really is full, and files that must not grow: what SQLite says then, and what everact makes of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs")
ALL = "ended [0, 1, 2, 3, 4, 5, 6, 7]"
TIMEOUT = 90
On = Callable[..., list[str]]
"""Runs a program in a file system of its own of so many bytes; returns the lines that it printed."""


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> On:
    mount = f"mount -t tmpfs -o size={{size}} none {tmp_path} && exec "
    if shutil.which("unshare") is None or _in_namespace(mount.format(size=4096) + "true").returncode != 0:
        pytest.skip("no file system can be mounted here: it takes unshare, and user namespaces that are allowed")

    def run(size: int, name: str, *arguments: str) -> list[str]:
        done = _in_namespace(
            mount.format(size=size) + '"$@"', "sh", sys.executable, str(PROGRAMS / name), str(tmp_path), *arguments
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def _in_namespace(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


@pytest.mark.slow
def test_running_work_ends_on_a_full_disk_and_the_rest_goes_on_when_there_is_room(on_a_small_disk: On) -> None:
    lines = on_a_small_disk(4_000_000, "filling_a_disk.py", "with")
    assert lines == ["full No space left on device", "refused", ALL, ALL, "taken again True", "True", "1048576"]


@pytest.mark.slow
def test_without_the_reserve_nothing_ends_until_there_is_room(on_a_small_disk: On) -> None:
    """The control: it is the reserve that lets the work of the test above end."""
    lines = on_a_small_disk(4_000_000, "filling_a_disk.py", "without")
    assert lines == ["full No space left on device", "refused", "waiting", ALL, "taken again True", "True", "0"]


@pytest.mark.slow
@pytest.mark.parametrize(("reserve", "lines"), [("with", ["result 7"]), ("without", [])])
def test_a_node_starts_on_a_full_disk_from_the_reserve(on_a_small_disk: On, reserve: str, lines: list[str]) -> None:
    first, *others = on_a_small_disk(2_000_000, "starting_on_a_full_disk.py", reserve)
    assert first == "full No space left on device"
    assert others == lines


def limited(tmp_path: Path, mode: str) -> list[str]:
    command = [sys.executable, str(PROGRAMS / "limiting_files.py"), str(tmp_path / "tasks.db"), mode]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_log_that_must_not_grow_is_told_as_full_and_not_as_a_broken_disk(tmp_path: Path) -> None:
    assert limited(tmp_path, "commit") == ["StorageFull True", "400", "656"]


def test_a_checkpoint_that_fails_after_a_commit_leaves_the_commit_acknowledged(tmp_path: Path) -> None:
    """SQLite makes it once the commit is in the log, and says nothing if it fails: it is tried after the next one."""
    assert limited(tmp_path, "checkpoint") == [
        "log of True pages",
        "checkpoint disk I/O error",
        "500",
        "checkpoint True ok",
        "501",
    ]


@pytest.mark.parametrize("name", ["filling_a_disk.py", "starting_on_a_full_disk.py"])
def test_no_program_fills_a_disk_that_is_not_its_own(tmp_path: Path, name: str) -> None:
    if shutil.disk_usage(tmp_path).total <= 1 << 30:
        pytest.skip("temporary files are on a small disk here, which is what these programs fill")
    command = [sys.executable, str(PROGRAMS / name), str(tmp_path), "with"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert done.returncode == 1
    assert "would fill this machine's disk" in done.stderr
    assert not tmp_path.joinpath("filler").exists()
