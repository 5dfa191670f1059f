"""The life of a cell: its instance is made, started, ended and replaced, as its supervisor orders."""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from everact.actors.birth import Birth, being_built, unfit
from everact.actors.envelope import Envelope
from everact.actors.executor import Executor, PinnedExecutor
from everact.actors.lifecycle import (
    Begin,
    Carry,
    CellState,
    Down,
    Failed,
    Report,
    Request,
    Start,
    Started,
    StartFailed,
    TakeDown,
)
from everact.actors.mailbox import BoundedMailbox, Mailbox
from everact.actors.stop_flag import StopFlag
from everact.actors.turnstile import Turnstile
from everact.tasks.errors import ConfigurationError, EverActError

if TYPE_CHECKING:
    from everact.actors.actor import Actor
    from everact.actors.cell import Cell
    from everact.actors.environment import Environment

logger = logging.getLogger("everact.actor")


class CellLife:
    """The half of a `Cell` that has to do with its instance.

    Everything that runs user code here runs in a turn of the cell. After user code comes back, the fence says
    whether the turn has been left behind meanwhile; then it changes nothing any more.
    """

    __slots__ = (
        "__weakref__",
        "_after_end",
        "_executor",
        "_fence",
        "_final",
        "_in_hand",
        "_orders",
        "_turnstile",
        "actor_class",
        "cause",
        "children",
        "environment",
        "factory",
        "generation",
        "instance",
        "is_async",
        "left_behind",
        "mailbox",
        "parent",
        "state",
        "stopped",
    )

    def __init__(self, environment: Environment, factory: Callable[[], Actor], parent: Any) -> None:
        self.environment = environment
        self.factory: Callable[[], Actor] | None = factory
        self.parent = parent
        self.state = CellState.NEW
        self.instance: Actor | None = None
        self.generation = 0
        self.left_behind = 0
        self.cause: BaseException | None = None
        self.children: dict[str, Cell] = {}
        self.is_async = False
        self.stopped = StopFlag()
        self.mailbox: Mailbox = self._make_mailbox()
        self.actor_class: type[Any] = pykka.Actor
        self._orders: list[Any] = []
        self._fence = 0
        self._final = False
        self._after_end: list[Callable[[], object]] = []
        self._executor: Executor = environment.shared
        self._turnstile = Turnstile(0)
        # The message that is being handled. Whoever takes it out answers for it: the turn, or who leaves that behind.
        self._in_hand: list[Envelope] = []

    # -- what the other half has -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def path(self) -> str:
        """See `Cell.path`."""

    @abstractmethod
    def tell_order(self, order: Any) -> None:
        """See `Cell.tell_order`."""

    @abstractmethod
    def wake(self) -> bool:
        """See `Cell.wake`."""

    @abstractmethod
    def refuse(self, envelope: Envelope, error: EverActError) -> None:
        """See `Cell.refuse`."""

    @abstractmethod
    def _make_mailbox(self) -> Mailbox: ...

    @abstractmethod
    def _answer_for_what_is_in_hand(self) -> None: ...

    @abstractmethod
    def _end_watches(self) -> None: ...

    @property
    @abstractmethod
    def _self(self) -> Cell: ...

    # -- the class -------------------------------------------------------------------------------------------

    def settle_in(self, actor_class: type[Actor], fence: int = 0) -> None:
        """Arrange for what the class asks for: a thread of its own, the event loop, a bounded mailbox.

        A factory may make another class at a restart. That one gets its thread, but the mailbox stays as it is.
        """
        if self._fence != fence:
            return  # the instance comes too late; there is, or will be, another one
        is_first = self.actor_class is pykka.Actor
        self.actor_class = actor_class
        environment = self.environment
        self.is_async = inspect.iscoroutinefunction(actor_class.on_receive)
        self._executor = environment.executor_for(actor_class, self._executor)
        if is_first and actor_class.mailbox_bound is not None:
            self.mailbox = BoundedMailbox(
                self._self, environment.runtime, actor_class.mailbox_bound, actor_class.overflow
            )

    # -- orders ----------------------------------------------------------------------------------------------

    async def _obey(self, order: Any, fence: int) -> None:
        kind = type(order)
        if kind is Start:
            await self._start(fence)
        elif kind is Begin:
            await self._begin(fence)
        elif kind is Carry:
            self._carry_on(order, fence)
        elif kind is TakeDown:
            await self.end(fence, final=order.final, then=partial(self._report, Down))
        elif self.instance is not None:
            await self._pass_on(order, fence)
        elif isinstance(order, Request):
            order.refuse(self.path)

    async def _pass_on(self, order: Any, fence: int) -> None:
        try:
            await self.instance._actor_on_order(order, fence)  # type: ignore[union-attr]
        except BaseException as error:
            # A supervisor that cannot do its work fails as any actor does; unheard, it would be dead with no end.
            logger.exception("Unhandled exception in %s:", self.path, exc_info=error)
            await self.fail(error, fence)

    def _carry_on(self, order: Carry, fence: int) -> None:
        if self.instance is None or self.state is not CellState.SUSPENDED or order.generation != self.generation:
            return
        if self._move(fence, CellState.RUNNING):
            self.cause = None

    def _report(self, kind: type[Report], *details: Any) -> None:
        if self.parent is not None:
            self.parent.tell_order(kind(self._self, self.generation, *details))

    async def _answered(self, answer: Any) -> Any:
        return await answer if self.is_async and inspect.isawaitable(answer) else answer

    def _move(self, fence: int, state: CellState) -> bool:
        """Change the state, unless this turn has been left behind, or somebody has ended the cell."""
        with self.environment.transitions:
            if self._fence != fence or self.state is CellState.STOPPED:
                return False
            self.state = state
            return True

    # -- the start -------------------------------------------------------------------------------------------

    def build(self, fence: int = 0) -> None:
        """Make an instance. Runs user code; raises what that raises.

        Args:
            fence: Of the turn that makes it. If that has been left behind meanwhile, the instance is let go.

        Raises:
            ConfigurationError: The factory made something that cannot live in this cell.
        """
        self.generation += 1
        token = being_built.set(Birth(self._self, fence))
        try:
            instance = self.factory() if self.factory is not None else None
        finally:
            being_built.reset(token)
        with self.environment.transitions:
            if self._fence != fence:
                return
            fits = getattr(instance, "_actor_cell", None) is self and self.instance is None
            if fits:
                self.instance = instance
        if not fits:
            raise ConfigurationError(unfit(instance))

    async def _start(self, fence: int) -> None:
        if not self._move(fence, CellState.STARTING):
            return
        self._final, self._after_end = False, []
        executor = self._executor
        try:
            self.build(fence)
        except BaseException as error:
            self._start_failed(fence, error)
            return
        if self._executor is executor:
            await self._begin(fence)
        else:
            self._orders.insert(0, Begin())  # on_start belongs on the thread that the class has asked for

    async def _begin(self, fence: int) -> None:
        instance = self.instance
        if instance is None or self._fence != fence:
            return
        try:
            await self._answered(instance.on_start())
        except BaseException as error:
            self._start_failed(fence, error)
            return
        # A supervisor starts its children first, and goes on when the last has reported.
        instance._actor_set_up(partial(self._set_up, fence))

    def _set_up(self, fence: int, error: BaseException | None = None) -> None:
        if error is not None:
            self._start_failed(fence, error)
        elif self.state is CellState.STARTING and self._move(fence, CellState.RUNNING):
            self.cause = None
            self._report(Started)

    def _start_failed(self, fence: int, error: BaseException) -> None:
        if not self._move(fence, CellState.DOWN):
            return
        self.instance, self.cause = None, error
        if self.parent is None:
            logger.error("Unhandled exception in %s:", self.path, exc_info=error)
            self.close()
        self._report(StartFailed, error)

    # -- the failure -----------------------------------------------------------------------------------------

    async def fail(self, error: BaseException, fence: int, report: type[Failed] = Failed) -> None:
        """The instance has failed: wait for the supervisor's decision; without one, end."""
        self.cause = error
        if self.parent is not None:
            # Not of one that is ending; but a supervisor that waits for a decision may find that it has to give up.
            if self.state in {CellState.RUNNING, CellState.SUSPENDED} and self._move(fence, CellState.SUSPENDED):
                self._report(report, error)
            return
        logger.error("Unhandled exception in %s:", self.path, exc_info=error)
        await self.end(fence, final=True, failed=True)

    # -- the end ---------------------------------------------------------------------------------------------

    async def end(
        self, fence: int, *, final: bool, failed: bool = False, then: Callable[[], object] = lambda: None
    ) -> bool:
        """End the instance, then call `then`; `final` ends the cell as well. An end under way takes both over.

        Returns:
            False if this turn has been left behind; then nothing comes of it.
        """
        with self.environment.transitions:
            if self._fence != fence:
                return False
            state, instance = self.state, self.instance
            if state is not CellState.STOPPED:
                self.state = CellState.STOPPING
                self._final = self._final or final
                self._after_end.append(then)
        if state is CellState.STOPPED:
            then()
            return True
        if self._final:
            self._mark_ended()
        if state is CellState.STOPPING:
            return True
        if instance is None:
            self._ended(fence)
        else:
            # A supervisor stops its children first, and goes on when the last has reported.
            await instance._actor_unwind(partial(self._end_instance, fence, failed or state is CellState.SUSPENDED))
        return True

    async def _end_instance(self, fence: int, failed: bool) -> None:
        instance = self.instance
        if instance is not None and self._fence == fence:
            try:
                if failed and self.cause is not None:
                    await self._answered(instance.on_failure(type(self.cause), self.cause, self.cause.__traceback__))
                else:
                    await self._answered(instance.on_stop())
            except BaseException as error:
                logger.exception("Unhandled exception in %s:", self.path, exc_info=error)
        self._ended(fence)

    def _ended(self, fence: int) -> None:
        with self.environment.transitions:
            if self._fence != fence:
                return
            self.instance = None
            final = self._final or self.state is CellState.STOPPED
            if not final:
                self.state = CellState.DOWN
            callbacks, self._after_end = self._after_end, []
        if final:
            self.close()
        for then in callbacks:
            then()

    def _mark_ended(self) -> None:
        if not self.stopped.is_set():
            if self.environment.alone and self.parent is None:
                pykka.ActorRegistry.unregister(self._self.ref)
                logger.debug("Stopped %s", self.path)
            self.stopped.set()

    def close(self) -> None:
        """End for good: what is in the mailbox, and whatever still comes, is refused; watchers are told."""
        with self.environment.transitions:
            self.state = CellState.STOPPED
            self.factory = None
        self._mark_ended()
        for child in list(self.children.values()):
            child.close()
        self.children = {}
        self.mailbox.close()
        if isinstance(executor := self._executor, PinnedExecutor):
            self._executor = self.environment.shared  # whoever gives one more order gets an answer all the same
            executor.close()
        self._end_watches()

    def abandon(self, *, final: bool) -> bool:
        """Leave the turn that is under way behind, and its instance with it. Called by whoever waited too long.

        A stop from outside that it has not come back from is done with that.

        Returns:
            Whether there was a turn under way; if not, no thread has been left behind.
        """
        with self.environment.transitions:
            if self.state is CellState.STOPPED:
                return False
            self._fence += 1
            callbacks = self._after_end if self._final else []
            before, orders, executor = self._turnstile, self._orders, self._executor
            if isinstance(executor, PinnedExecutor):
                executor.close()  # its thread leaves when the user code lets it go
                self._executor = executor.renewed()
            self.instance, self.state = None, CellState.DOWN
            # The turnstile comes last: who takes its token finds the executor, and the orders, that go with it.
            self._orders, self._after_end = [], []
            self._turnstile = Turnstile(self._fence)
            if under_way := not before.take():
                self._count(1)
        self._answer_for_what_is_in_hand()
        for order in orders:
            if isinstance(order, Request):
                order.refuse(self.path)
        for child in list(self.children.values()):
            child.tell_order(TakeDown(final=False))
        if final or self._final:
            self.close()
        for then in callbacks:
            then()
        self.wake()  # somebody may have given an order meanwhile
        return under_way

    def _come_back(self, turnstile: Turnstile) -> None:
        """A turn that has been left behind is over."""
        with self.environment.transitions:
            if turnstile.take():  # else the turn was over before, and has not been counted
                self._count(-1)

    def _count(self, threads: int) -> None:
        self.left_behind += threads
        self.environment.left_behind += threads
