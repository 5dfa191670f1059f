"""The cell: the supervised actor that runs one handler, one task at a time."""

from __future__ import annotations

import asyncio
import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from everact.actors.attempt import Attempt
from everact.actors.baton import release
from everact.actors.breather import Breather
from everact.actors.executor import PinnedExecutor
from everact.actors.guarded import Guarded
from everact.actors.messages import CellFailed, CellStarted, CellStuck, InTurn, Proceed, Resume, Retire, StartAgain
from everact.actors.ticket import STARTED, Delivery, Ticket, current_delivery
from everact.actors.watch import Watch
from everact.storage.checksum import verify
from everact.tasks.errors import HandlerError, HookTimeout, PayloadError
from everact.tasks.handler import TaskHandler

if TYPE_CHECKING:
    from everact.actors.node import Node
    from everact.actors.pool import Pool

logger = logging.getLogger("everact.handler")
_NO_TASK = UUID(int=0)


class HandlerActor(Guarded):
    """One running copy of a handler.

    The cell outlives its instance: a failure replaces what is inside, while its place in the pool stays. At
    most one turn of a cell is under way, on a pool thread or as a coroutine. A turn whose user code does not
    come back is left behind: the generation counts up, another turn goes on, and what the old one still does
    changes nothing.

    Attributes:
        instance: The handler; None before the first task, and after a failure.
        generation: How many turns were abandoned.
        current: What is being delivered, if anything.
        watch: The deadline on the user code that runs now, if any.
        awaiting: Whether supervision has been asked what to do, and has not answered yet.
        abandoned: Threads left behind in this cell that have not come back.
    """

    def __init__(self, node: Node, path: str, pool: Pool, make_executor: Any) -> None:
        super().__init__(node.runtime, path)
        self.node = node
        self.pool = pool
        self.spec = pool.spec
        self.supervisor: Any = None
        self.instance: TaskHandler[Any] | None = None
        self.generation = 0
        self.current: Delivery | None = None
        self.awaiting = False
        self.failed_start = False
        self.abandoned = 0
        self._make_executor = make_executor
        self._executor = make_executor()
        self._attempt = Attempt(self)
        self._breather = Breather(node.runtime)
        self._gathered = node.journal.gathered
        self._inline = node.journal.inline  # then it is new tasks that have gathered, for a cell with nothing to do
        # A thread of the elastic pool does that itself, when no other cell needs it.
        self._lets_go = node.journal.inline and (pool.spec.is_async or pool.spec.pinned)
        # One token while no turn is under way; taking it is the right to start one.
        self._turnstile = [None]
        self.tell = self._put

    # -- being woken ---------------------------------------------------------------------------------------

    def wake(self) -> bool:
        """Start a turn unless one is under way; says whether it did."""
        try:
            self._turnstile.pop()
        except IndexError:
            return False
        self._executor.submit(partial(self._turn, self.generation))
        return True

    def _put(self, message: Any) -> None:
        self.actor_inbox.put(message)
        try:
            self._turnstile.pop()
        except IndexError:
            return  # a turn is under way, and looks into the mailbox once more before it ends
        # Taken off the idle list before the turn starts: a turn that had already ended would be at rest again,
        # and taking it off then would leave a cell that nobody ever wakes.
        self.pool.rouse(self)
        self._executor.submit(partial(self._turn, self.generation))

    def on_batch(self, messages: list[Any]) -> None:  # noqa: ARG002 - the signature is the base's
        """Never called: cells take their messages one by one, in a turn."""
        msg = f"{self.actor_urn} has no batches"
        raise TypeError(msg)

    # -- a turn --------------------------------------------------------------------------------------------

    async def _turn(self, generation: int) -> None:
        if self.spec.is_async:
            self._runner = asyncio.current_task()
        elif self._gathered and not self._inline:
            self.node.journal.let_go()
        while True:
            left_behind = False
            try:
                left_behind = await self._work(generation)
            except GeneratorExit as error:
                if self.pool.closed:
                    raise  # the loop is being closed
                left_behind = await self._thrown_through(error)
            except BaseException as error:
                self._own_error(generation, error)
            current_delivery.set(None)
            if left_behind or self.generation != generation:
                self.abandoned -= 1
                return
            if not self._rest():
                return

    async def _thrown_through(self, error: GeneratorExit) -> bool:
        """A sub-task ended in GeneratorExit: Python closes every coroutine that awaits it up to this one.

        Those in between have seen it, but what they wanted to do next is lost, unless it was to ask supervision.
        """
        delivery = self.current
        if self.awaiting or delivery is None or delivery.closed:
            return False
        return await self._play(delivery, partial(self._attempt.resumed, phase=delivery.phase, error=error))

    def _rest(self) -> bool:
        """End the turn; True if there is more to do after all, and this turn is the one to do it."""
        if self._lets_go:
            self.node.journal.let_go()
        if not self.awaiting:
            self.pool.rest(self)
        self._turnstile.append(None)
        if self._gathered and self._inline:
            self.node.journal.let_go()  # nobody wakes a cell that has not come to rest
        if not (self.actor_inbox.qsize() or (not self.awaiting and self.pool.has_work)):
            return False
        try:
            self._turnstile.pop()
        except IndexError:
            return False
        self.pool.rouse(self)
        return True

    async def _work(self, generation: int) -> bool:
        """Serve what there is; says whether supervision has left this turn behind meanwhile."""
        served = 0
        while self.generation == generation:
            if self.actor_inbox.qsize():
                if await self._obey(self.actor_inbox.get(), generation):
                    return True
                continue
            if self.awaiting:
                return False
            if self._gathered:
                self._before_the_next()
            if self.instance is None and not (self.pool.has_work and await self.start_instance(generation)):
                return False
            ticket = self.pool.take()
            if ticket is None:
                if self.pool.spill.rank is not None:
                    self._ask_for_more()
                return False
            delivery = self._open(ticket)
            if delivery is None:
                continue
            step = self._first_step(delivery)
            # Most deliveries end in their first step, and need no coroutine.
            if self._put_down(delivery) if step is None else await self._play(delivery, step):
                return True
            served += 1
            if served >= self._breather.due:
                served = 0
                await self._let_others_go_on()
        return True

    async def _let_others_go_on(self) -> None:
        if self.spec.is_async:
            await asyncio.sleep(0)
        elif not self._inline:
            self._breather.pause()

    def _before_the_next(self) -> None:
        """Take new tasks in if there is nothing to do; else what this thread keeps back must not wait for that."""
        if not self._inline:
            if self.pool.has_work:
                self.node.journal.let_go()
        elif not self.pool.has_work:
            self.pool.take_in(self.node.journal.let_go)

    def _ask_for_more(self) -> None:
        """Usually the journal reads on by itself; not if the last tickets here were cancelled ones."""
        if not self.pool.stalled:
            self.node.journal.submit(InTurn(self.node.journal.router.go_on))

    def _first_step(self, delivery: Delivery) -> Any:
        """What to do with a delivery that was opened; None if that is done already."""
        record, attempt = delivery.ticket.record, self._attempt
        self.current = delivery
        current_delivery.set(delivery)
        if record.flow is not None and record.flow.own:
            delivery.undoing = True
            return attempt.undo
        if record.cancel_requested is not None:
            return attempt.cancelled
        return attempt.call(delivery) if attempt.is_plain else attempt.run

    def _put_down(self, delivery: Delivery) -> bool:
        if self.current is delivery:
            self.current = None
        return delivery.abandoned

    def _open(self, ticket: Ticket) -> Delivery | None:
        """Begin a delivery; None if the task is not run now."""
        record, task, unreadable = ticket.record, ticket.task, None
        if task is None:
            try:
                verify(record)
                task = self.pool.codec.decode(record.payload, record.signed_id, record.key_id)
            except PayloadError as error:
                unreadable = error
        # Decoding runs user code and may take its time; the system may have stopped meanwhile.
        if self.pool.closed or not ticket.leave_queue(STARTED):
            return None  # or it was cancelled while it waited
        if unreadable is not None:
            self._attempt.quarantine(ticket, unreadable)
            return None
        delivery = self._attempt.begin(ticket, task)
        ticket.task = None
        ticket.delivery = delivery
        # Looked at after the delivery is in its place: whoever stops or cancels says so first, then looks for one.
        if self.pool.closed:
            self._attempt.requeue(delivery)
            return None
        return delivery

    async def _play(self, delivery: Delivery, step: Any) -> bool:
        if step is not None:
            self.current = delivery
            current_delivery.set(delivery)
            while step is not None:
                step = await step(delivery)
        return self._put_down(delivery)

    async def _obey(self, message: Any, generation: int) -> bool:
        kind = type(message)
        if kind is Proceed:
            self.awaiting = False
            message.delivery.delay = message.delay or 0.0
            step = self._attempt.give_up if message.delay is None else self._attempt.retry
            return await self._play(message.delivery, step)
        if kind is Resume:
            self.awaiting = False
            step = partial(self._attempt.resumed, phase=message.phase, error=message.error)
            return await self._play(message.delivery, step)
        if kind is StartAgain:
            self.awaiting = False
            if self.instance is None:
                await self.start_instance(generation)
        elif kind is Retire:
            await self.discard_instance(generation)
            message.waiter.settle(True)
            release((message.waiter,))
        return False

    def _own_error(self, generation: int, error: BaseException) -> None:
        logger.error("everact's own code failed in %s; please report this", self.actor_urn)
        if self.generation != generation:
            return
        delivery, self.current, self.watch, self.instance = self.current, None, None, None
        if delivery is not None:
            self._attempt.fail_now(delivery, error)
        self.report_failure(error)

    # -- the instance --------------------------------------------------------------------------------------

    async def start_instance(self, generation: int) -> bool:
        """Make an instance and run its `on_actor_start`; if that fails, ask supervision."""
        error = await self.try_start(generation)
        if self.generation != generation:
            return False
        if error is not None:
            self.report_failure(error)
            return False
        if self.failed_start:
            self.failed_start = False
            self.supervisor.tell(CellStarted(self))
        return True

    async def try_start(self, generation: int) -> BaseException | None:
        """Make an instance; returns what went wrong instead of raising it."""
        watch = self.arm("on_actor_start", self.spec.hook_timeout, self.open_delivery)
        try:
            instance = self.spec.make()
            if not isinstance(instance, TaskHandler):
                msg = f"the factory of {self.spec.name} made a {type(instance).__name__}, not a TaskHandler"
                raise HandlerError(msg)
            if "on_actor_start" in self.spec.hooks:
                await self.answered(instance.on_actor_start())
        except BaseException as error:
            self.uncancel()
            return HookTimeout("on_actor_start", _NO_TASK, self.spec.hook_timeout) if watch.expired else error
        finally:
            self.disarm(watch)
        if self.generation == generation:
            self.instance = instance
        return None

    @property
    def open_delivery(self) -> Delivery | None:
        """The delivery that it has, unless its end is clear. If an instance's start hangs, that one hangs on it."""
        current = self.current
        return None if current is None or current.closed else current

    async def discard_instance(self, generation: int) -> None:
        """Let the instance go; what its `on_actor_stop` raises is logged."""
        instance, self.instance = self.instance, None
        if instance is None or "on_actor_stop" not in self.spec.hooks:
            return
        watch = self.arm("on_actor_stop", self.spec.hook_timeout, self.open_delivery)
        try:
            await self.answered(instance.on_actor_stop())
        except BaseException as error:
            if self.generation == generation:
                self.uncancel()
                logger.warning("on_actor_stop of %s raised", self.actor_urn, exc_info=error)
        finally:
            self.disarm(watch)

    async def answered(self, answer: object) -> None:
        """Await what a hook returned if it is awaitable; anything else it returned does not matter.

        Raises:
            HandlerError: It is awaitable, but the handler is sync and has no event loop to await it in.
        """
        if not inspect.isawaitable(answer):
            return
        if not self.spec.is_async:
            if inspect.iscoroutine(answer):
                answer.close()
            msg = f"a hook of {self.spec.name} returned an awaitable, but its handle is sync; make handle async too"
            raise HandlerError(msg)
        await answer

    def report_failure(self, error: BaseException) -> None:
        """Ask supervision what to do about a cell that cannot start. The turn must end after this."""
        self.failed_start = True
        self.awaiting = True
        self.supervisor.tell(CellFailed(self, self.generation, error))

    def _stuck(self, watch: Watch) -> CellStuck:
        return CellStuck(self, self.generation, watch)

    # -- abandonment ----------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Leave the turn that is under way behind and fence it off. Called by supervision."""
        self.generation += 1
        self.abandoned += 1
        self.instance = None
        self.watch = None
        self.current = None
        self._runner = None
        self.awaiting = False
        if isinstance(self._executor, PinnedExecutor):
            self._executor.close()  # its thread leaves when the user code lets it go
            self._executor = self._make_executor()
        # The stuck turn keeps its token for ever; the next one runs on a token of its own.
        self._turnstile = [None]

    def leave_behind(self, delivery: Delivery) -> None:
        """At a shutdown: put the task back into the queue, and fence off the turn that still runs it."""
        self._attempt.requeue(delivery)
        self.abandon()

    def close(self) -> None:
        """Let a thread of its own go."""
        if isinstance(self._executor, PinnedExecutor):
            self._executor.close()
