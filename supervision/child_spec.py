"""How one child of a supervisor is made, when it is started again, and what its failures mean."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from everact.supervision.backoff import Backoff
from everact.tasks.errors import ConfigurationError


class Restart(enum.Enum):
    """When a child that has ended is started again; the words are OTP's."""

    PERMANENT = "permanent"
    """Always, also when it has stopped itself."""
    TRANSIENT = "transient"
    """After a failure, not when it has stopped itself."""
    TEMPORARY = "temporary"
    """Never."""


class Directive(enum.Enum):
    """A supervisor's answer to a failure; the words are Akka's."""

    RESUME = "resume"
    """The same instance goes on with the next message; nothing is counted. A supervisor that has given up has stopped
    its children and cannot go on: for it this is RESTART."""
    RESTART = "restart"
    """A fresh instance takes its place, if the restart type allows it; address and mailbox stay."""
    STOP = "stop"
    """It ends for good."""
    ESCALATE = "escalate"
    """The supervisor fails with the same error, and its own supervisor decides."""


_BACKOFF = Backoff(0.05, most=30.0)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a supervisor treats one child.

    Args:
        factory: Makes a new actor on every call, in the child's own thread: a class or a function without arguments.
            `ActorSystem.spawn` fills it in.
        restart: When it is started again after it has ended.
        shutdown: Seconds it has to end when it is told to; then it is left behind, and that is reported. A
            supervisor has the time of all its children on top.
        backoff: How long to wait before a restart. The growth begins again when the child has lasted `backoff.most`
            seconds.
        on: What failures of a type mean; the nearest base class counts. Whatever is not named means RESTART.
        name: Its name below the supervisor; None for one made from the class name.
        start_timeout: Seconds that factory and `on_start` may take together.

    Raises:
        ConfigurationError: A field has no meaning.

    Example:
        >>> spec = ChildSpec(restart=Restart.TRANSIENT, on={KeyError: Directive.RESUME})
        >>> spec.directive(KeyError("x"))
        <Directive.RESUME: 'resume'>
        >>> spec.directive(LookupError("x"))
        <Directive.RESTART: 'restart'>
    """

    factory: Callable[[], Any] | None = None
    restart: Restart = Restart.PERMANENT
    shutdown: float = 5.0
    backoff: Backoff = _BACKOFF
    on: Mapping[type[BaseException], Directive] = field(default_factory=dict)
    name: str | None = None
    start_timeout: float = 30.0

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem is not None:
            msg = f"ChildSpec: {problem}"
            raise ConfigurationError(msg)

    def _problem(self) -> str | None:
        if self.factory is not None and not callable(self.factory):
            return f"factory={self.factory!r} must be a class or function that makes the actor, not an actor"
        if not isinstance(self.restart, Restart):
            return f"restart={self.restart!r} must be Restart.PERMANENT, TRANSIENT or TEMPORARY"
        if not (_is_seconds(self.shutdown) and _is_seconds(self.start_timeout)):
            return f"shutdown={self.shutdown!r}, start_timeout={self.start_timeout!r} must be seconds from 0 on"
        if not isinstance(self.backoff, Backoff):
            return f"backoff={self.backoff!r} must be a Backoff"
        for error, directive in self.on.items():
            if not (isinstance(error, type) and issubclass(error, BaseException) and isinstance(directive, Directive)):
                return f"on={{{error!r}: {directive!r}}} must lead from an exception class to a Directive"
        if self.name is not None and (not isinstance(self.name, str) or not self.name or "/" in self.name):
            return f"name={self.name!r} must be a non-empty string without '/'"
        return None

    def directive(self, error: BaseException) -> Directive:
        """What a failure means, before the restart type is asked."""
        return next((self.on[base] for base in type(error).__mro__ if base in self.on), Directive.RESTART)

    def judge(self, error: BaseException | None, *, can_resume: bool = True) -> Directive:
        """What follows the end of the child: RESTART or STOP, or after a failure RESUME or ESCALATE as well.

        Args:
            error: What it failed with; None if it has stopped itself.
            can_resume: Whether its instance could go on.
        """
        if error is None:
            return Directive.RESTART if self.restart is Restart.PERMANENT else Directive.STOP
        directive = self.directive(error)
        if directive is Directive.RESUME and not can_resume:
            directive = Directive.RESTART
        if directive is Directive.RESTART and self.restart is Restart.TEMPORARY:
            return Directive.STOP
        return directive


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0
