"""What a commit has made true: counted for the metrics, and told to subscribers while there are any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from uuid import UUID

from everact.actors.commit import PlannedCancel, is_parked
from everact.actors.event_stream import EventStream
from everact.actors.messages import FinishDelivery
from everact.actors.outcome_events import cancel_event, finish_events, key_events, store_events
from everact.actors.pool import Pool
from everact.actors.runtime import Runtime
from everact.actors.ticket import Ticket
from everact.metrics.tally import BULK, Series, Tally
from everact.storage.changes import Changes
from everact.storage.protocol import Batch, Committed
from everact.tasks import status as st
from everact.tasks.events import TaskCancelled, WorkflowMoved


class Facts:
    """Where the journal says what it has committed. Called in its turn, so that counting needs no lock.

    Attributes:
        tally: Where it is counted; None if metrics are off.
        series: Its part for each stored name.
    """

    def __init__(self, runtime: Runtime, stream: EventStream) -> None:
        self._runtime = runtime
        self._stream = stream
        self.tally: Tally | None = None
        self.series: dict[str, Series] = {}

    def meter(self, tally: Tally, pools: Sequence[Pool]) -> None:
        """Count from now on."""
        self.tally = tally
        for pool in pools:
            pool.series = tally.series_of(pool.spec.name, pool.spec.queue)
            self.series.update(dict.fromkeys(pool.names, pool.series))

    def committed(self, began: float, batch: Batch) -> None:
        """One transaction, which began at a monotonic time."""
        if self.tally is not None:
            seconds = self._runtime.monotonic() - began
            rows = len(batch.outcomes) + len(batch.inserts) + len(batch.cancels)
            gathered = self.tally.commits.gathered
            gathered.extend((int(seconds * 1_000_000), rows))
            if len(gathered) >= BULK:
                self.tally.commits.sort_in()

    def stored(self, tickets: Sequence[Ticket]) -> None:
        """New tasks."""
        if self.tally is not None:
            self._count(self.tally, tickets)
        if self._stream.active:
            self._stream.publish_many(store_events(tickets))

    def ended(self, finishes: Sequence[FinishDelivery]) -> None:
        """The ends of deliveries, counted by type. Called before the tickets' records are brought up to date."""
        if self.tally is None:
            return
        for finish in finishes:
            outcome, ticket = finish.outcome, finish.ticket
            series = ticket.pool.series
            if series is None or (outcome.part is not None and is_parked(outcome)):
                continue
            series.ended[outcome.status] += 1
            started = outcome.started
            if started is not None and outcome.attempt != outcome.expected:  # `handle` was called, the attempt counts
                gathered = series.times.gathered
                gathered += (started - ticket.record.due, (outcome.finished or self._runtime.now()) - started)
                if len(gathered) >= BULK:
                    series.times.sort_in()

    def followed(self, finish: FinishDelivery, follow_ups: Sequence[Ticket], committed: Committed) -> None:
        """What followed from the end of a delivery; some of what it asked for may have met a taken key."""
        if follow_ups and self.tally is not None:
            self._count(self.tally, follow_ups)
        if self._stream.active:
            now = self._runtime.now()
            left_out = [ticket for ticket in finish.follow_ups if ticket not in follow_ups]
            self._stream.publish_many(finish_events(finish, follow_ups, now))
            self._stream.publish_many(key_events(finish, left_out, committed, now))

    def cancelled(self, plan: PlannedCancel) -> None:
        """A task that had not started."""
        if self.tally is not None:
            series = self.series.get(plan.type) or self.tally.others
            series.ended[st.CANCELLED] += 1
        if self._stream.active:
            self._stream.publish(cancel_event(plan, self._runtime.now()))

    def barred(self, tickets: Sequence[Ticket]) -> None:
        """New tasks that were stored as CANCELLED; they are told as stored, too."""
        if self.tally is not None:
            for ticket in tickets:
                (ticket.pool.series or self.tally.others).ended[st.CANCELLED] += 1
        if self._stream.active:
            now = self._runtime.now()
            records = [ticket.record for ticket in tickets]
            self._stream.publish_many(TaskCancelled(now, UUID(bytes=r.id), r.type, 0) for r in records)

    def moved(self, changes: Changes, made: Sequence[Ticket]) -> None:
        """What became of workflows, and the tasks that this made."""
        if self.tally is not None:
            self._count(self.tally, made)
            states = [move.state.value for move in changes.moves]
            self.tally.moved(states, map(str, changes.entries))
        if self._stream.active:
            now = self._runtime.now()
            self._stream.publish_many(store_events(made))
            moves = [(UUID(bytes=move.workflow), move.state.value, move.reason) for move in changes.moves]
            self._stream.publish_many(WorkflowMoved(now, *move) for move in moves)

    def _count(self, tally: Tally, tickets: Sequence[Ticket]) -> None:
        if not tickets:
            return
        first = tickets[0].pool
        pools = list(map(_POOL, tickets))
        if pools.count(first) == len(pools):  # nearly always, and a third of the work of counting by type
            (first.series or tally.others).dispatched += len(pools)
            return
        for pool, count in Counter(pools).items():
            series = pool.series or tally.others  # of a type that has no handler here
            series.dispatched += count


_POOL = attrgetter("pool")
