"""Records in dictionaries: nothing outlives the process, and a commit costs less than a microsecond per row."""

from __future__ import annotations

import copy
import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from operator import attrgetter

from everact.storage import memory_backlog, memory_seqs
from everact.storage.adoption import Group, Pair, plan_adoption
from everact.storage.ledger import Ledger
from everact.storage.memory_workflows import MemoryWorkflows
from everact.storage.protocol import (
    NOBODY,
    NOTHING_LOST,
    Adoption,
    Batch,
    CancelRequest,
    Claim,
    Committed,
    Outcome,
    Selection,
    Sweep,
    Waiting,
)
from everact.storage.remarks import cancel_requested, key_taken_rows, recovered
from everact.tasks import status as st
from everact.tasks.errors import StorageUnavailable
from everact.tasks.record import HistoryRow, Record
from everact.tasks.unwinding import Entry, WorkflowRow
from everact.tasks.workflow import WorkflowState

FIRST_TERMINAL = st.COMPLETED
KEPT = 100_000
"""Finished records that are kept, the last ones: what is in memory only must not grow for ever."""
LOOKED_AT = 1000
"""So many of those above that are looked at in one commit."""


class MemoryStorage:
    """A storage in this process.

    It keeps the records it is given and changes them as outcomes arrive, and hands out copies. `commit`
    and `adopt` by one thread at a time, the reads by any: each reads the dictionaries in one operation.

    Given to a second system after the first has stopped, or was abandoned, it behaves like a file: the second
    is a new incarnation and adopts.
    """

    url = "memory://"
    inline = True
    durable = False

    def __init__(self) -> None:
        self._rows: dict[int, Record] = {}
        self._ids: dict[bytes, Record] = {}
        self._keys: dict[tuple[str, str], Record] = {}
        self._history: dict[bytes, list[HistoryRow]] = {}
        self._ended: deque[Record] = deque()
        self._incarnation = self._latest = 0
        self._open = False
        self._crashed: set[int] = set()
        self._adopters: dict[Pair, int] = {}
        self._settled: frozenset[str] | None = None
        self._unhandled: dict[str, int] = {}
        self._workflows = MemoryWorkflows(self._ids, self._insert)
        self._ledger: Ledger | None = None
        self._answer = Committed()  # the next one, empty; made anew only after one that was not

    def open(self, now: int) -> int:  # noqa: ARG002 - only a file remembers when
        """Begin a new incarnation; see `Storage.open`."""
        if self._open:
            raise StorageUnavailable("this memory storage is open already; give each ActorSystem one of its own")
        self._open = True
        self._incarnation += 1
        self._latest, self._settled = 0, None
        return self._incarnation

    # Writing

    def commit(self, batch: Batch) -> Committed:
        """Apply a batch; see `Storage.commit`. Nothing in it can fail but a `seq` that is given twice."""
        if not self._open:
            raise StorageUnavailable("this memory storage is not open")
        self._latest = max(self._latest, batch.now)
        answer = self._answer
        outcomes, inserts = batch.outcomes, batch.inserts
        if batch.in_workflows:
            self._ledger = Ledger(self._workflows, batch, self._incarnation)
        if len(outcomes) + len(inserts) > 1 or batch.cancels or (outcomes and outcomes[0].follow_ups):
            memory_seqs.check(batch, self._rows)
        if outcomes or self._ledger is not None:
            self._end(outcomes, inserts, batch.now, answer)
        elif inserts:
            self._insert(inserts, answer)
        if batch.cancels or batch.requests or batch.claims or batch.history:
            self._rest(batch, answer)
        if self._ledger is not None:
            self._close_ledger(self._ledger, batch, answer)
        if not (answer.lost or answer.unclaimed or answer.taken or answer.late or answer.changes):
            return NOTHING_LOST
        self._answer = Committed()
        return answer

    def _rest(self, batch: Batch, answer: Committed) -> None:
        self._end(batch.cancels, (), batch.now, answer)
        for request in batch.requests:
            self._request(request, answer)
        for claim in batch.claims:
            self._claim(claim, answer)
        for row in batch.history:
            self._note(row)

    def _close_ledger(self, ledger: Ledger, batch: Batch, answer: Committed) -> None:
        for order in batch.orders:
            ledger.obey(order)
        ledger.conclude()
        for row in ledger.history:
            self._note(row)
        answer.changes, self._ledger = ledger.told, None

    def _end(self, outcomes: Sequence[Outcome], inserts: Sequence[Record], now: int, answer: Committed) -> None:
        """Apply outcomes, then what follows from those that took effect, then the other inserts.

        A reader may see a row half changed, so the status comes last.
        """
        rows = self._rows
        parents: list[Outcome] | None = None
        for outcome in outcomes:
            record = rows.get(outcome.seq)
            if (
                record is None
                or record.owner != outcome.owner
                or record.attempt != outcome.expected
                or record.status >= FIRST_TERMINAL
                or (outcome.part is not None and outcome.part.parked and self._has_begun(outcome))
            ):
                answer.lost.add(outcome.seq)
                continue
            if record.suspect and record.attempt != outcome.attempt:
                record.suspect = False
            record.attempt = outcome.attempt
            record.due = outcome.due
            record.started = outcome.started
            record.finished = outcome.finished
            record.result = outcome.result
            record.error = outcome.error
            record.status = status = outcome.status
            if status >= FIRST_TERMINAL:
                if record.key is not None:
                    self._keys.pop((record.type, record.key), None)
                self._ended.append(record)
            if outcome.history is not None:
                self._note(outcome.history)
            if outcome.follow_ups or outcome.part is not None:
                parents = parents or []
                parents.append(outcome)
        if parents:
            self._follow(parents, now, answer)
        if inserts:
            self._insert(inserts if self._ledger is None else self._ledger.arrive(inserts), answer)
        if self._ledger is not None:
            self._ledger.stored(answer.taken)
        if len(self._ended) > KEPT:
            self._forget_oldest()

    def _has_begun(self, outcome: Outcome) -> bool:
        """Whether a saga has started that very stage before: its commit is sent a second time, which no fence sees."""
        return bool(outcome.follow_ups) and outcome.follow_ups[0].id in self._ids

    def _forget_oldest(self) -> None:
        """Forget what ended first, unless its workflow still goes on and may ask for it; a few at a time."""
        for _ in range(min(len(self._ended) - KEPT, LOOKED_AT)):
            record = self._ended.popleft()
            workflow = self._workflows.rows.get(record.workflow_id)
            if workflow is None or workflow.state.final:
                self._forget(record)
            else:
                self._ended.append(record)

    def _follow(self, parents: list[Outcome], now: int, answer: Committed) -> None:
        if self._ledger is not None:
            self._insert(self._ledger.end(parents), answer)
        else:
            for parent in parents:
                self._insert(parent.follow_ups, answer)
        if answer.taken:
            for row in key_taken_rows(parents, answer.taken, now):
                self._note(row)

    def _insert(self, records: Iterable[Record], answer: Committed) -> None:
        ids, rows = self._ids, self._rows
        for record in records:
            standing = ids.get(record.id)
            if standing is not None:
                # The same row again: its batch was sent twice, since its outcome was unknown.
                if standing.seq != record.seq:
                    answer.taken[record.id] = copy.copy(standing)
                continue
            if record.key is not None and record.status < FIRST_TERMINAL:
                holder = self._keys.setdefault((record.type, record.key), record)
                if holder is not record:
                    answer.taken[record.id] = copy.copy(holder)
                    continue
            if rows.setdefault(record.seq, record) is not record:
                raise memory_seqs.clash(record)
            ids[record.id] = record
            if record.workflow is not None:
                self._workflows.members.setdefault(record.workflow, []).append(record)
            if record.status >= FIRST_TERMINAL:
                self._ended.append(record)

    def _request(self, request: CancelRequest, answer: Committed) -> None:
        record = self._rows.get(request.seq)
        if record is None or record.status >= FIRST_TERMINAL:
            answer.late.add(request.seq)
            return
        record.cancel_requested = request.reason
        self._note(cancel_requested(request))

    def _claim(self, claim: Claim, answer: Committed) -> None:
        record = self._rows.get(claim.seq)
        if (
            record is None
            or (record.owner, record.attempt) != (claim.owner, claim.expected)
            or record.status > st.QUEUED
        ):
            answer.unclaimed.add(claim.seq)
            return
        record.owner = self._incarnation
        record.status = st.RUNNING

    def _note(self, row: HistoryRow) -> None:
        self._history.setdefault(row.task, []).append(row)

    # Retention

    def sweep(self, before: int, after: int, limit: int) -> Sweep:  # noqa: ARG002 - one look at all is cheap here
        """Delete what ended long ago; see `Storage.sweep`."""
        rows = list(self._rows.values())
        ended = [record for record in rows if record.status >= FIRST_TERMINAL]
        kept = {row.workflow_id for row in rows if row.status < FIRST_TERMINAL or (row.finished or 0) >= before}
        kept |= {row.id for row in self._workflows.rows.values() if not row.state.final}
        old = [record for record in ended if record.workflow_id not in kept]
        for record in old:
            self._forget(record)
        oldest = min(((r.finished or 0) for r in ended if (r.finished or 0) >= before), default=None)
        return Sweep(None, len(old), oldest)

    def _forget(self, record: Record) -> None:
        if self._rows.pop(record.seq, None) is not None:
            self._ids.pop(record.id, None)
            self._history.pop(record.id, None)
            self._workflows.forget(record)

    # Adoption

    def adopt(self, types: Collection[str], now: int) -> Adoption:
        """Take over from earlier incarnations, which are all dead; see `Storage.adopt`."""
        if (wanted := frozenset(types)) == self._settled:  # nobody dies while this incarnation lives
            return Adoption(waiting={}, interrupted=0, unhandled=dict(self._unhandled))
        plan = plan_adoption(
            self._unfinished(), me=self._incarnation, types=wanted, adopters=self._adopters, alive=self.alive
        )
        self._adopters.update(dict.fromkeys(plan.pairs, self._incarnation))
        for record in self._rows.values():
            if record.status == st.RUNNING and (record.owner, record.type) in plan.interrupted:
                self._recover(record, now)
        self._settled, self._unhandled = wanted, plan.adoption.unhandled
        adopted = (r.due for r in self._rows.values() if r.status == st.QUEUED and (r.owner, r.type) in plan.pairs)
        self._latest = max(self._latest, *adopted, 0)
        return plan.adoption

    def _unfinished(self) -> list[Group]:
        rows = Counter(
            (r.owner, r.type, r.status == st.RUNNING) for r in self._rows.values() if r.status < FIRST_TERMINAL
        )
        return [Group(*key, count) for key, count in rows.items()]

    def _recover(self, record: Record, now: int) -> None:
        crashed = record.owner in self._crashed
        self._note(recovered(record.id, record.attempt + 1, record.owner, now, crashed=crashed))
        record.crashes += crashed
        record.suspect = True
        record.due = min(record.due, now)
        record.owner = self._incarnation
        record.status = st.QUEUED

    def quiet(self) -> bool:
        """There is nobody else; see `Storage.quiet`."""
        return self._settled is not None

    def ready(self, types: Collection[str], now: int, skip: Collection[int], limit: int) -> list[Record]:
        """Read a page of rows that may start; see `Storage.ready`."""
        self._latest = max(self._latest, now, *(row.created for row in list(self._rows.values())))
        return memory_backlog.ready(self._waiting(types, skip), now, self._latest, limit)

    def scheduled(self, types: Collection[str], after: int, skip: Collection[int], limit: int) -> list[Record]:
        """Read a page of rows that are due later; see `Storage.scheduled`."""
        return memory_backlog.scheduled(self._waiting(types, skip), after, limit)

    def retrying(self, types: Collection[str]) -> bool:
        """Tell whether a task waits for its next attempt; see `Storage.retrying`."""
        return any(row.status == st.SCHEDULED and row.attempt > 0 for row in self._waiting(types, ()))

    def _waiting(self, types: Collection[str], skip: Collection[int]) -> Iterator[Record]:
        mine = {pair for pair, adopter in self._adopters.items() if adopter == self._incarnation}
        mine |= {(self._incarnation, type_) for type_ in types}
        return memory_backlog.waiting(list(self._rows.values()), mine, types, skip)

    def alive(self, owner: int) -> bool:
        """Whether it is the one that has this storage open."""
        return self._open and owner == self._incarnation

    # Reading

    def get(self, id: bytes) -> Record | None:
        """Read one row."""
        return copy.copy(self._ids.get(id))

    def select(self, selection: Selection) -> list[Record]:
        """List rows in order of `seq`; a workflow's root belongs to it."""
        fitting = (record for record in list(self._rows.values()) if _fits(record, selection))
        return [copy.copy(record) for record in heapq.nsmallest(selection.limit, fitting, key=_seq)]

    def counts(self, now: int) -> dict[int, int]:
        """Count rows by status; see `Storage.counts`."""
        rows = list(self._rows.values())
        return dict(Counter(st.QUEUED if r.status == st.SCHEDULED and r.due <= now else r.status for r in rows))

    def asked(self, types: Collection[str]) -> list[Record]:
        """Read what was asked to stop; see `Storage.asked`."""
        return [copy.copy(record) for record in self._waiting(types, ()) if record.cancel_requested is not None]

    def unowned(self, types: Collection[str]) -> list[Record]:
        """Read what is nobody's; see `Storage.unowned`."""
        rows = [row for row in list(self._rows.values()) if row.owner == NOBODY and row.status == st.QUEUED]
        return [copy.copy(row) for row in rows if row.type in types]

    def crashed(self, owner: int) -> bool:
        """Whether that incarnation was abandoned."""
        return owner in self._crashed

    def workflow(self, id: bytes) -> WorkflowRow | None:
        """Read a workflow; see `Storage.workflow`."""
        return self._workflows.load((id,)).get(id)

    def workflows(self, states: Collection[WorkflowState] | None, after: bytes, limit: int) -> list[WorkflowRow]:
        """List workflows; see `Storage.workflows`."""
        return self._workflows.select(states, after, limit)

    def undo_log(self, workflow: bytes) -> list[Entry]:
        """Read undo entries; see `Storage.undo_log`."""
        return self._workflows.log(workflow)

    def waiting(self, now: int, skip: Collection[int]) -> list[Waiting]:
        """Count what waits by type; see `Storage.waiting`."""
        return memory_backlog.counts(list(self._rows.values()), now, skip)

    def history(self, id: bytes) -> list[HistoryRow]:
        """Read what out of the ordinary happened to a task, oldest first."""
        return sorted(self._history.get(id, ()), key=_at)

    # Room

    def release_reserve(self) -> bool:
        """There is none: memory that is used up is an error of another kind."""
        return False

    def restore_reserve(self) -> bool:
        """There is none, and none is needed."""
        return True

    # Letting go

    def close(self) -> None:
        """End this incarnation cleanly; what it had running counts as interrupted, not as crashed."""
        self._open = False

    def abandon(self) -> None:
        """End this incarnation as a kill would."""
        if self._open:
            self._crashed.add(self._incarnation)
        self._open = False


def _fits(record: Record, selection: Selection) -> bool:
    return (
        record.seq > selection.after
        and (selection.statuses is None or record.status in selection.statuses)
        and (selection.type is None or record.type == selection.type)
        and (selection.workflow is None or record.workflow_id == selection.workflow)
    )


_seq = attrgetter("seq")
_at = attrgetter("at")
