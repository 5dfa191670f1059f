"""Pages of what waits in memory, in the order in which a file would give them."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Collection, Iterable, Iterator
from operator import attrgetter

from everact.storage.adoption import Pair
from everact.storage.protocol import Waiting
from everact.tasks import status as st
from everact.tasks.record import Record
from everact.tasks.schedule import FOREVER


def waiting(
    rows: Iterable[Record], mine: Collection[Pair], types: Collection[str], skip: Collection[int]
) -> Iterator[Record]:
    """Choose the rows that wait, are of these types, and belong to one of these owners with that type."""
    for row in rows:
        waits = row.status < st.RUNNING and row.type in types and row.seq not in skip
        if waits and (row.owner, row.type) in mine:
            yield row


def ready(rows: Iterable[Record], now: int, latest: int, limit: int) -> list[Record]:
    """See `Storage.ready`; `latest` is the latest that the clock is known to have shown."""
    due = (row for row in rows if row.due <= now or (row.status == st.QUEUED and row.due <= latest))
    return [copy.copy(row) for row in heapq.nsmallest(limit, due, key=_order)]


def scheduled(rows: Iterable[Record], after: int, limit: int) -> list[Record]:
    """See `Storage.scheduled`; what is due at the end of time waits for something else, a saga for its stage."""
    later = (row for row in rows if row.status == st.SCHEDULED and after < row.due < FOREVER)
    return [copy.copy(row) for row in heapq.nsmallest(limit, later, key=_time)]


def counts(rows: Iterable[Record], now: int, skip: Collection[int]) -> list[Waiting]:
    """See `Storage.waiting`."""
    counted: dict[str, list[Record]] = {}
    for row in rows:
        if row.status < st.RUNNING and row.seq not in skip:
            counted.setdefault(row.type, []).append(row)
    return [_count(name, now, records) for name, records in counted.items()]


def _count(name: str, now: int, records: list[Record]) -> Waiting:
    due = [record.due for record in records if record.due <= now or record.status == st.QUEUED]
    return Waiting(name, len(due), len(records) - len(due), min(due, default=None))


def _order(record: Record) -> tuple[int, int, int]:
    return -record.priority, record.due, record.seq


_time = attrgetter("due", "seq")
