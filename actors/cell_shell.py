"""The shell of a cell: its parts, its state behind a fence, its end from outside."""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka

from everact.actors.envelope import Envelope
from everact.actors.executor import Executor, PinnedExecutor
from everact.actors.lifecycle import CellState, Report, Request, TakeDown
from everact.actors.mailbox import BoundedMailbox, Mailbox
from everact.actors.stop_flag import StopFlag
from everact.actors.turnstile import Turnstile
from everact.tasks.errors import EverActError

if TYPE_CHECKING:
    from everact.actors.actor import Actor
    from everact.actors.cell import Cell
    from everact.actors.environment import Environment

logger = logging.getLogger("everact.actor")


class CellShell:
    """What a cell consists of, and what anybody may do to it in any thread.

    The state changes behind a fence: each turn has its number, and once a turn has been left behind, the number has
    moved on and nothing that the turn still does counts. No code of the user's instance runs here.
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

    # -- what those above have -----------------------------------------------------------------------------

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

    # -- its state -------------------------------------------------------------------------------------------

    def _move(self, fence: int, state: CellState) -> bool:
        """Change the state, unless this turn has been left behind, or somebody has ended the cell."""
        with self.environment.transitions:
            if self._fence != fence or self.state is CellState.STOPPED:
                return False
            self.state = state
            return True

    def _report(self, kind: type[Report], *details: Any) -> None:
        if self.parent is not None:
            self.parent.tell_order(kind(self._self, self.generation, *details))

    # -- the end, from outside -------------------------------------------------------------------------------

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
