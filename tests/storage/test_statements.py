"""Statements over many rows: few lengths, and parameters that the sqlite3 module binds without a detour."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.storage import statements
from everact.storage.protocol import Outcome
from everact.storage.statements import ROWS, ManyRows, chunks, padded
from everact.tasks.record import HistoryRow, Record


@given(st.integers(1, ROWS))
def test_a_length_is_never_shorter_and_at_most_a_quarter_longer(rows: int) -> None:
    assert rows <= padded(rows) <= min(rows * 1.25, ROWS)


def test_there_are_few_lengths() -> None:
    assert len({padded(rows) for rows in range(1, ROWS + 1)}) == 28


@given(st.integers(0, 40), st.integers(1, 9))
def test_chunks_are_the_sequence_cut_up(length: int, size: int) -> None:
    cut = list(chunks(range(length), size))
    assert [item for chunk in cut for item in chunk] == list(range(length))
    assert all(1 <= len(chunk) <= size for chunk in cut)


def test_filling_up_counts_no_row_twice() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, y)")
    many = ManyRows("INSERT INTO t VALUES {rows} ON CONFLICT (x) DO NOTHING", "(?,?)")
    assert many.execute(connection, [value for n in range(9) for value in (n, "y")]) == 9
    update = ManyRows("UPDATE t SET y = new.column2 FROM (VALUES {rows}) AS new WHERE x = new.column1", "(?,?)")
    assert update.execute(connection, [value for n in range(9) for value in (n, n)]) == 9
    assert connection.execute("SELECT sum(y) FROM t").fetchone() == (36,)


class Seen(Exception):
    """Carries the parameters that a statement was about to be run with."""


class Spy:
    def execute(self, sql: str, parameters: list[object]) -> None:
        raise Seen(parameters)


RECORD = Record(id=b"1" * 16, type="t", payload=b"{}", due=1, created=1, tags=("t",), headers={}, parent=b"2" * 16)
RETRIED = Record(id=b"1" * 16, type="t", payload=b"{}", due=1, created=1, result=b"1", attempt=1, suspect=True)
OUTCOME = Outcome(id=b"1" * 16, seq=1, owner=1, expected=0, status=3, attempt=1, due=1, result=b"1")
NOTE = HistoryRow(b"1" * 16, 1, "retry")


@pytest.mark.parametrize(
    ("write", "row"),
    [
        (statements.insert, RECORD),
        (statements.insert, RETRIED),
        (statements.end, OUTCOME),
        (statements.note, NOTE),
    ],
)
def test_parameters_need_no_adapter(write: object, row: object) -> None:
    # None, bytes and bool cost the sqlite3 module half a microsecond each, as it looks for an adapter.
    with pytest.raises(Seen) as seen:
        write(Spy(), [row])  # type: ignore[operator]
    assert {type(value) for value in seen.value.args[0]} <= {int, str, bytearray}
