"""The cell of a user's actor: its address, its mailbox, and the instance inside, which may be replaced."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from everact.actors.cell_life import CellLife
from everact.actors.envelope import ORDERS, EndOfSelf, Envelope, Notice, StopOrder, Terminated
from everact.actors.lifecycle import CellState, Ended, Gone
from everact.actors.mailbox import Mailbox
from everact.actors.ref import ActorRef
from everact.actors.shared_executor import SharedExecutor
from everact.actors.turnstile import Turnstile
from everact.actors.wait_for import Wait, current_actor, current_message
from everact.tasks.errors import ActorDead, EverActError
from everact.tasks.events import DeadLetter
from everact.tasks.failure import error_name, error_text

if TYPE_CHECKING:
    from everact.actors.actor import Actor
    from everact.actors.environment import Environment

logger = logging.getLogger("everact.actor")
THROUGHPUT = 256
"""After so many steps an actor lets others of its pool have the thread."""
RETRY_SECONDS = 1.0


class Cell(CellLife):
    """One actor, from its start to its end for good.

    At most one turn is under way, on whatever thread the executor has. What a supervisor orders comes before the
    messages in the mailbox, and gets in while these are held back. A turn whose user code does not come back is
    left behind: the fence moves, another turn goes on, and what the old one still does changes nothing.

    Attributes:
        environment: The place it lives in.
        actor_class: Of the instance; until there is one, as far as known.
        parent: Who is told what happens to it; None if it stands alone.
        ref: Its address.
        mailbox: Its messages.
        feed: A second mailbox that it shares with others, if it is one of a pool.
        state, instance: Where it is in its life, and the user's object.
        generation: How many instances there have been.
        left_behind: Threads of it left behind that have not come back.
        cause: What it has failed with; None if it has not, or has been started again since, or has gone on.
        stopped: Set when it has ended for good.
        children: The cells below it, by name, if it is a supervisor's. They are kept while that is restarted.
        waits_for: The replies that its code waits for at this moment.
    """

    __slots__ = ("_id", "_path", "_watched", "_watchers", "feed", "ref", "waits_for")

    def __init__(
        self,
        environment: Environment,
        factory: Callable[[], Actor],
        *,
        path: str = "",
        parent: Any = None,
        actor_class: type[Actor] | None = None,
    ) -> None:
        super().__init__(environment, factory, parent)
        self.ref: ActorRef[Any] = ActorRef(self)
        self.feed: Mailbox | None = None
        self.waits_for: list[Wait] = []
        self._path = path
        self._id = environment.runtime.new_id()
        self._watchers: dict[object, Cell] = {}
        self._watched: dict[Cell, object] = {}
        if actor_class is not None:
            self.settle_in(actor_class)
        else:
            self._executor = environment.for_unknown(path)

    @property
    def path(self) -> str:
        """Its place in its system; standing alone, its class and urn."""
        return self._path or f"{self.actor_class.__name__} ({self.urn})"

    @property
    def urn(self) -> str:
        """A name that no other actor has."""
        return UUID(bytes=self._id).urn

    @property
    def ask_timeout(self) -> float | None:
        """Seconds after which an ask gives up."""
        return getattr(self.actor_class, "ask_timeout", None)

    @property
    def current(self) -> Envelope | None:
        """The message at hand; None in hooks."""
        try:
            return self._in_hand[-1]
        except IndexError:
            return None

    @property
    def is_current(self) -> bool:
        """Whether this actor's own code runs in the calling thread."""
        return current_actor.get() is self

    @property
    def _self(self) -> Cell:
        return self

    def _make_mailbox(self) -> Mailbox:
        return Mailbox(self)

    # -- being told ----------------------------------------------------------------------------------------

    def step_aside(self) -> Callable[[], object]:
        """Let another actor have the place of this one's thread in the pool, while its code waits."""
        executor = self._executor
        if not isinstance(executor, SharedExecutor):
            return lambda: None
        executor.step_aside()
        return executor.step_back  # of the same one: the cell may have got another executor when its code goes on

    def tell_order(self, order: Any) -> None:
        """Tell the cell something that comes before its mailbox: an order of its supervisor, a report of a child."""
        self._orders.append(order)
        self.wake()

    def wake(self) -> bool:
        """Start a turn unless one is under way; says whether it did."""
        if self.state is CellState.NEW and not self._orders:
            return False  # made by hand: a thread would wait for a start that may never come, and keep the program
        turnstile = self._turnstile
        if not turnstile.take():
            return False
        try:
            self._executor.submit(partial(self._turn, turnstile))
        except RuntimeError:  # no thread can be started
            turnstile.give_back()
            logger.exception("%s waits for a thread; it is tried again in %g s", self.path, RETRY_SECONDS)
            self.environment.call_after(RETRY_SECONDS, self.wake)
        return True

    def refuse(self, envelope: Envelope, error: EverActError) -> None:
        """Answer for a message that will not be handled: an error to who asked, and a dead letter."""
        kind, reply_to = type(envelope.message), envelope.reply_to
        if kind in ORDERS:
            if kind is StopOrder and reply_to is not None:
                reply_to.settle(True)
            return
        if reply_to is not None:
            reply_to.fail(error)
        self._bury(envelope.message, str(error))

    def _bury(self, message: object, reason: str) -> None:
        environment = self.environment
        try:
            environment.on_dead_letter(DeadLetter(environment.runtime.now(), self.path, message, reason))
        except BaseException:
            # A message that cannot even be shown must not keep those behind it from being answered for.
            logger.exception("a dead letter of %s could not be told", self.path)

    # -- a turn --------------------------------------------------------------------------------------------

    @property
    def _has_work(self) -> bool:
        if self._orders:
            return True
        if self.state is not CellState.RUNNING:
            return False
        return not self.mailbox.empty() or (self.feed is not None and not self.feed.empty())

    async def _turn(self, turnstile: Turnstile) -> None:
        executor, fence = self._executor, turnstile.fence
        on_loop = self.is_async  # before the first step, in which a class that is may turn up on a thread
        current_actor.set(self)
        try:
            for _ in range(THROUGHPUT):
                # A class that asks for another thread is known only when its first instance is there.
                if self._executor is not executor or not await self._step(fence):
                    break
                if on_loop:
                    await _let_cancels_pass()
        finally:
            current_actor.set(None)
            turnstile.give_back()
        if self._fence != fence:
            self._come_back(turnstile)
        elif self._has_work:
            self.wake()
        elif self.feed is not None and not self.feed.empty():
            self.feed.wake()  # this one was woken for it, and cannot take it

    async def _step(self, fence: int) -> bool:
        """Obey one order, else handle one message; False if there was neither, or the turn is left behind."""
        orders = self._orders
        if self._fence != fence:
            return False
        if orders:  # these, not `self._orders`: left behind just now, it must not take what is for who comes after it
            await self._obey(orders.pop(0), fence)
            return True
        if self.state is not CellState.RUNNING:
            return False
        envelope = self._take()
        if envelope is None:
            return False
        message = envelope.message
        if type(message) in ORDERS:
            await self._heed(envelope, message, fence)
        elif envelope.reply_to is None or not envelope.reply_to.withdrawn:
            await self._receive(envelope, message, fence)
        return True

    def _take(self) -> Envelope | None:
        envelope = self.mailbox.take()
        if envelope is None and self.feed is not None:
            envelope = self.feed.take()
            if envelope is not None and envelope.reply_to is not None:
                envelope.reply_to.target = self
        return envelope

    async def _heed(self, envelope: Envelope, message: Any, fence: int) -> None:
        """What everact itself has put among the messages."""
        kind = type(message)
        if kind is StopOrder:
            if not await self.end(fence, final=True, then=partial(self._stopped_by, envelope)):
                self.mailbox.put(envelope)  # for who comes after this turn
        elif kind is EndOfSelf:
            # Unless it was said by the instance before this one, which has ended.
            if message.instance is self.instance:
                await self.end(fence, final=self.parent is None, then=partial(self._report, Ended))
        elif self._watched.get(message.cell) is message.watch:  # else the watch was called off
            del self._watched[message.cell]
            await self._receive(envelope, message.terminated, fence)

    async def _receive(self, envelope: Envelope, message: Any, fence: int) -> None:
        if self.is_async:
            current_message.set(envelope)
        reply_to = envelope.reply_to
        self._in_hand.append(envelope)
        if self._fence != fence:  # left behind just now, perhaps before anybody could see what it had in hand
            if self._put_down(envelope):
                self.refuse(envelope, self._left_behind_with_it())
            return
        try:
            answer = self.instance._handle_receive(message)  # type: ignore[union-attr]
            if self.is_async and inspect.isawaitable(answer):
                answer = await answer
        except BaseException as error:
            if self._put_down(envelope):
                await self._failed(envelope, message, error, fence)
            return
        if self._put_down(envelope) and reply_to is not None:
            reply_to.settle(answer)

    def _put_down(self, envelope: Envelope) -> bool:
        """Whether it is for this turn to answer for the message, and not for who has left the turn behind."""
        try:
            self._in_hand.remove(envelope)
        except ValueError:
            return False
        return True

    async def _failed(self, envelope: Envelope, message: Any, error: BaseException, fence: int) -> None:
        if envelope.reply_to is None:
            self._bury(message, f"{self.path} failed while it handled this: {error_name(error)}: {error_text(error)}")
        else:
            envelope.reply_to.fail(error)
            if self.parent is None:
                logger.info("Exception returned from %s to caller:", self.path, exc_info=error)
                return
        await self.fail(error, fence)

    def _answer_for_what_is_in_hand(self) -> None:
        while self._in_hand:
            try:
                envelope = self._in_hand.pop()
            except IndexError:  # the turn came back just in time
                return
            self.refuse(envelope, self._left_behind_with_it())

    def _left_behind_with_it(self) -> ActorDead:
        return ActorDead(f"{self.path} was left behind while it handled this message")

    def _stopped_by(self, envelope: Envelope) -> None:
        self._report(Gone)  # first, so that whoever has waited for this can use the name again
        if envelope.reply_to is not None:
            envelope.reply_to.settle(True)

    # -- death watch ---------------------------------------------------------------------------------------

    def watch(self, other: Cell) -> None:
        """Have one `Terminated` told to this cell when the other has ended, or now if it has."""
        if other not in self._watched:
            watch = self._watched[other] = object()
            other._watchers[watch] = self
            if other.state is CellState.STOPPED:
                other._tell_watchers()

    def unwatch(self, other: Cell) -> None:
        """Call a watch off, even if its message is in the mailbox already."""
        watch = self._watched.pop(other, None)
        if watch is not None:
            other._watchers.pop(watch, None)

    def _end_watches(self) -> None:
        self._tell_watchers()
        for other in list(self._watched):
            self.unwatch(other)  # else one that lives longer would keep this cell for ever

    def _tell_watchers(self) -> None:
        while self._watchers:
            try:
                watch, watcher = self._watchers.popitem()
            except KeyError:  # somebody else was faster
                return
            watcher.mailbox.put(Envelope(Notice(self, watch, Terminated(self.ref, self.cause))))


async def _let_cancels_pass() -> None:
    """Take delivery of a cancel that the user's code has left on its task: it is not meant for the next message."""
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    while task.uncancel():
        pass
