"""The life of a cell: its instance is made, started, ended and replaced, as its supervisor orders."""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka

from everact.actors.envelope import Envelope
from everact.actors.executor import Executor, PinnedExecutor
from everact.actors.lifecycle import (
    Begin,
    Carry,
    CellState,
    Down,
    Failed,
    Report,
    Start,
    Started,
    StartFailed,
    TakeDown,
)
from everact.actors.mailbox import BoundedMailbox, Mailbox
from everact.actors.stop_flag import StopFlag
from everact.tasks.errors import ActorDead, ConfigurationError, EverActError

if TYPE_CHECKING:
    from everact.actors.actor import Actor
    from everact.actors.cell import Cell
    from everact.actors.environment import Environment

logger = logging.getLogger("everact.actor")
being_built: ContextVar[Cell | None] = ContextVar("being_built", default=None)
"""The cell whose instance is being made here; the instance claims it in its `__init__`."""


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
        "_orders",
        "_turnstile",
        "actor_class",
        "cause",
        "children",
        "current",
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
        self.current: Envelope | None = None
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
        # One token while no turn is under way; taking it is the right to start one, with the fence that it is.
        self._turnstile = [0]

    # -- what the other half has -----------------------------------------------------------------------------

    @property
    @abstractmethod
    def path(self) -> str:
        """See `Cell.path`."""

    @abstractmethod
    def tell_order(self, order: Any) -> None:
        """See `Cell.tell_order`."""

    @abstractmethod
    def refuse(self, envelope: Envelope, error: EverActError) -> None:
        """See `Cell.refuse`."""

    @abstractmethod
    def _make_mailbox(self) -> Mailbox: ...

    @abstractmethod
    def _tell_watchers(self) -> None: ...

    @property
    @abstractmethod
    def _self(self) -> Cell: ...

    # -- the class -------------------------------------------------------------------------------------------

    def settle_in(self, actor_class: type[Actor]) -> None:
        """Arrange for what the class asks for: a thread of its own, the event loop, a bounded mailbox."""
        self.actor_class = actor_class
        environment = self.environment
        self.is_async = inspect.iscoroutinefunction(actor_class.on_receive)
        if self.is_async:
            self._executor = environment.loop()
        elif actor_class.has_own_thread(alone=environment.alone):
            daemon = not environment.alone or actor_class.use_daemon_thread
            self._executor = environment.pinned(actor_class.__name__, daemon=daemon)
        if actor_class.mailbox_bound is not None:
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
            if self.state is CellState.SUSPENDED and order.generation == self.generation:
                self.state = CellState.RUNNING
        elif kind is TakeDown:
            await self.end(fence, final=order.final, then=partial(self._report, Down))
        elif self.instance is not None:
            await self.instance._on_order(order, fence)

    def _report(self, kind: type[Report], *details: Any) -> None:
        if self.parent is not None:
            self.parent.tell_order(kind(self._self, self.generation, *details))

    async def _answered(self, answer: Any) -> Any:
        return await answer if self.is_async and inspect.isawaitable(answer) else answer

    def _move(self, fence: int, state: CellState) -> bool:
        """Change the state, unless this turn has been left behind."""
        with self.environment.transitions:
            if self._fence != fence:
                return False
            self.state = state
            return True

    # -- the start -------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Make an instance. Runs user code; raises what that raises.

        Raises:
            ConfigurationError: The factory made something that cannot live in this cell.
        """
        self.generation += 1
        token = being_built.set(self._self)
        try:
            instance = self.factory() if self.factory is not None else None
        finally:
            being_built.reset(token)
        if getattr(instance, "_cell", None) is not self or self.instance is not None:
            raise ConfigurationError(_unfit(instance))
        self.instance = instance

    async def _start(self, fence: int) -> None:
        if self.state is CellState.STOPPED or not self._move(fence, CellState.STARTING):
            return
        self._final, self._after_end = False, []
        executor = self._executor
        try:
            self.build()
        except BaseException as error:
            self._start_failed(fence, error)
            return
        if self._executor is executor:
            await self._begin(fence)
        else:
            self._orders.insert(0, Begin())  # on_start belongs on the thread that the class has asked for

    async def _begin(self, fence: int) -> None:
        instance = self.instance
        if instance is None:
            return
        try:
            await self._answered(instance.on_start())
        except BaseException as error:
            self._start_failed(fence, error)
            return
        # A supervisor starts its children first, and goes on when the last has reported.
        instance._set_up(partial(self._set_up, fence))

    def _set_up(self, fence: int, error: BaseException | None = None) -> None:
        if error is not None:
            self._start_failed(fence, error)
        elif self.state is CellState.STARTING and self._move(fence, CellState.RUNNING):
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

    async def fail(self, error: BaseException, fence: int) -> None:
        """The instance has failed: wait for the supervisor's decision; without one, end."""
        self.cause = error
        if self.parent is not None:
            if self._move(fence, CellState.SUSPENDED):
                self._report(Failed, error)
            return
        logger.error("Unhandled exception in %s:", self.path, exc_info=error)
        await self.end(fence, final=True, failed=True)

    # -- the end ---------------------------------------------------------------------------------------------

    async def end(
        self, fence: int, *, final: bool, failed: bool = False, then: Callable[[], object] = lambda: None
    ) -> None:
        """End the instance, then call `then`; `final` ends the cell as well. An end under way takes both over."""
        if self.state is CellState.STOPPED:
            then()
            return
        failed = failed or self.state is CellState.SUSPENDED
        self._final = self._final or final
        self._after_end.append(then)
        if self._final:
            self._mark_ended()
        if self.state is CellState.STOPPING:
            return
        if not self._move(fence, CellState.STOPPING):
            return
        if self.instance is None:
            self._ended()
        else:
            # A supervisor stops its children first, and goes on when the last has reported.
            await self.instance._unwind(partial(self._end_instance, fence, failed))

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
        if self._move(fence, CellState.DOWN):
            self.instance = None
            self._ended()

    def _ended(self) -> None:
        if self._final:
            self.close()
        else:
            self.state = CellState.DOWN
        callbacks, self._after_end = self._after_end, []
        for then in callbacks:
            then()

    def _mark_ended(self) -> None:
        if not self.stopped.is_set():
            if self.environment.alone and self.parent is None:
                pykka.ActorRegistry.unregister(self._self.ref)
            self.stopped.set()

    def close(self) -> None:
        """End for good: what is in the mailbox, and whatever still comes, is refused; watchers are told."""
        with self.environment.transitions:
            self.state = CellState.STOPPED
            self.factory = None
        self._mark_ended()
        for child in self.children.values():
            child.close()
        self.children = {}
        self.mailbox.close()
        if isinstance(self._executor, PinnedExecutor):
            self._executor.close()
        self._tell_watchers()

    def abandon(self, *, final: bool) -> None:
        """Leave the turn that is under way behind, and its instance with it. Called by whoever waited too long."""
        with self.environment.transitions:
            self._fence += 1
            self.left_behind += 1
            envelope, self.current = self.current, None
            self.instance, self.state = None, CellState.DOWN
            self._orders, self._after_end, self._turnstile = [], [], [self._fence]
            executor = self._executor
            if isinstance(executor, PinnedExecutor):
                executor.close()  # its thread leaves when the user code lets it go
                self._executor = executor.renewed()
        if envelope is not None:
            self.refuse(envelope, ActorDead(f"{self.path} was left behind while it handled this message"))
        for child in self.children.values():
            child.tell_order(TakeDown(final=False))
        if final:
            self.close()


def _unfit(instance: object) -> str:
    if isinstance(instance, pykka.Actor) and not hasattr(instance, "_cell"):
        return f"{type(instance).__name__}.__init__ does not call super().__init__(); an actor must, first of all"
    return (
        f"the factory returned {instance!r}, which is not a new everact.Actor; it must make one on every call, "
        "so that a restarted actor starts afresh, and no other actor before that one"
    )
