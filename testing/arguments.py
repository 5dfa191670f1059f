"""What a simulated test is given besides the simulation, drawn and made small by Hypothesis."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.control import current_build_context
from hypothesis.database import ExampleDatabase, choices_to_bytes
from hypothesis.strategies import SearchStrategy

from everact.tasks.errors import ConfigurationError

_QUIET: dict[str, Any] = {"deadline": None, "print_blob": False, "suppress_health_check": list(HealthCheck)}
_SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Drawing:
    """What was drawn once.

    Attributes:
        seed: A seed for the simulation.
        values: The arguments by name.
        text: What `drawn_again` makes them of.
        key: The same for equal values, whatever the seed.
    """

    seed: int
    values: Mapping[str, Any]
    text: str
    key: str

    def named(self, names: Iterable[str]) -> str:
        """Some of the values, as code."""
        return ", ".join(f"{name}={self.values[name]!r}" for name in names)


class _OneExample(ExampleDatabase):
    """Holds what was recorded elsewhere, and takes nothing in."""

    def __init__(self, choices: bytes) -> None:
        super().__init__()
        self._choices = choices

    def save(self, key: bytes, value: bytes) -> None:
        """See `ExampleDatabase.save`."""

    def delete(self, key: bytes, value: bytes) -> None:
        """See `ExampleDatabase.delete`."""

    def fetch(self, key: bytes) -> Iterator[bytes]:
        """See `ExampleDatabase.fetch`."""
        if not key.endswith((b".secondary", b".pareto")):
            yield self._choices


def search(
    strategies: Mapping[str, SearchStrategy[Any]], attempt: Callable[[Drawing], None], many: int, first: int | None
) -> None:
    """Try arguments until an attempt raises, then smaller ones as long as it still does; raises what the last one did.

    Args:
        strategies: Where the arguments come from.
        attempt: Given arguments and a seed. Once it has raised it must not look at the seed any more.
        many: How many to try.
        first: Decides which; None for always the same ones.
    """
    body = _body(strategies, attempt)
    if first is not None:
        body = seed(first)(body)
    derandomize = first is None
    phases = (Phase.generate, Phase.shrink)
    settings(
        max_examples=many,
        phases=phases,
        database=None,
        derandomize=derandomize,
        report_multiple_bugs=False,
        **_QUIET,
    )(body)()


def drawn_again(strategies: Mapping[str, SearchStrategy[Any]], text: str) -> Drawing:
    """The arguments of a drawing, from its text.

    Raises:
        ConfigurationError: The text was made from other strategies.
    """
    try:
        choices = base64.urlsafe_b64decode(text)
    except binascii.Error:
        choices = b""
    found: list[Drawing] = []
    settings(database=_OneExample(choices), phases=(Phase.reuse,), **_QUIET)(_body(strategies, found.append))()
    if not found or found[0].text != text:
        msg = "the arguments in the schedule were drawn from other strategies; find the failure anew"
        raise ConfigurationError(msg)
    return found[0]


def _body(strategies: Mapping[str, SearchStrategy[Any]], attempt: Callable[[Drawing], None]) -> Callable[[], None]:
    # The seed comes last: among what fails Hypothesis takes the smallest first choice, and then goes on to the next. It
    # tries nothing twice, so the smallest values with the smallest seed, which passed in the search, are out of reach.
    @given(st.fixed_dictionaries(dict(strategies)), _SEEDS)
    def body(values: dict[str, Any], number: int) -> None:
        choices = current_build_context().data.choices
        attempt(Drawing(number, values, _text(choices), _text(choices[:-1])))

    return body


def _text(choices: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(choices_to_bytes(choices)).decode()
