"""How many restarts in how long a window a supervisor tolerates: OTP's sliding window, as a pure function."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from operator import neg

from everact.tasks.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Intensity:
    """A restart budget: `restarts` are allowed within any window of `within` seconds, the next one is too many.

    The rule is that of OTP's `supervisor` (`add_restart`): one list of restart times for all children, of which
    those older than the window are forgotten.

    Args:
        restarts: How many are allowed; 0 makes the first one fatal, None allows any number.
        within: Length of the window in seconds.

    Raises:
        ConfigurationError: A number is out of range.

    Example:
        >>> Intensity(1, within=10).admit(100.0, ())
        (100.0,)
        >>> Intensity(1, within=10).admit(105.0, (100.0,)) is None
        True
    """

    restarts: int | None = 3
    within: float = 60.0

    def __post_init__(self) -> None:
        counts = self.restarts is None or (type(self.restarts) is int and self.restarts >= 0)
        window = isinstance(self.within, int | float) and math.isfinite(self.within) and self.within > 0
        if not (counts and window):
            msg = (
                f"Intensity({self.restarts!r}, within={self.within!r}) has no meaning; use e.g. Intensity(3, within=60)"
            )
            raise ConfigurationError(msg)

    def admit(self, now: float, history: tuple[float, ...]) -> tuple[float, ...] | None:
        """Count one more restart.

        Args:
            now: Monotonic seconds.
            history: Earlier restarts, newest first, as this method returned it.

        Returns:
            The new history, or None if this restart is one too many.
        """
        if self.restarts is None:
            return ()  # nothing will ever be asked of it
        # A large budget has a long history, and every restart copies it: it is cut, not looked through.
        kept = history[: bisect_right(history, self.within - now, key=neg)]
        return (now, *kept) if len(kept) < self.restarts else None
