"""Whom the restart of one child touches: OTP's three strategies, as a pure function."""

from __future__ import annotations

import enum
from collections.abc import Sequence


class Strategy(enum.Enum):
    """Which children are started again together; the words are OTP's."""

    ONE_FOR_ONE = "one_for_one"
    """Only the one that failed."""
    ONE_FOR_ALL = "one_for_all"
    """All of them: they cannot do without each other."""
    REST_FOR_ONE = "rest_for_one"
    """The one that failed and those started after it, which build on it."""

    def group(self, names: Sequence[str], failed: str) -> tuple[str, ...]:
        """Who is stopped, in reverse, and then started, in this order.

        Args:
            names: All children in the order in which they were started.
            failed: The one that failed.

        Example:
            >>> Strategy.REST_FOR_ONE.group(["a", "b", "c"], "b")
            ('b', 'c')
        """
        if self is Strategy.ONE_FOR_ONE:
            return (failed,)
        if self is Strategy.ONE_FOR_ALL:
            return tuple(names)
        return tuple(names[names.index(failed) :])
