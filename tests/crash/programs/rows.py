"""The records as they are in the database file, read without everact."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from everact import TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record; `kind` is the last part of its type, `payload` the fields of its task."""

    id: str
    kind: str
    status: TaskStatus
    payload: Mapping[str, Any]
    parent: str | None = None
    key: str | None = None
    crashes: int = 0
    finished: float | None = None

    @property
    def name(self) -> str:
        """The name that its dispatcher gave it."""
        return str(self.payload["name"])


def read_rows(path: Path) -> list[Row]:
    """Read all records in the order in which they were stored."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT id, type, status, payload, parent, key, crashes, finished FROM task ORDER BY seq"
        return [_row(*cells) for cells in connection.execute(query)]


def _row(
    id: bytes,
    type: str,
    status: int,
    payload: bytes,
    parent: bytes | None,
    key: str | None,
    crashes: int,
    finished: int | None,
) -> Row:
    return Row(
        id=str(UUID(bytes=id)),
        kind=type.rpartition(".")[2],
        status=TaskStatus(status),
        payload=msgspec.json.decode(payload),
        parent=None if parent is None else str(UUID(bytes=parent)),
        key=key,
        crashes=crashes,
        finished=None if finished is None else finished / 1e6,
    )
