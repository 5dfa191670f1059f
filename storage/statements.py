"""The SQL that writes, as statements over many rows, and the parameters they take.

Each step of a statement gives up the GIL and, beside a thread that computes, waits up to 5 ms to get it back.
So rows are written many at a time, never by `executemany`, which steps once per row.

Parameters are chosen for the fast paths of the `sqlite3` module: it looks for an adapter for every `bytes`
and `None` (0.5 µs each), not for `bytearray`, `int` and `str`. What may be NULL is bound as a number that the
column never holds, and turned into NULL by `nullif`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from everact.storage.protocol import CancelRequest, Claim, Outcome
from everact.tasks.record import HistoryRow, Record

T = TypeVar("T")
ROWS = 256
"""Rows of one statement at the most; more are no faster."""
CACHED_STATEMENTS = 512
"""More than there are different statements: each kind of `ManyRows` has about 28 lengths."""
NO_NUMBER = -(1 << 63)
NOTHING = 0
_encode = msgspec.json.encode


class ManyRows:
    """One statement over 1 to `ROWS` rows of parameters.

    Few lengths are used, about 28, so that the statements stay compiled; what is missing to the next length
    is filled up with copies of the last row, or with `filler` where copies would change something.
    """

    def __init__(self, text: str, row: str, filler: list[object] | None = None) -> None:
        self._before, self._after = text.split("{rows}")
        self._row = row
        self._filler = filler
        self._width = row.count("?")
        self._texts: dict[int, str] = {}

    def execute(self, connection: sqlite3.Connection, parameters: list[object]) -> int:
        """Run it once with the parameters of all rows, one after the other; the list is filled up.

        Returns:
            How many rows it changed.
        """
        return connection.execute(self.text_for(parameters), parameters).rowcount

    def text_for(self, parameters: list[object]) -> str:
        """Give the statement for that many rows, and fill the list up to its length."""
        rows = len(parameters) // self._width
        length = padded(rows)
        if length > rows:
            parameters += (self._filler or parameters[-self._width :]) * (length - rows)
        return self._texts.get(length) or self._text(length)

    def _text(self, rows: int) -> str:
        text = self._before + ",".join([self._row] * rows) + self._after
        self._texts[rows] = text
        return text


def padded(rows: int) -> int:
    """Round a number of rows up to one of four lengths per power of two.

    Example:
        >>> [padded(rows) for rows in (1, 7, 8, 9, 17, 100, 129, 256)]
        [1, 7, 8, 10, 20, 112, 160, 256]
    """
    step = 1 << max((rows - 1).bit_length() - 3, 0)
    return -(-rows // step) * step


def chunks(items: Sequence[T], size: int) -> Sequence[Sequence[T]]:
    """Cut a sequence into pieces of at most `size`."""
    if len(items) <= size:
        return (items,) if items else ()
    return [items[start : start + size] for start in range(0, len(items), size)]


# Inserts. The conflict targets are named, and the id comes first: a row that stands there already is left out,
# but a `seq` given twice is an error that undoes the statement.

_INSERT = """
INSERT INTO task ({columns}) VALUES {{rows}}
ON CONFLICT (id) DO NOTHING
ON CONFLICT (type, key) WHERE key IS NOT NULL AND status < 3 DO NOTHING
"""
_NULLABLE = {"key", "tags", "parent", "workflow", "headers", "key_id", "retry_of", "cancel_requested", "error"}
_NULLABLE |= {"result", "flow"}
_NULLABLE_NUMBERS = {"started", "finished", "checksum"}
_PLAIN = [
    "seq",
    "id",
    "type",
    "status",
    "owner",
    "priority",
    "due",
    "created",
    "key",
    "queue",
    "kind",
    "tags",
    "parent",
    "workflow",
    "headers",
    "payload",
    "checksum",
]
_REST = [
    "codec",
    "version",
    "key_id",
    "retry_of",
    "attempt",
    "crashes",
    "suspect",
    "cancel_requested",
    "result",
    "error",
    "started",
    "finished",
    "flow",
]


def _insert(columns: list[str]) -> ManyRows:
    cells = [_cell(column) for column in columns]
    return ManyRows(_INSERT.format(columns=", ".join(columns)), f"({','.join(cells)})")


def _cell(column: str) -> str:
    if column in _NULLABLE_NUMBERS:
        return f"nullif(?,{NO_NUMBER})"
    return f"nullif(?,{NOTHING})" if column in _NULLABLE else "?"


INSERT_PLAIN = _insert(_PLAIN)
INSERT_FULL = _insert(_PLAIN + _REST)


def insert(connection: sqlite3.Connection, records: Sequence[Record]) -> int:
    """Insert up to `ROWS` rows, leaving out those whose id or key is taken.

    Returns:
        How many were inserted.

    Raises:
        sqlite3.IntegrityError: A `seq` is another row's; nothing was written.
    """
    parameters: list[object] = []
    if all(map(_is_plain, records)):
        for record in records:
            parameters += _plain(record)
        return INSERT_PLAIN.execute(connection, parameters)
    for record in records:
        parameters += _plain(record)
        parameters += _rest(record)
    return INSERT_FULL.execute(connection, parameters)


def _is_plain(r: Record) -> bool:
    """Whether the columns of `_REST` have their defaults, as in nearly all new rows; half the cost then."""
    return (
        r.started is None
        and r.finished is None
        and r.key_id is None
        and r.retry_of is None
        and r.error is None
        and r.result is None
        and r.cancel_requested is None
        and r.flow is None
        and r.codec == "json"
        and r.version == 1
        and not (r.attempt or r.crashes or r.suspect)
    )


def _plain(r: Record) -> tuple[object, ...]:
    return (
        r.seq,
        bytearray(r.id),
        r.type,
        r.status,
        r.owner,
        r.priority,
        r.due,
        r.created,
        NOTHING if r.key is None else r.key,
        r.queue,
        r.kind,
        _encode(r.tags).decode() if r.tags else NOTHING,
        NOTHING if r.parent is None else bytearray(r.parent),
        NOTHING if r.workflow is None else bytearray(r.workflow),
        NOTHING if r.headers is None else _encode(r.headers).decode(),
        bytearray(r.payload),
        NO_NUMBER if r.checksum is None else r.checksum,
    )


def _rest(r: Record) -> tuple[object, ...]:
    return (
        r.codec,
        r.version,
        NOTHING if r.key_id is None else r.key_id,
        NOTHING if r.retry_of is None else bytearray(r.retry_of),
        r.attempt,
        r.crashes,
        int(r.suspect),
        NOTHING if r.cancel_requested is None else r.cancel_requested,
        NOTHING if r.result is None else bytearray(r.result),
        NOTHING if r.error is None else _encode(r.error).decode(),
        NO_NUMBER if r.started is None else r.started,
        NO_NUMBER if r.finished is None else r.finished,
        NOTHING if r.flow is None else _encode(r.flow).decode(),
    )


# Outcomes. The fence is a CASE without ELSE: one row that does not fit makes `status` NULL, which the schema
# forbids, and that undoes the whole statement. So it changes all rows that exist, or none, even outside of a
# transaction. An attempt that was counted has ended, so its task is no longer suspect.

OUTCOME = ManyRows(
    """
