"""Which process this is, told apart from the one that it was forked off. Asked for every task."""

from __future__ import annotations

import os

_forks = 0


def _in_child() -> None:
    global _forks  # noqa: PLW0603 - there is one per process, and it outlives all systems
    _forks += 1


if hasattr(os, "register_at_fork"):  # where there is none, nothing forks
    os.register_at_fork(after_in_child=_in_child)


def number() -> int:
    """How many forks lie between this process and the first one. `os.getpid` takes four times as long."""
    return _forks
