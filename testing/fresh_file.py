"""A database file that has its schema already: making one takes longer than all the commits of a small simulation."""

from __future__ import annotations

import functools
import tempfile
from contextlib import closing
from pathlib import Path

from everact.storage import migrations
from everact.storage.connections import connect, create_private

_RAM = Path("/dev/shm")  # noqa: S108 - what is never on disk is never waited for


def fresh_folder() -> Path:
    """Make a folder for one simulation, in memory where the machine has that, with an empty database in it."""
    folder = Path(tempfile.mkdtemp(prefix="everact-", dir=_RAM if _RAM.is_dir() else None))
    path = database(folder)
    create_private(path)
    path.write_bytes(_template())
    return folder


def database(folder: Path) -> Path:
    """Where the database is in that."""
    return folder / "tasks.db"


@functools.cache
def _template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = database(Path(folder))
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            migrations.migrate(connection, str(path))
        return path.read_bytes()
