"""Retry policies: whether a failed attempt is tried again, and when. Pure functions of their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from everact.tasks.errors import ConfigurationError, ResultError, TaskTimeout

ErrorTypes = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failing task is tried again.

    Args:
        attempts: How many times `handle` is called at the most; 1 means no retry.
        delay: Seconds before the second attempt.
        factor: What each further delay is multiplied by; 1 keeps it constant, 2 doubles it.
        max_delay: No delay is longer, in seconds.
        jitter: Up to this share of a delay is added at random, before the cap; 0.1 means 0 to 10 %.
        on: Errors to retry. `TaskTimeout` is retried only when it is named here itself.
        never: Errors never to retry; wins over `on`.
        when: Asked first: True or False decides, None leaves it to `never` and `on`. It runs in the failing
            cell's thread; if it raises, that is logged and counts as None.

    Raises:
        ConfigurationError: A number is out of range, or `on` or `never` hold something else than
            exception classes.

    Example:
        >>> policy = Retry(attempts=3, delay=1, factor=2)
        >>> [policy.delay_after(n, random=0.0) for n in (1, 2, 3)]
        [1.0, 2.0, 4.0]
    """

    attempts: int = 4
    delay: float = 0.5
    factor: float = 1.0
    max_delay: float = 300.0
    jitter: float = 0.0
    on: ErrorTypes = (Exception,)
    never: ErrorTypes = ()
    when: Callable[[BaseException], bool | None] | None = None

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            _refuse("attempts", self.attempts, "at least 1 (1 means no retry)")
        for name, least in (("delay", 0.0), ("factor", 1.0), ("max_delay", 0.0), ("jitter", 0.0)):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= least):
                _refuse(name, value, f"a number of at least {least:g}")
        for name in ("on", "never"):
            errors = getattr(self, name)
            classes = isinstance(errors, tuple) and all(
                isinstance(e, type) and issubclass(e, BaseException) for e in errors
            )
            if not classes:
                _refuse(name, errors, "a tuple of exception classes")
        if self.when is not None and not callable(self.when):
            _refuse("when", self.when, "a function of the error, or None")

    def covers(self, error: BaseException, verdict: bool | None = None) -> bool:
        """Whether this error is one to retry, attempts left or not.

        Args:
            error: What the attempt ended with.
            verdict: What `when` answered; None if there is no `when` or it had no opinion.
        """
        if isinstance(error, ResultError):
            return False
        if isinstance(error, TaskTimeout) and TaskTimeout not in self.on:
            return False
        if verdict is not None:
            return verdict
        return not isinstance(error, self.never) and isinstance(error, self.on)

    def delay_after(self, attempt: int, random: float) -> float:
        """Seconds to wait after the given failed attempt.

        Args:
            attempt: The attempt that failed, counted from 1.
            random: A number in [0, 1) that the jitter is taken from.
        """
        try:
            delay = self.delay * self.factor ** (attempt - 1) * (1 + self.jitter * random)
        except OverflowError:
            return float(self.max_delay if self.delay else 0)
        return float(min(self.max_delay, delay))

    def decide(self, attempt: int, error: BaseException, *, random: float, verdict: bool | None = None) -> float | None:
        """Decide what follows a failed attempt.

        Returns:
            Seconds until the next attempt, or None when the task has failed for good.

        Example:
            >>> Retry(attempts=2, delay=3).decide(1, OSError(), random=0.0)
            3.0
            >>> Retry(attempts=2, delay=3).decide(2, OSError(), random=0.0) is None
            True
        """
        if attempt >= self.attempts or not self.covers(error, verdict):
            return None
        return self.delay_after(attempt, random)


def _refuse(name: str, value: object, wanted: str) -> None:
    msg = f"Retry({name}={value!r}) has no meaning; {name} must be {wanted}"
    raise ConfigurationError(msg)
