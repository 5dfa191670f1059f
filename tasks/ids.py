"""Task ids: UUIDs at the API, 16 bytes inside, time-ordered (UUIDv7, RFC 9562 section 5.7)."""

from __future__ import annotations

from uuid import UUID

TaskId = UUID | str
"""What the public API takes wherever it asks for an id."""


_48_BITS = 0xFFFF_FFFF_FFFF
_RANDOM = 0x0FFF_3FFF_FFFF_FFFF_FFFF
_VERSION_AND_VARIANT = 0x7000_8000_0000_0000_0000


def uuid7_bytes(milliseconds: int, randomness: int) -> bytes:
    """Build the 16 bytes of a UUIDv7.

    Args:
        milliseconds: Wall-clock time since the Unix epoch.
        randomness: 80 random bits, of which version and variant take the place of 6; higher bits are ignored.

    Returns:
        The id in network byte order, so that comparing bytes compares times.

    Example:
        >>> UUID(bytes=uuid7_bytes(1_700_000_000_000, 0)).version
        7
    """
    return ((milliseconds & _48_BITS) << 80 | randomness & _RANDOM | _VERSION_AND_VARIANT).to_bytes(16, "big")


def id_bytes(value: TaskId) -> bytes:
    """Turn a caller's id into the 16 bytes that records are found by.

    Args:
        value: A `UUID`, or its text in any form that `uuid.UUID` reads.

    Raises:
        ValueError: The text is not a UUID.
        TypeError: It is neither text nor a `UUID`.

    Example:
        >>> id_bytes("00000000-0000-0000-0000-0000000000ff")[-1]
        255
    """
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, str):
        try:
            return UUID(value).bytes
        except ValueError:
            msg = f"{value!r} is not a task id; pass the UUID that dispatch() returned, or its text"
            raise ValueError(msg) from None
    msg = f"a task id is a UUID or its text, not {type(value).__name__}; pass handle.id for a TaskHandle"
    raise TypeError(msg)
