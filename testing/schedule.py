"""The choices of one run as a short text that replays it: `ev1:<fingerprint>:<seed>:<choices>`.

Choices are written as pairs of how many calm ones come before, and which one that is not; trailing calm ones are left
out, so a history that was shrunk to three surprises has a schedule of some twenty characters.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from everact.tasks.errors import ConfigurationError

VERSION = "ev1"
_MORE = 0x80


@dataclass(frozen=True, slots=True)
class Schedule:
    """What replays a run.

    Attributes:
        fingerprint: Of the application it was recorded with.
        seed: Where its ids and its jitter came from.
        choices: What was chosen, calm ones at the end left out.

    Example:
        >>> text = str(Schedule("0badcafe", 7, (0, 0, 2, 0, 1, 0, 0)))
        >>> text
        'ev1:0badcafe:7:AgIBAQ'
        >>> Schedule.parse(text).choices
        (0, 0, 2, 0, 1)
    """

    fingerprint: str
    seed: int
    choices: tuple[int, ...]

    def __str__(self) -> str:
        return f"{VERSION}:{self.fingerprint}:{self.seed}:{_encode(self.choices)}"

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule.

        Raises:
            ConfigurationError: It is none, or one of another version of the kit.
        """
        version, _, rest = text.partition(":")
        parts = rest.split(":")
        if version != VERSION or len(parts) != 3:  # noqa: PLR2004 - fingerprint, seed, choices
            msg = (
                f"{text[:40]!r} is no schedule of this version; one looks like {VERSION}:<fingerprint>:<seed>:<choices>"
            )
            raise ConfigurationError(msg)
        fingerprint, seed, choices = parts
        try:
            return cls(fingerprint, int(seed), tuple(_decode(choices)))
        except (ValueError, binascii.Error, zlib.error) as error:
            msg = f"schedule {text[:40]!r} is damaged ({error}); copy it whole"
            raise ConfigurationError(msg) from None


def _encode(choices: Sequence[int]) -> str:
    raw, calm = bytearray(), 0
    for choice in choices:
        if choice:
            raw += _varint(calm) + _varint(choice)
            calm = -1
        calm += 1
    packed = zlib.compress(bytes(raw), 9)
    # A tilde is no character of base64.
    body = b"~" + base64.urlsafe_b64encode(packed) if len(packed) < len(raw) else base64.urlsafe_b64encode(bytes(raw))
    return body.decode().rstrip("=")


def _decode(text: str) -> Iterator[int]:
    packed = text.startswith("~")
    body = text.removeprefix("~")
    raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    numbers = _numbers(zlib.decompress(raw) if packed else raw)
    for calm in numbers:
        yield from [0] * calm
        yield next(numbers, 0)


def _varint(number: int) -> bytes:
    low = []
    while number >= _MORE:
        low.append(number & (_MORE - 1) | _MORE)
        number >>= 7
    return bytes([*low, number])


def _numbers(raw: bytes) -> Iterator[int]:
    number, shift = 0, 0
    for byte in raw:
        number |= (byte & (_MORE - 1)) << shift
        shift += 7
        if byte < _MORE:
            yield number
            number, shift = 0, 0
