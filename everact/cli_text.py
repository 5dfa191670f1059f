"""How the command line shows tasks: as aligned text that is safe on a terminal, and as plain data for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import click
import msgspec

from everact.tasks.record import HistoryEntry, TaskError, TaskRecord

COLOURS = {"completed": "green", "failed": "red", "quarantined": "red", "cancelled": "yellow", "running": "cyan"}
COLOURS |= {"stuck": "red", "compensating": "yellow", "compensated": "yellow"}
LONGEST_CELL = 80
LIST_COLUMNS = ("ID", "STATUS", "ATTEMPT", "CREATED", "TYPE", "ERROR")


def printable(text: str) -> str:
    r"""Escape what a terminal would obey: control characters, and marks that turn the direction of text.

    Names, errors and tags come from whoever dispatched a task.

    Example:
        >>> print(printable("red \x1b[31m, back \u202e, caf\u00e9"))
        red \x1b[31m, back \u202e, café
    """
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align columns; the words for a status get a colour."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [_coloured(cell, cell.ljust(width)) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _coloured(word: str, text: str) -> str:
    return click.style(text, fg=COLOURS[word]) if word in COLOURS else text


def task_table(tasks: Sequence[TaskRecord]) -> Iterator[str]:
    """Lay tasks out, one to a line."""
    return table(LIST_COLUMNS, [_row(task) for task in tasks])


def _row(task: TaskRecord) -> list[str]:
    error = "" if task.error is None else printable(str(task.error))
    short = error if len(error) <= LONGEST_CELL else f"{error[: LONGEST_CELL - 3]}..."
    return [str(task.id), str(task.status), str(task.attempt), _moment(task.created), printable(task.type), short]


def task_page(task: TaskRecord, history: Sequence[HistoryEntry]) -> Iterator[str]:
    """Lay all there is to know about one task out: record, error, history."""
    shown = {name: text for name, value in _fields(task).items() if (text := _shown(value))}
    width = max(map(len, shown))
    for name, text in shown.items():
        yield f"{name.ljust(width)}  {_coloured(text, text)}"
    yield from _error_lines(task.error)
    yield ""
    rows = [[_moment(e.at, "milliseconds"), e.event, str(e.attempt or ""), printable(e.detail)] for e in history]
    yield from table(["AT", "EVENT", "ATTEMPT", "DETAIL"], rows)


def _fields(task: TaskRecord) -> dict[str, Any]:
    return {name.replace("_", " "): value for name in _NAMES if (value := getattr(task, name)) is not None}


_NAMES = [name for name in TaskRecord.__dataclass_fields__ if name not in {"error", "status"}]
_NAMES.insert(2, "status")


def _shown(value: Any) -> str:
    if isinstance(value, datetime):
        return _moment(value, "milliseconds")
    if isinstance(value, UUID | int):
        return str(value)
    if isinstance(value, tuple):
        return ", ".join(map(printable, value))
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping) and not value:
        return ""
    return printable(json.dumps(msgspec.to_builtins(value), ensure_ascii=False))


def _error_lines(error: TaskError | None) -> Iterator[str]:
    if error is None:
        return
    yield ""
    yield f"error: {printable(str(error))}"
    for line in error.traceback.splitlines():
        yield f"  {printable(line)}"


def _moment(at: datetime, precision: str = "seconds") -> str:
    return at.isoformat(timespec=precision)


def task_data(task: TaskRecord) -> dict[str, Any]:
    """Turn a task into plain data: ids as text, times in ISO 8601, a status by its name, no field left out."""
    data: dict[str, Any] = msgspec.to_builtins(task)
    error = None if task.error is None else msgspec.structs.asdict(task.error)
    return data | {"status": str(task.status), "error": error}


def history_data(history: Sequence[HistoryEntry]) -> list[dict[str, Any]]:
    """Turn a history into plain data."""
    return [msgspec.to_builtins(entry) for entry in history]
