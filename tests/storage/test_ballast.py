"""A file that holds disk space until it is needed."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from everact.storage.ballast import BALLAST_BYTES, Ballast, is_full

UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
from everact.storage.ballast import is_full

database = Path(sys.argv[1])
Path(f"{database}-wal").write_bytes(bytes(100_000))
for limit in (1_000_000, 120_000, 1_000_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    print(is_full(database))
"""


@pytest.fixture
def ballast(tmp_path: Path) -> Ballast:
    return Ballast(tmp_path / "tasks.db")


def held(ballast: Ballast) -> int:
    """Bytes that it has on disk, which are not those of its length if it has holes."""
    return ballast.path.stat().st_blocks * 512


def test_the_space_is_really_allocated(ballast: Ballast) -> None:
    assert ballast.make() is None
    assert held(ballast) >= BALLAST_BYTES
    assert ballast.path.name == "tasks.db.reserve"


def test_only_the_owner_can_read_it(ballast: Ballast) -> None:
    before = os.umask(0)
    try:
        ballast.make()
    finally:
        os.umask(before)
    assert stat.S_IMODE(ballast.path.stat().st_mode) == 0o600


def test_it_is_released_once_and_restored(ballast: Ballast) -> None:
    ballast.make()
    assert ballast.release()
    assert held(ballast) == 0
    assert not ballast.release()
    assert ballast.restore()
    assert held(ballast) >= BALLAST_BYTES
    assert ballast.release()


def test_what_was_never_made_cannot_be_released(ballast: Ballast) -> None:
    assert not ballast.release()


def test_what_is_there_already_is_not_allocated_again(ballast: Ballast, monkeypatch: pytest.MonkeyPatch) -> None:
    ballast.make()
    monkeypatch.setattr(os, "posix_fallocate", None)
    assert ballast.make() is None


@pytest.mark.parametrize(
    ("code", "restored"),
    [(errno.ENOSPC, False), (errno.EDQUOT, False), (errno.EFBIG, False), (errno.EOPNOTSUPP, True), (errno.EIO, True)],
    ids=errno.errorcode.get,
)
def test_only_a_lack_of_room_is_waited_for(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, code: int, restored: bool
) -> None:
    def refuse(descriptor: int, offset: int, length: int) -> None:
        os.pwrite(descriptor, bytes(length // 2), offset)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert ballast.restore() is restored
    assert held(ballast) == 0, "the half that fitted is kept"


def test_a_disk_without_the_room_is_not_filled_up_on_trial(ballast: Ballast, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstatvfs
    monkeypatch.setattr(os, "posix_fallocate", None)

    def nearly_full(descriptor: int) -> os.statvfs_result:
        values = list(real(descriptor))
        values[4] = BALLAST_BYTES // values[1] - 1
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "fstatvfs", nearly_full)
    error = ballast.make()
    assert error is not None
    assert error.errno == errno.ENOSPC


def test_a_symbolic_link_is_not_followed(ballast: Ballast, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    ballast.path.symlink_to(victim)
    assert ballast.make() is not None
    assert not ballast.release()
    assert ballast.restore(), "dispatch would be refused for ever"
    assert victim.read_text() == "precious"


def test_a_disk_with_room_is_not_full(tmp_path: Path) -> None:
    assert not is_full(tmp_path / "tasks.db")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_gone_is_not_full(tmp_path: Path) -> None:
    assert not is_full(tmp_path / "gone" / "tasks.db")


def test_a_log_that_must_not_grow_any_more_counts_as_full(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", UNDER_A_LIMIT, str(tmp_path / "tasks.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "True", "False"]
