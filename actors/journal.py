"""The journal: the actor that owns storage writes, and commits them in groups.

A turn takes everything that has gathered in the mailbox, writes it in one transaction, hands the stored tasks to
the router, and wakes the callers. `memory://` has nothing to wait for, so there the thread that sends a message runs
the turn itself, one thread at a time; the text is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from everact.actors.baton import AnyWaiter, release
from everact.actors.commit import (
    Commit,
    Numbers,
    PlannedCancel,
    answers,
    is_stored,
    settle_cancel,
    settle_finish,
    still_new,
    was_claimed,
    was_written,
)
from everact.actors.event_stream import EventStream
from everact.actors.facts import Facts
from everact.actors.messages import AwaitIdle, CancelTasks, ClaimTasks, FinishDelivery, InTurn, MarkRunning, StoreTasks
from everact.actors.patience import Patience
from everact.actors.reserve import Reserve, refusal
from everact.actors.router import Router
from everact.actors.runtime import Empty, Runtime
from everact.actors.setbacks import divide, may_be_written, settled, told, tried_again
from everact.actors.system_actor import DRAIN_LIMIT, ThreadActor
from everact.actors.ticket import DONE, QUEUED, Ticket, Tickets
from everact.actors.watchers import Watchers
from everact.storage.protocol import NOTHING_LOST, Batch, Committed, Storage
from everact.tasks import status as st
from everact.tasks.cancellation import CancelOutcome

logger = logging.getLogger("everact.journal")
REWRITE_SECONDS = 0.5


class Journal(ThreadActor):
    """Owns what is written about tasks.

    Attributes:
        tickets: The resident tasks; only the journal adds to and removes from them.
        watchers: Who waits for the outcome of a task.
        reserve: Whether the disk is full, and what that means for new tasks.
        patience: What commits, and waits while the database is locked.
        facts: Where it says what it has committed.
        router: Where tasks go; set when it is built.
        call_after: The timer's; set when the timer is built.
    """

    role = "journal"

    def __init__(self, runtime: Runtime, path: str, storage: Storage, incarnation: int, stream: EventStream) -> None:
        super().__init__(runtime, path)
        self._storage = storage
        self._numbers = Numbers(incarnation)
        self.facts = Facts(runtime, stream)
        self._stream = stream
        # Holds one token while no thread runs a turn in place; taking it is the right to run one.
        self._turnstile = [None]
        self._idle_waiters: list[AnyWaiter] = []
        self.incarnation = incarnation
        self.tickets = Tickets()
        self.watchers = Watchers()
        self.router: Router
        self.call_after: Callable[[float, Callable[[], object]], None] = lambda seconds, fn: None  # noqa: ARG005
        self.submit: Callable[[Any], None] = self._run_inline if storage.inline else self._tell_unless_over
        self._dismissal: BaseException | None = None
        self.reserve = Reserve(storage, self.submit)
        self.patience = Patience(runtime, storage, lambda: self._stopping)
        self._commit = storage.commit if storage.inline else self._commit_measured

    def start_thread(self) -> None:
        """Start receiving, unless turns run in the threads of those who send."""
        if not self._storage.inline:
            super().start_thread()

    def _run_inline(self, message: Any) -> None:
        """Run a turn in the calling thread, or leave the message to the thread that runs one now.

        Nobody blocks here: two threads that wait for one lock under the interpreter lock hand both back and
        forth at every message, which costs four context switches a task.
        """
        inbox = self.actor_inbox
        inbox.put(message)
        while inbox.qsize():
            try:
                self._turnstile.pop()
            except IndexError:
                return  # whoever has the token looks into the mailbox once more after putting it back
            try:
                self._guarded_batch([inbox.get() for _ in range(min(inbox.qsize(), DRAIN_LIMIT))])
            finally:
                self._turnstile.append(None)

    def on_batch(self, messages: list[Any]) -> None:
        """Commit what has gathered; of what storage does not take, commit those parts that it may take."""
        if self.reserve.used:
            new, messages = self.reserve.turn_away(messages)
            self._refuse(new, refusal())
        commit = Commit(self.runtime.now(), self.tickets, self._numbers, self._storage)
        try:
            self._plan(commit, messages)
            committed = NOTHING_LOST if commit.empty else self._commit(commit.batch)
        except Exception as error:
            self.router.route(commit.undo(), commit.batch.now)
            refused, parts = divide(messages, error, self.reserve)
            self._refuse(refused, error)
            for part in parts:
                self.on_batch(part)
            return
        self._settle(commit, committed)

    def _commit_measured(self, batch: Batch) -> Committed:
        began = self.runtime.monotonic()
        committed = self.patience.commit(batch)
        self.facts.committed(began, batch)
        return committed

    def on_turn_failed(self, error: BaseException, messages: list[Any]) -> None:
        """After the commit, or in a bug, something went wrong: to callers that is a commit of unknown outcome."""
        super().on_turn_failed(error, messages)
        try:
            self._refuse([message for message in messages if not settled(message)], error)
        except Exception:
            logger.exception("%s could not answer all whom a failed turn had left waiting", self.actor_urn)
        if isinstance(error, KeyboardInterrupt):
            raise error  # the turn ran in the host's own thread, and it was the host's Ctrl-C

    def dismiss(self, error: BaseException) -> None:
        """Tell everybody who still waits that nothing will come any more. Called after the last turn."""
        self._dismissal = error  # first: who comes later sees it, and empties the mailbox once more
        left = list(self._idle_waiters)
        self._idle_waiters = []
        left += self.watchers.take_all()
        if not self._storage.inline:  # there a turn answers, that storage is closed
            left += self._unanswered()
        for waiter in left:
            waiter.settle(error=error)
        release(left)

    def _unanswered(self) -> list[AnyWaiter]:
        waiters: list[AnyWaiter] = []
        while True:
            try:
                waiter: AnyWaiter | None = getattr(self.actor_inbox.get(block=False), "waiter", None)
            except Empty:  # others may empty it at the same time
                return waiters
            if waiter is not None:
                waiters.append(waiter)

    def _tell_unless_over(self, message: Any) -> None:
        self.actor_inbox.put(message)
        # Looked at after the message is in its place: dismiss sets it before it empties the mailbox.
        if self._dismissal is not None:
            self.dismiss(self._dismissal)

    def watch(self, id: bytes, waiter: AnyWaiter) -> None:
        """See `Watchers.add`; after the end of the journal the waiter is told that at once."""
        self.watchers.add(id, waiter)
        if self._dismissal is not None:
            self.dismiss(self._dismissal)

    def look_for_ends(self) -> None:
        """Tell those who wait for a task that another node has ended; in a turn.

        Raises:
            StorageError: It cannot be read.
        """
        release(self.watchers.look(self.tickets.resident, self._storage.get))

    def _plan(self, commit: Commit, messages: list[Any]) -> None:
        for message in messages:
            kind = type(message)
            if kind is FinishDelivery:
                commit.finish(message)
            elif kind is StoreTasks:
                commit.store(message)
            else:
                commit.others.append(message)
        if commit.others:
            self._plan_others(commit)

    @staticmethod
    def _plan_others(commit: Commit) -> None:
        # Cancels find what the same batch stores; what they cancel is not claimed any more.
        for message in commit.others:
            if type(message) is CancelTasks:
                commit.cancel(message)
        for message in commit.others:
            if type(message) in (ClaimTasks, MarkRunning):
                commit.claim(message)

    def _settle(self, commit: Commit, committed: Committed) -> None:
        """After the commit: route, tell, wake. In this order, so that a woken caller finds everything done."""
        ready: list[Ticket] = []
        woken: list[AnyWaiter] = []
        try:
            for finish in commit.finishes:
                self._settle_finish(finish, committed, ready, woken)
            for store in commit.stores:
                self._settle_store(store, committed, ready, woken)
            if commit.others:
                ready = self._settle_others(commit, committed, ready, woken)
        finally:  # what is resident by now must go somewhere, though reading what became of another one has failed
            if ready:
                self.router.route(ready, commit.batch.now)
            if woken:
                release(woken)
        if commit.others or self.router.has_more:
            self._go_on(commit.others)
        if self._idle_waiters and self.tickets.idle and self.router.idle:
            self._wake_idle()

    def _settle_others(
        self, commit: Commit, committed: Committed, ready: list[Ticket], woken: list[AnyWaiter]
    ) -> list[Ticket]:
        for cancel, planned in commit.cancels:
            self._settle_cancel(cancel, planned, committed, ready, woken)
        if commit.claims:
            written = {claim.seq for claim in commit.batch.claims} - committed.lost
            for claim in commit.claims:
                self._settle_claim(claim, written)
        for message in commit.others:
            if type(message) is MarkRunning:
                self._settle_running(message, committed)
            elif type(message) is AwaitIdle:
                self._idle_waiters.append(message.waiter)
        # What the same batch has stored and cancelled goes nowhere.
        return [ticket for ticket in ready if ticket.state is QUEUED]

    def _go_on(self, messages: Sequence[Any]) -> None:
        """After the callers were woken: what only this thread may do, and what can wait for a page from storage."""
        now = self.runtime.now()
        for message in messages:
            if type(message) is InTurn:
                message.do(now)
        self.router.go_on(now)

    def _settle_finish(
        self, finish: FinishDelivery, committed: Committed, ready: list[Ticket], woken: list[AnyWaiter]
    ) -> None:
        outcome = finish.outcome
        follow_ups: Sequence[Ticket] = finish.follow_ups
        if committed.lost and outcome.seq in committed.lost:
            if not was_written(outcome, self._storage.get(outcome.id)):
                self._forget_lost(finish)
                return
            follow_ups = self._present(follow_ups)
        if finish.ticket.claimed:
            self.router.ended(finish.ticket)
        if (series := finish.ticket.pool.series) is not None:
            self.facts.ended(finish, series)  # before the record is brought up to date
        heir = settle_finish(finish, self.tickets)
        if heir is not None:
            ready.append(heir)
        elif self.watchers.waiting:
            woken += self.watchers.tell(outcome)
        if follow_ups:
            follow_ups = [ticket for ticket in follow_ups if is_stored(ticket, committed)]
            self._take_in(follow_ups, ready)
        if follow_ups or self._stream.active:
            self.facts.followed(finish, follow_ups, committed)

    def _settle_store(
        self, store: StoreTasks, committed: Committed, ready: list[Ticket], woken: list[AnyWaiter]
    ) -> None:
        stored: Sequence[Ticket] = store.tickets
        if committed.taken:
            stored = [ticket for ticket in stored if is_stored(ticket, committed)]
        self._take_in(stored, ready)
        if store.waiter is not None:
            store.waiter.settle(committed.taken)
            woken.append(store.waiter)
        self.facts.stored(stored)

    def _take_in(self, stored: Sequence[Ticket], ready: list[Ticket]) -> None:
        """Make new tasks resident, unless nothing of their type starts here (any more)."""
        resident = self.tickets.resident
        for ticket in stored:
            if not ticket.pool.closed:
                resident[ticket.record.id] = ticket
                ready.append(ticket)

    def _settle_cancel(
        self,
        cancel: CancelTasks,
        planned: list[PlannedCancel],
        committed: Committed,
        ready: list[Ticket],
        woken: list[AnyWaiter],
    ) -> None:
        for plan in planned:
            ready.extend(settle_cancel(plan, committed, self.tickets, self._storage))
            if plan.outcome is CancelOutcome.SIGNALLED and plan.id not in self.tickets.resident:
                self._fetch_signalled(plan.id, ready)
            if plan.stored is not None and plan.ticket is not None and plan.ticket.claimed:
                self.router.ended(plan.ticket)
            if plan.outcome is CancelOutcome.CANCELLED and plan.stored is not None:
                woken += self.watchers.tell(plan.stored)
                self.facts.cancelled(plan)
        if cancel.waiter is not None:
            cancel.waiter.settle(answers(planned))
            woken.append(cancel.waiter)

    def _fetch_signalled(self, id: bytes, ready: list[Ticket]) -> None:
        """A task between two attempts that waits in storage: a cell is to run its `on_error` now."""
        record = self._storage.get(id)
        if record is None or record.status >= st.RUNNING:
            return
        ticket = self.router.load(record)
        if ticket is not None:
            ready.append(ticket)

    def _settle_claim(self, claim: ClaimTasks, written: set[int]) -> None:
        ready: list[Ticket] = []
        # What was cancelled before it was planned is not among them, whether it goes nowhere now or has an heir.
        left = [ticket for ticket in claim.tickets if ticket.record.seq not in written]
        written = written.union(ticket.record.seq for ticket in left if self._claimed_before(ticket))
        for ticket in claim.tickets:
            current = self.tickets.resident.get(ticket.record.id)
            if ticket.record.seq not in written:
                self.router.ended(ticket)
                if current is ticket:
                    del self.tickets.resident[ticket.record.id]
                continue
            ticket.record.owner = self.incarnation
            ticket.record.status = st.RUNNING
            if current is ticket:
                ready.append(ticket)
            if current is not None:  # perhaps in the place of the planned one, as a cancel of the same batch asked
                current.unclaimed, current.claimed = False, True
        if ready:
            self.router.start_claimed(ready)

    def _claimed_before(self, ticket: Ticket) -> bool:
        if ticket.state is not QUEUED:
            return False
        return was_claimed(ticket.record, self._storage.get(ticket.record.id), self.incarnation)

    def _settle_running(self, message: MarkRunning, committed: Committed) -> None:
        for ticket in message.tickets:
            delivery = ticket.delivery
            if ticket.record.seq not in committed.lost and delivery is not None and not delivery.closed:
                ticket.record.status = st.RUNNING

    def _wake_idle(self) -> None:
        woken, self._idle_waiters = self._idle_waiters, []
        for waiter in woken:
            waiter.settle(True)
        release(woken)

    def _present(self, tickets: Sequence[Ticket]) -> list[Ticket]:
        """Those whose row waits in storage, though its commit may have failed, and that no page has found there."""
        new = [ticket for ticket in tickets if ticket.record.id not in self.tickets.resident]
        found = [(ticket.record, ticket, self._storage.get(ticket.record.id)) for ticket in new]
        return [ticket for wanted, ticket, record in found if record is not None and still_new(wanted, record)]

    def _forget_lost(self, finish: FinishDelivery) -> None:
        """The fence held: the row had left this node's hands, so its outcome is not ours to write."""
        logger.warning("a late outcome of task %s was refused: another node has it", UUID(bytes=finish.outcome.id))
        finish.ticket.state = DONE
        finish.ticket.delivery = None
        if finish.ticket.claimed:
            self.router.ended(finish.ticket)
        self.tickets.resident.pop(finish.outcome.id, None)

    def _refuse(self, messages: list[Any], error: BaseException) -> None:
        """Storage has not taken these messages: tell their callers, and try what has none again later."""
        if may_be_written(error):
            self._run_what_is_there([message for message in messages if type(message) is StoreTasks])
        waiting = [message for message in messages if getattr(message, "waiter", None) is not None]
        for message in waiting:
            message.waiter.settle(error=told(message, error))
        release([message.waiter for message in waiting])
        later = [message for message in messages if tried_again(message)]
        if later:
            text = "storage did not take %d outcome(s) or claim(s); they are tried again in %s s"
            logger.error(text, len(later), REWRITE_SECONDS, exc_info=error)
            self.call_after(REWRITE_SECONDS, lambda: [self.submit(message) for message in later])

    def _run_what_is_there(self, stores: Sequence[StoreTasks]) -> None:
        """Tasks whose commit failed after it was written must not wait for the next start to be run."""
        tickets = [ticket for store in stores for ticket in store.tickets]
        ready: list[Ticket] = []
        try:
            self._take_in(self._present(tickets), ready)
        except Exception as error:
            logger.warning("whether %d task(s) were stored cannot be read", len(tickets), exc_info=error)
            self.router.look_in_storage(self.runtime.now(), {ticket.record.type for ticket in tickets})
        self.router.route(ready, self.runtime.now())
