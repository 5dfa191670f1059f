"""When a fault happens: `attempt(1)`, `at(5)`, `between(20, 60)`, `every(9)`, `commit(4)`, `before(2)`, `after(2)`."""

from __future__ import annotations

from dataclasses import dataclass

from everact.tasks.errors import ConfigurationError


class _Shown:
    """Its repr is the call that makes it."""

    def __repr__(self) -> str:
        values = [getattr(self, name) for name in self.__match_args__]  # type: ignore[attr-defined]
        return f"{type(self).__name__}({', '.join(map(repr, values))})"

    def _refuse(self) -> None:
        msg = f"{self!r} has no meaning; numbers count from 1, times are seconds from the start and do not go back"
        raise ConfigurationError(msg)


@dataclass(frozen=True, repr=False)
class attempt(_Shown):  # noqa: N801 - a word of a sentence, as are those below
    """An attempt of a task, counted from 1."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            self._refuse()

    def covers(self, time: float, number: int) -> bool:  # noqa: ARG002 - the signature is the others'
        """Whether that holds for an attempt."""
        return number == self.number


@dataclass(frozen=True, repr=False)
class at(_Shown):  # noqa: N801
    """A moment: so many virtual seconds after the start."""

    seconds: float

    def __post_init__(self) -> None:
        if self.seconds < 0:
            self._refuse()


@dataclass(frozen=True, repr=False)
class before(_Shown):  # noqa: N801
    """Before a commit is written, counted from 1 over all nodes."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            self._refuse()


@dataclass(frozen=True, repr=False)
class after(_Shown):  # noqa: N801
    """After a commit is written, before anybody hears of it."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            self._refuse()


@dataclass(frozen=True, repr=False)
class every(_Shown):  # noqa: N801
    """Each so-many-th commit, or attempt; `every(1)` is each of them."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            self._refuse()

    def covers(self, time: float, number: int) -> bool:  # noqa: ARG002 - as above
        """Whether that holds for a commit, or an attempt."""
        return number % self.number == 0


@dataclass(frozen=True, repr=False)
class commit(_Shown):  # noqa: N801
    """One commit."""

    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            self._refuse()

    def covers(self, time: float, number: int) -> bool:  # noqa: ARG002 - as above
        """Whether that holds for a commit."""
        return number == self.number


@dataclass(frozen=True, repr=False)
class between(_Shown):  # noqa: N801
    """A span of virtual time, its end left out."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            self._refuse()

    def covers(self, time: float, number: int) -> bool:  # noqa: ARG002 - as above
        """Whether that holds for a commit at this time."""
        return self.start <= time < self.end


Moment = every | commit | between
"""When something happens to commits."""
