"""A storage behind the runtime: every call into it is a place where a simulation may switch, fail or crash."""

from __future__ import annotations

from collections.abc import Collection

from everact.actors.runtime import Runtime
from everact.storage.protocol import Adoption, Batch, Committed, Selection, Storage, Sweep, Waiting
from everact.tasks.record import HistoryRow, Record
from everact.tasks.unwinding import Entry, WorkflowRow
from everact.tasks.workflow import WorkflowState


class StorageSeam:
    """Makes each call of a `Storage` through `Runtime.storage_call`; see there for what the calls do."""

    def __init__(self, runtime: Runtime, storage: Storage) -> None:
        self._call = runtime.storage_call
        self._storage = storage
        self.url, self.inline, self.durable = storage.url, storage.inline, storage.durable

    def open(self, now: int) -> int:
        """See `Storage.open`."""
        return self._call(self._storage.open, now)

    def commit(self, batch: Batch) -> Committed:
        """See `Storage.commit`."""
        return self._call(self._storage.commit, batch)

    def adopt(self, types: Collection[str], now: int) -> Adoption:
        """See `Storage.adopt`."""
        return self._call(self._storage.adopt, types, now)

    def quiet(self) -> bool:
        """See `Storage.quiet`."""
        return self._call(self._storage.quiet)

    def ready(self, types: Collection[str], now: int, skip: Collection[int], limit: int) -> list[Record]:
        """See `Storage.ready`."""
        return self._call(self._storage.ready, types, now, skip, limit)

    def scheduled(self, types: Collection[str], after: int, skip: Collection[int], limit: int) -> list[Record]:
        """See `Storage.scheduled`."""
        return self._call(self._storage.scheduled, types, after, skip, limit)

    def retrying(self, types: Collection[str]) -> bool:
        """See `Storage.retrying`."""
        return self._call(self._storage.retrying, types)

    def sweep(self, before: int, after: int, limit: int) -> Sweep:
        """See `Storage.sweep`."""
        return self._call(self._storage.sweep, before, after, limit)

    def get(self, id: bytes) -> Record | None:
        """See `Storage.get`."""
        return self._call(self._storage.get, id)

    def select(self, selection: Selection) -> list[Record]:
        """See `Storage.select`."""
        return self._call(self._storage.select, selection)

    def counts(self, now: int) -> dict[int, int]:
        """See `Storage.counts`."""
        return self._call(self._storage.counts, now)

    def waiting(self, now: int, skip: Collection[int]) -> list[Waiting]:
        """See `Storage.waiting`."""
        return self._call(self._storage.waiting, now, skip)

    def history(self, id: bytes) -> list[HistoryRow]:
        """See `Storage.history`."""
        return self._call(self._storage.history, id)

    def asked(self, types: Collection[str]) -> list[Record]:
        """See `Storage.asked`."""
        return self._call(self._storage.asked, types)

    def unowned(self, types: Collection[str]) -> list[Record]:
        """See `Storage.unowned`."""
        return self._call(self._storage.unowned, types)

    def crashed(self, owner: int) -> bool:
        """See `Storage.crashed`."""
        return self._call(self._storage.crashed, owner)

    def workflow(self, id: bytes) -> WorkflowRow | None:
        """See `Storage.workflow`."""
        return self._call(self._storage.workflow, id)

    def workflows(self, states: Collection[WorkflowState] | None, after: bytes, limit: int) -> list[WorkflowRow]:
        """See `Storage.workflows`."""
        return self._call(self._storage.workflows, states, after, limit)

    def undo_log(self, workflow: bytes) -> list[Entry]:
        """See `Storage.undo_log`."""
        return self._call(self._storage.undo_log, workflow)

    def alive(self, owner: int) -> bool:
        """See `Storage.alive`."""
        return self._call(self._storage.alive, owner)

    def release_reserve(self) -> bool:
        """See `Storage.release_reserve`."""
        return self._call(self._storage.release_reserve)

    def restore_reserve(self) -> bool:
        """See `Storage.restore_reserve`."""
        return self._call(self._storage.restore_reserve)

    def close(self) -> None:
        """See `Storage.close`."""
        return self._call(self._storage.close)

    def abandon(self) -> None:
        """See `Storage.abandon`. Not through the runtime: this is what a crash itself does."""
        self._storage.abandon()