UPDATE task SET
    status = CASE WHEN owner = new.column2 AND attempt = new.column3 AND status < 3 THEN new.column4 END,
    suspect = suspect AND attempt = new.column5,
    attempt = new.column5,
    due = new.column6,
    started = nullif(new.column7, -9223372036854775808),
    finished = nullif(new.column8, -9223372036854775808),
    result = nullif(new.column9, 0),
    error = nullif(new.column10, 0)
FROM (VALUES {rows}) AS new WHERE seq = new.column1
""",
    "(?,?,?,?,?,?,?,?,?,?)",
)


ONE_OUTCOME = """
UPDATE task SET
    status = CASE WHEN owner = ? AND attempt = ? AND status < 3 THEN ? END,
    suspect = suspect AND attempt = ?,
    attempt = ?,
    due = ?,
    started = nullif(?, -9223372036854775808),
    finished = nullif(?, -9223372036854775808),
    result = nullif(?, 0),
    error = nullif(?, 0)
WHERE seq = ?
"""
"""The same for one row, for less than half: nothing has to be made a table first."""


def end(connection: sqlite3.Connection, outcomes: Sequence[Outcome]) -> int:
    """Write up to `ROWS` outcomes.

    Returns:
        How many rows there are for them; 0 also if one does not fit its row, nothing was written then.
    """
    try:
        if len(outcomes) == 1:
            seq, owner, expected, status, attempt, *rest = _ending(outcomes[0])
            parameters = (owner, expected, status, attempt, attempt, *rest, seq)
            return connection.execute(ONE_OUTCOME, parameters).rowcount
        return OUTCOME.execute(connection, [value for o in outcomes for value in _ending(o)])
    except sqlite3.IntegrityError:
        return 0


def _ending(o: Outcome) -> tuple[object, ...]:
    return (
        o.seq,
        o.owner,
        o.expected,
        o.status,
        o.attempt,
        o.due,
        NO_NUMBER if o.started is None else o.started,
        NO_NUMBER if o.finished is None else o.finished,
        NOTHING if o.result is None else bytearray(o.result),
        NOTHING if o.error is None else _encode(o.error).decode(),
    )


REQUEST = ManyRows(
    """
UPDATE task SET cancel_requested = new.column2
FROM (VALUES {rows}) AS new WHERE seq = new.column1 AND status < 3
""",
    "(?,?)",
)


def request(connection: sqlite3.Connection, requests: Sequence[CancelRequest]) -> int:
    """Write up to `ROWS` cancel requests, and return how many tasks were not finished yet."""
    return REQUEST.execute(connection, [value for r in requests for value in (r.seq, r.reason)])


CLAIM = ManyRows(
    """
UPDATE task SET owner = new.column4, status = 2
FROM (VALUES {rows}) AS new
WHERE seq = new.column1 AND owner = new.column2 AND attempt = new.column3 AND status < 2
""",
    "(?,?,?,?)",
)


def claim(connection: sqlite3.Connection, claims: Sequence[Claim], owner: int) -> int:
    """Write up to `ROWS` claims for `owner`, and return how many rows fitted."""
    return CLAIM.execute(connection, [value for c in claims for value in (c.seq, c.owner, c.expected, owner)])


HISTORY = ManyRows(
    """
INSERT INTO history (task, at, event, attempt, detail)
SELECT * FROM (VALUES {rows}) WHERE column1 <> 0
""",
    "(?,?,?,?,?)",
    filler=[0, 0, 0, 0, 0],
)


def note(connection: sqlite3.Connection, rows: Sequence[HistoryRow]) -> None:
    """Write up to `ROWS` history rows."""
    values: list[object] = [value for r in rows for value in (bytearray(r.task), r.at, r.event, r.attempt, r.detail)]
    HISTORY.execute(connection, values)
