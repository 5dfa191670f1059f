"""Writes one batch into SQLite: first as if everything fitted, row by row if something did not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TypeVar

from everact.storage import standing, statements
from everact.storage.ledger import Ledger
from everact.storage.protocol import Batch, CancelRequest, Claim, Committed, Outcome
from everact.storage.remarks import cancel_requested, key_taken_rows
from everact.storage.sqlite_workflows import SqliteWorkflows
from everact.storage.statements import chunks
from everact.tasks.record import HistoryRow, Record

Addressed = TypeVar("Addressed", Outcome, CancelRequest, Claim)


class NotAsExpected(Exception):
    """Some row did not fit, and the statement cannot tell which."""


class BatchWriter:
    """One batch on its way, used once.

    Attributes:
        deciding: Whether the last statement begun was one that commits; if it failed, it may have done so.
    """

    def __init__(self, connection: sqlite3.Connection, batch: Batch, owner: int) -> None:
        self.deciding = False
        self._connection = connection
        self._batch = batch
        self._owner = owner
        self._rows = statements.ROWS
        self._committed = Committed()
        self._history: list[HistoryRow] = []
        self._ledger: Ledger | None = None

    def write(self) -> Committed:
        """Write the batch and commit it, all or nothing.

        Every step gives up the GIL, so what fits into one statement commits by itself.

        Raises:
            sqlite3.Error: It failed; no transaction is left open.
        """
        batch = self._batch
        if not (batch.cancels or batch.requests or batch.claims or batch.history or batch.in_workflows):
            if not batch.outcomes and 0 < len(batch.inserts) <= statements.ROWS:
                return self._inserts_alone()
            if not batch.inserts and 0 < len(batch.outcomes) <= statements.ROWS and _stand_alone(batch.outcomes):
                return self._outcomes_alone()
        return self._in_transaction()

    def _inserts_alone(self) -> Committed:
        self.deciding = True
        try:
            self._insert(self._batch.inserts)
        except standing.HolderGone:
            return self._in_transaction()
        return self._committed

    def _outcomes_alone(self) -> Committed:
        outcomes = self._batch.outcomes
        self.deciding = True
        changed = statements.end(self._connection, outcomes)
        if changed == len(outcomes):
            return self._committed
        if not changed:
            return self._row_by_row()
        # Some were written, so that all that exist did fit.
        present = standing.present(self._connection, [outcome.seq for outcome in outcomes])
        self._lose(outcome for outcome in outcomes if outcome.seq not in present)
        return self._committed

    def _in_transaction(self) -> Committed:
        try:
            return self._attempt()
        except NotAsExpected:
            return self._row_by_row()

    def _row_by_row(self) -> Committed:
        self._rows = 1
        return self._attempt()

    def _attempt(self) -> Committed:
        self.deciding = False
        self._committed = Committed()
        self._history = []
        if self._batch.in_workflows:
            self._ledger = Ledger(SqliteWorkflows(self._connection), self._batch, self._owner)
        with Transaction(self._connection):
            self._apply()
            self.deciding = True
        return self._committed

    def _apply(self) -> None:
        batch = self._batch
        self._end(batch.outcomes, batch.inserts)
        if batch.cancels or batch.requests or batch.claims or batch.history:
            self._apply_the_rest(batch)
        if self._ledger is not None:
            self._close_ledger(self._ledger)
        if self._history:
            for rows in chunks(self._history, statements.ROWS):
                statements.note(self._connection, rows)

    def _apply_the_rest(self, batch: Batch) -> None:
        self._end(batch.cancels, ())
        self._history += map(cancel_requested, self._update(batch.requests, statements.request))
        self._update(batch.claims, self._claim)
        self._history += batch.history

    def _close_ledger(self, ledger: Ledger) -> None:
        for order in self._batch.orders:
            ledger.obey(order)
        ledger.conclude()
        self._history += ledger.history
        self._committed.changes = ledger.told

    def _end(self, outcomes: Sequence[Outcome], inserts: Sequence[Record]) -> None:
        """Write outcomes, then what follows from those that took effect, then the other inserts."""
        if self._ledger is not None:
            outcomes = self._without_parked_before(outcomes)
        ended = self._update(outcomes, statements.end) if outcomes else ()
        self._history += [outcome.history for outcome in ended if outcome.history is not None]
        follow_ups = [record for outcome in ended for record in outcome.follow_ups]
        if self._ledger is not None:
            follow_ups, inserts = self._ledger.end(ended), self._ledger.arrive(inserts)
        for records in chunks([*follow_ups, *inserts], statements.ROWS):
            self._insert(records)
        if self._ledger is not None:
            self._ledger.stored(self._committed.taken)
        if self._committed.taken:
            self._history += key_taken_rows(ended, self._committed.taken, self._batch.now)

    def _without_parked_before(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Lose the outcomes of sagas that have started that very stage before: that commit is sent a second time.

        Their attempts are not counted, so the fence lets them in as often as they come.
        """
        again = [outcome for outcome in outcomes if self._has_begun(outcome)]
        self._lose(again)
        return [outcome for outcome in outcomes if outcome not in again] if again else outcomes

    def _has_begun(self, outcome: Outcome) -> bool:
        parked = outcome.part is not None and outcome.part.parked and outcome.follow_ups
        return bool(parked) and standing.exists(self._connection, outcome.follow_ups[0].id)

    def _update(
        self,
        rows: Sequence[Addressed],
        statement: Callable[[sqlite3.Connection, Sequence[Addressed]], int],
    ) -> list[Addressed]:
        """Change the rows that fit, and return which did.

        Raises:
            NotAsExpected: Some did not, and more than one was written at a time.
        """
        fitted: list[Addressed] = []
        for chunk in chunks(rows, self._rows):
            if statement(self._connection, chunk) == len(chunk):
                fitted += chunk
            elif self._rows > 1:
                raise NotAsExpected
            else:
                self._lose(chunk)
        return fitted

    def _claim(self, connection: sqlite3.Connection, claims: Sequence[Claim]) -> int:
        return statements.claim(connection, claims, self._owner)

    def _insert(self, records: Sequence[Record]) -> None:
        if statements.insert(self._connection, records) < len(records):
            self._committed.taken.update(standing.left_out(self._connection, records))

    def _lose(self, rows: Iterable[Outcome | CancelRequest | Claim]) -> None:
        committed = self._committed
        where = {CancelRequest: committed.late, Claim: committed.unclaimed}
        for row in rows:
            where.get(type(row), committed.lost).add(row.seq)


class Transaction:
    """Commits what is done in a `with`, or rolls it back if that raises.

    IMMEDIATE, as a transaction that begins with a read cannot be sure to become one that writes.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
        finally:
            roll_back(self._connection)


def roll_back(connection: sqlite3.Connection) -> None:
    """End an open transaction, if there is one; a connection that cannot even do that is given up later."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass


def _stand_alone(outcomes: Sequence[Outcome]) -> bool:
    """Whether nothing but the rows themselves is written, each once: a statement changes a row only once."""
    if any(outcome.follow_ups or outcome.history is not None for outcome in outcomes):
        return False
    return len({outcome.seq for outcome in outcomes}) == len(outcomes)
