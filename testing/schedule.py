"""The choices of one run as a short text that replays it: `ev1:<fingerprint>:<seed>:<choices>[:<more>]`.

Choices are written as pairs of how many calm ones come before, and which one that is not; trailing calm ones are left
out, so a history that was shrunk to three surprises has a schedule of some twenty characters. What else it takes to
repeat the run, a fault plan above all, is plain data and may follow.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
        more: What else is needed.

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
    more: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        more = f":{_pack(json.dumps(self.more, separators=(',', ':')).encode())}" if self.more else ""
        return f"{VERSION}:{self.fingerprint}:{self.seed}:{_encode(self.choices)}{more}"

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule.

        Raises:
            ConfigurationError: It is none, or one of another version of the kit.
        """
        version, _, rest = text.partition(":")
        parts = rest.split(":")
        if version != VERSION or len(parts) not in (3, 4):  # fingerprint, seed, choices, more
            msg = (
                f"{text[:40]!r} is no schedule of this version; one looks like {VERSION}:<fingerprint>:<seed>:<choices>"
            )
            raise ConfigurationError(msg)
        fingerprint, seed, choices, *more = parts
        try:
            return cls(
                fingerprint, int(seed), tuple(_decode(choices)), dict(json.loads(_unpack(more[0]))) if more else {}
            )
        except (ValueError, TypeError, binascii.Error, zlib.error) as error:
            msg = f"schedule {text[:40]!r} is damaged ({error}); copy it whole"
            raise ConfigurationError(msg) from None


def _encode(choices: Sequence[int]) -> str:
    raw, calm = bytearray(), 0
    for choice in choices:
        if choice:
            raw += _varint(calm) + _varint(choice)
            calm = -1
        calm += 1
    return _pack(bytes(raw))


def _decode(text: str) -> Iterator[int]:
    numbers = _numbers(_unpack(text))
    for calm in numbers:
        yield from [0] * calm
        yield next(numbers, 0)


def _pack(raw: bytes) -> str:
    packed = zlib.compress(raw, 9)
    # A tilde is no character of base64.
    body = b"~" + base64.urlsafe_b64encode(packed) if len(packed) < len(raw) else base64.urlsafe_b64encode(raw)
    return body.decode().rstrip("=")


def _unpack(text: str) -> bytes:
    body = text.removeprefix("~")
    raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    return zlib.decompress(raw) if text.startswith("~") else raw


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
