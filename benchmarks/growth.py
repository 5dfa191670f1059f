"""Tasks per second as the number of handler types and the number of stored records grow."""

from __future__ import annotations

import threading
import uuid

from benchmarks.figures import Figures
from benchmarks.systems import WAIT, dispatch_all, noop, numbered, system, url_of
from benchmarks.watch import Watch
from everact import ActorSystem
from everact.storage.protocol import Batch
from everact.storage.sqlite import SqliteStorage
from everact.tasks import status
from everact.tasks.record import Record

PER_COMMIT = 2000
NUMBER_BITS = 40
"""A record's number has the incarnation above these bits."""
MICROSECONDS = 1_000_000
BEGUN = 1_800_000_000 * MICROSECONDS
"""When the stored tasks ended: ahead of the clock, so that no retention takes them away meanwhile."""


def types(count: int, storage: str, number: int) -> Figures:
    """So many handlers, which take turns."""
    handlers = [numbered(each) for each in range(number)]
    with system(storage, handlers) as running:
        work = [handlers[each % number].task(each) for each in range(count)]
        with Watch() as watch:
            dispatch_all(running, work)
            running.wait_idle(WAIT)
        return watch.per_task(count) | {"threads": threading.active_count()}


def records(count: int, per_task: float) -> Figures:
    """A file that holds finished tasks already: so many for each that is dispatched now."""
    stored = int(count * per_task)
    with url_of("sqlite") as url:
        _store(url, stored)
        with ActorSystem(handlers=[noop], storage=url) as running:
            work = [noop.task(1, 2)] * count
            with Watch() as watch:
                dispatch_all(running, work)
                running.wait_idle(WAIT)
    return watch.per_task(count) | {"records before": stored}


def _store(url: str, count: int) -> None:
    """Write finished tasks as a storage writes them, without running them."""
    storage = SqliteStorage(url.removeprefix("sqlite:///"), durability="process")
    incarnation = storage.open(BEGUN)
    for start in range(0, count, PER_COMMIT):
        numbers = range(start, min(start + PER_COMMIT, count))
        storage.commit(Batch(BEGUN, inserts=[_record(incarnation, number) for number in numbers]))
    storage.close()


def _record(incarnation: int, number: int) -> Record:
    at = BEGUN + number
    return Record(
        id=uuid.UUID(int=(at // 1000 << 80) + number).bytes,
        type="benchmarks.growth.stored",
        payload=b'{"a":1,"b":2}',
        due=at,
        created=at,
        started=at,
        finished=at,
        status=status.COMPLETED,
        seq=(incarnation << NUMBER_BITS) + number + 1,
        owner=incarnation,
    )
