"""What only a storage in memory has to see to."""

from __future__ import annotations

import pytest

from everact.storage import memory
from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Batch, Selection, outcome_of
from everact.tasks.record import Record
from everact.tasks.status import COMPLETED

NOW = 1_700_000_000_000_000


def test_only_the_last_finished_records_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "KEPT", 3)
    storage = MemoryStorage()
    storage.open(NOW)
    rows = [
        Record(id=bytes([n]) * 16, type="t", payload=b"", due=NOW, created=NOW, seq=n, owner=1) for n in range(1, 9)
    ]
    storage.commit(Batch(NOW, inserts=rows))
    for row in (rows[2], *rows[:2], *rows[3:6]):
        storage.commit(Batch(NOW, outcomes=[outcome_of(row, COMPLETED)]))
    assert [row.seq for row in storage.select(Selection())] == [4, 5, 6, 7, 8]
    assert storage.get(rows[0].id) is None
