"""SQLite's WAL-reset bug: in versions before 3.51.3 a file that several nodes write can, very rarely, be damaged.

It takes two connections that write or make checkpoints at the same instant. One node alone is safe, as only the
connection that writes makes checkpoints; several nodes cannot be made so from outside of SQLite.
"""

from __future__ import annotations

from pathlib import Path

FIXED = (3, 51, 3)
Version = tuple[int, ...]


def advice(path: Path, others: int, version: Version) -> str | None:
    """Say what to do about the bug, if it can happen.

    Args:
        path: The database.
        others: How many other nodes that live have it open.
        version: SQLite's.

    Returns:
        A text for the log; None if there is no danger.
    """
    if others == 0 or version >= FIXED:
        return None
    own, fixed = (".".join(map(str, number)) for number in (version, FIXED))
    return (
        f"{path} is shared with {others} other living node(s), and this Python's SQLite {own} can damage a file that "
        f"several write, in a very rare race; use SQLite {fixed} or newer, or a file for each process"
    )
