"""Whether the numbers of new rows are theirs alone, asked before any of a batch is applied in memory."""

from __future__ import annotations

from collections.abc import Mapping

from everact.storage.protocol import Batch
from everact.tasks.errors import StorageError
from everact.tasks.record import Record


def check(batch: Batch, rows: Mapping[int, Record]) -> None:
    """Refuse the whole batch if a `seq` in it is another row's.

    Raises:
        StorageError: One is.
    """
    follow_ups = [record for ended in (batch.outcomes, batch.cancels) for o in ended for record in o.follow_ups]
    records = follow_ups + batch.inserts
    seqs = {record.seq for record in records}
    if len(seqs) == len(records) and rows.keys().isdisjoint(seqs):
        return
    ids: dict[int, bytes] = {}
    for record in records:
        standing = rows.get(record.seq, record)
        if ids.setdefault(record.seq, standing.id) != record.id:
            raise clash(record)


def clash(record: Record) -> StorageError:
    """The error that says so."""
    return StorageError(f"these rows cannot be kept, nothing was stored (seq {record.seq} is another task's)")
