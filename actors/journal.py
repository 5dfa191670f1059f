"""The journal: the actor that owns storage writes, and commits them in groups.

A turn takes everything that has gathered in the mailbox, writes it in one transaction, hands the stored tasks to
the router, and wakes the callers. `memory://` has nothing to wait for, so there the thread that sends a message runs
the turn itself, one thread at a time; the text is the same.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from everact.actors.baton import AnyWaiter, Waiter, release
from everact.actors.commit import Commit, Numbers, is_quiet
from everact.actors.event_stream import EventStream
from everact.actors.facts import Facts
from everact.actors.messages import (
    AwaitIdle,
    CancelTasks,
    ClaimTasks,
    FinishDelivery,
    InTurn,
    MarkRunning,
    OrderWorkflow,
    StoreTasks,
)
from everact.actors.patience import Patience
from everact.actors.reserve import Reserve, refusal
from everact.actors.router import Router
from everact.actors.runtime import Empty, Runtime
from everact.actors.setbacks import divide, may_be_written, settled, told, tried_again
from everact.actors.settlement import Settlement
from everact.actors.system_actor import DRAIN_LIMIT, ThreadActor
from everact.actors.ticket import Ticket, Tickets
from everact.actors.watchers import Watchers
from everact.storage.protocol import NOTHING_LOST, Batch, Committed, Storage

logger = logging.getLogger("everact.journal")
REWRITE_SECONDS = 0.5
LAST_SECONDS = 1.0
"""How long the end waits for a turn that another thread runs."""
GATHERED = 64
"""So many messages that nobody waits for gather in memory before a turn is run for them alone."""


class Journal(ThreadActor):
    """Owns what is written about tasks.

    Attributes:
        tickets: The resident tasks; only the journal adds to and removes from them.
        watchers: Who waits for the outcome of a task.
        idle_waiters: Who waits until there is nothing to do.
        reserve: Whether the disk is full, and what that means for new tasks.
        patience: What commits, and waits while the database is locked.
        facts: Where it says what it has committed.
        settlement: What follows from a commit.
        gathers: Whether new tasks may wait for the turn of somebody else.
        gathered: What goes along with the next commit: ends of deliveries; in memory, new tasks.
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
        self.idle_waiters: list[AnyWaiter] = []
        self.incarnation = incarnation
        self.tickets = Tickets()
        self.watchers = Watchers()
        self.router: Router
        self.settlement = Settlement(storage, incarnation, self.tickets, self.watchers, self.facts, stream)
        self.call_after: Callable[[float, Callable[[], object]], None] = lambda seconds, fn: None  # noqa: ARG005
        self.inline = storage.inline
        self.submit: Callable[[Any], None] = self._run_inline if storage.inline else self._tell_unless_over
        self.settlement.submit = self.submit
        self.gathers = storage.inline
        self.gathered: deque[FinishDelivery | Ticket] = deque()
        self.finish: Callable[[FinishDelivery], None] = self._finish_inline if storage.inline else self._finish_durable
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
        try:
            self._turnstile.pop()
        except IndexError:
            inbox.put(message)
        else:
            if inbox.qsize():
                inbox.put(message)
                batch = [inbox.get() for _ in range(min(inbox.qsize(), DRAIN_LIMIT))]
            else:
                batch = [message]
            try:
                self._guarded_batch(batch)
            finally:
                self._turnstile.append(None)
        self._run_turns()

    def _run_turns(self) -> None:
        inbox, gathered = self.actor_inbox, self.gathered
        while gathered or inbox.qsize():
            try:
                self._turnstile.pop()
            except IndexError:
                return  # whoever has the token looks into the mailbox once more after putting it back
            try:
                self._guarded_batch([inbox.get() for _ in range(min(inbox.qsize(), DRAIN_LIMIT))])
            finally:
                self._turnstile.append(None)

    def gather(self, ticket: Ticket) -> bool:
        """Leave a new task to the turn of whoever runs or looks next; only if `gathers`.

        Nobody can tell: a cell that has nothing to do is woken for it, one that is at work takes it in when it has
        done what there is, and whoever looks calls `flush` before. A turn for a hundred tasks costs that of ten.

        Args:
            ticket: Of a task without options: nothing that is there already can stand in its way.

        Returns:
            False if it must be submitted.
        """
        pool, record = ticket.pool, ticket.record
        if record.workflow is not None or pool.stalled or pool.mailbox.ranked or self._stream.active:
            return False
        self.gathered.append(ticket)
        if self._dismissal is not None:  # looked at after it is in its place, as in `_tell_unless_over`
            return not self._taken_back(ticket)
        # Whoever was woken takes a while to come: the turn is run meanwhile. It wakes a cell once more, since this
        # one may have come, found nothing yet, and gone to rest (tests/testing/test_seeded.py).
        if pool.wake(1) or len(self.gathered) >= GATHERED:
            self._run_turns()
        return True

    def _taken_back(self, ticket: Ticket) -> bool:
        try:
            self.gathered.remove(ticket)
        except ValueError:
            return False  # the last turn of all has it
        return True

    def _finish_inline(self, message: FinishDelivery) -> None:
        """As `submit`, but the end of a delivery that nobody waits for may wait until more has gathered.

        Nobody can tell: whoever looks calls `flush` before, and a cell that has nothing more to do as well.
        """
        inbox = self.actor_inbox
        inbox.put(message)
        if inbox.qsize() >= GATHERED or self.watchers.waiting or self._stream.active or not is_quiet(message):
            self._run_turns()

    def _finish_durable(self, message: FinishDelivery) -> None:
        """As `submit`, but the end of a delivery that nobody waits for may go along with the next commit.

        Only the last task of a mailbox keeps it back: its thread has nothing to do then, and lets it go after a moment.
        One caller who waits for each of its tasks so has one commit for each, not two.
        """
        others = self.watchers.waiting or self.idle_waiters or self._stream.active
        if others or message.ticket.pool.has_work or not is_quiet(message):
            self.submit(message)
        else:
            self.gathered.append(message)

    def keeps_back(self) -> bool:
        """Whether a thread that has nothing to do is to call `flush` in a moment."""
        return self.actor_inbox.qsize() > 0 if self.inline else len(self.gathered) > 0

    def flush(self) -> None:
        """Have done what has gathered: here and now if turns run in the threads of those who send, else soon."""
        if self.inline:
            self._run_turns()
        elif self.gathered:
            self.submit(InTurn(lambda now: None))  # noqa: ARG005 - any turn takes along what has gathered

    def let_go(self) -> None:
        """As `flush`, in a thread of everact's own: no Ctrl-C can come between taking a message and sending it on."""
        if self.inline:
            self._run_turns()
        else:
            for message in self._take_gathered():
                self.submit(message)

    def catch_up(self, timeout: float) -> None:
        """As `flush`; and if another thread runs a turn, wait for it: what this one has dispatched may be in there."""
        self.flush()
        if self.inline and not self._turnstile:
            waiter = Waiter(self.runtime.gate)
            self.submit(InTurn(partial(_answer, waiter)))
            waiter.wait(timeout)

    def _guarded_batch(self, messages: list[Any]) -> None:
        if self.gathered:
            taken: list[Any] = self._take_gathered()
            messages = [StoreTasks(taken, None), *messages] if self.inline else taken + messages
        super()._guarded_batch(messages)

    def _take_gathered(self) -> list[FinishDelivery | Ticket]:
        taken: list[FinishDelivery | Ticket] = []
        for _ in range(len(self.gathered)):
            try:
                taken.append(self.gathered.popleft())
            except IndexError:  # another thread has taken some back, or sent them on
                break
        return taken

    def on_batch(self, messages: list[Any]) -> None:
        """Commit what has gathered; of what storage does not take, commit those parts that it may take."""
        if self.reserve.used:
            new, messages = self.reserve.turn_away(messages)
            self._refuse(new, refusal())
        commit = Commit(Batch(self.runtime.now()), self.tickets, self._numbers, self._storage, self.router.named)
        try:
            self._plan(commit, messages)
            nothing = (commit.others or not messages) and commit.empty
            committed = NOTHING_LOST if nothing else self._commit(commit.batch)
        except Exception as error:
            self._take_back(commit, error)
            refused, parts = divide(messages, error, self.reserve)
            self._refuse(refused, error)
            for part in parts:
                self.on_batch(part)
            return
        self._settle(commit, committed)

    def _take_back(self, commit: Commit, error: Exception) -> None:
        """Put tasks that were to be cancelled back into their queues, but for those that may be cancelled after all."""
        revived = commit.undo()
        if revived and may_be_written(error):
            revived = self.settlement.without_ended(revived)
        self.router.route(revived, commit.batch.now)

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
        self.catch_up(LAST_SECONDS)  # with what was left to others before that
        left = list(self.idle_waiters)
        self.idle_waiters = []
        left += self.watchers.take_all() + self.settlement.workflow_watchers.take_all()
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
        self.flush()
        if self._dismissal is not None:
            self.dismiss(self._dismissal)

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
            elif type(message) is OrderWorkflow:
                commit.order(message)
        for message in commit.others:
            if type(message) in (ClaimTasks, MarkRunning):
                commit.claim(message)

    def _settle(self, commit: Commit, committed: Committed) -> None:
        """After the commit: route, tell, wake. In this order, so that a woken caller finds everything done."""
        try:
            self.settlement.settle(commit, committed)
        finally:  # what is resident by now must go somewhere, though reading what became of another one has failed
            ready, woken = self.settlement.take()
            if ready:
                self.router.route(ready, commit.batch.now)
            if woken:
                release(woken)
        if commit.others or self.router.has_more:
            self._go_on(commit.others)
        # A saga's own task is parked while its steps run; told to stop, it makes the first undo.
        if self.idle_waiters and self._idle:
            self._wake_idle()

    def _go_on(self, messages: Sequence[Any]) -> None:
        """After the callers were woken: what only this thread may do, and what can wait for a page from storage."""
        now = self.runtime.now()
        for message in messages:
            if type(message) is InTurn:
                message.do(now)
            elif type(message) is AwaitIdle:
                self.idle_waiters.append(message.waiter)
        self.router.go_on(now)

    @property
    def _idle(self) -> bool:
        if self.inline and self.gathered:
            return False  # new tasks; another turn is about to look
        return self.tickets.idle and not self.settlement.stops and self.router.idle

    def _wake_idle(self) -> None:
        woken, self.idle_waiters = self.idle_waiters, []
        for waiter in woken:
            waiter.settle(True)
        release(woken)

    def _refuse(self, messages: list[Any], error: BaseException) -> None:
        """Storage has not taken these messages: tell their callers, and try what has none again later."""
        if may_be_written(error):
            self._run_what_is_there([message for message in messages if type(message) is StoreTasks])
            self.call_after(REWRITE_SECONDS, lambda: self.submit(InTurn(self.settlement.look_around)))
        waiting = [message for message in messages if getattr(message, "waiter", None) is not None]
        for message in waiting:
            message.waiter.settle(error=told(message, error))
        release([message.waiter for message in waiting])
        later = [message for message in messages if tried_again(message, self._storage)]
        if later:
            text = "storage did not take %d message(s) that nobody waits for; they are tried again in %s s"
            logger.error(text, len(later), REWRITE_SECONDS, exc_info=error)
            self.call_after(REWRITE_SECONDS, lambda: [self.submit(message) for message in later])

    def _run_what_is_there(self, stores: Sequence[StoreTasks]) -> None:
        """Tasks whose commit failed after it was written must not wait for the next start to be run."""
        tickets = [ticket for store in stores for ticket in store.tickets]
        ready: list[Ticket] = []
        try:
            self.settlement.take_in(self.settlement.present(tickets), ready)
        except Exception as error:
            logger.warning("whether %d task(s) were stored cannot be read", len(tickets), exc_info=error)
            self.router.look_in_storage(self.runtime.now(), {ticket.record.type for ticket in tickets})
        self.router.route(ready, self.runtime.now())


def _answer(waiter: Waiter, now: int) -> None:  # noqa: ARG001 - the signature is InTurn's
    waiter.settle()
    waiter._release()
