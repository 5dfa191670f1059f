"""Deleting what ended long ago, a few rows at a time and in the order in which they were stored."""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from everact.storage.batch_writer import Transaction
from everact.storage.rows import fetch

_ROWS = "task WHERE seq > ? ORDER BY seq LIMIT ?"
# All rows of the workflows that have rows among these, unless some row of the workflow has not ended for long enough.
_WHOLE = """
(WITH whole (id) AS (
          SELECT DISTINCT coalesce(workflow, id) FROM task WHERE seq IN (SELECT value FROM json_each(?))),
      member (seq, whole, ended) AS (
          SELECT task.seq, whole.id, status > 2 AND finished < ? FROM whole JOIN task ON task.id = whole.id
          UNION
          SELECT task.seq, whole.id, status > 2 AND finished < ?
          FROM whole JOIN task ON task.workflow = whole.id)
 SELECT seq FROM member WHERE whole NOT IN (SELECT whole FROM member WHERE NOT ended)
                          AND whole NOT IN (SELECT id FROM workflow WHERE finished IS NULL))
"""
_WORKFLOWS = "IN (SELECT coalesce(workflow, id) FROM task WHERE seq IN (SELECT value FROM json_each(?)))"
_HISTORY = "DELETE FROM history WHERE task IN (SELECT id FROM task WHERE seq IN (SELECT value FROM json_each(?)))"
_TASKS = "DELETE FROM task WHERE seq IN (SELECT value FROM json_each(?)) AND status > 2"


class Found(NamedTuple):
    """What a stretch of rows has.

    Attributes:
        last: `seq` of its last row; None if that is the last of all.
        old: `seq` of what to delete: whole workflows, so perhaps rows of other stretches.
        oldest: When the oldest finished row that stays had ended.
    """

    last: int | None
    old: list[int]
    oldest: int | None


def look(connection: sqlite3.Connection, before: int, after: int, limit: int) -> Found:
    """Look at the rows after a `seq`; see `Storage.sweep`."""
    rows = fetch(connection, "seq, iif(status > 2, finished, NULL)", _ROWS, (after, limit))
    finished = [(seq, ended) for seq, ended in rows if ended is not None]
    old = [seq for seq, ended in finished if ended < before]
    oldest = min((ended for _, ended in finished if ended >= before), default=None)
    whole = fetch(connection, "seq", _WHOLE, (json.dumps(old), before, before)) if old else []
    return Found(rows[-1][0] if len(rows) == limit else None, [seq for (seq,) in whole], oldest)


def delete(connection: sqlite3.Connection, seqs: list[int]) -> None:
    """Delete finished rows, their history, and what is kept of their workflows.

    Raises:
        sqlite3.Error: It failed, and nothing was deleted.
    """
    text = json.dumps(seqs)
    with Transaction(connection):
        connection.execute(_HISTORY, (text,))
        connection.execute(f"DELETE FROM undo WHERE workflow {_WORKFLOWS}", (text,))
        connection.execute(f"DELETE FROM workflow WHERE id {_WORKFLOWS}", (text,))
        connection.execute(_TASKS, (text,))
