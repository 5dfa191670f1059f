"""`Actor`: what users derive their actors from. A pykka actor that can be supervised."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self

import pykka

from everact.actors.birth import being_built
from everact.actors.cell import Cell
from everact.actors.envelope import EndOfSelf, Envelope
from everact.actors.future import Future
from everact.actors.lifecycle import Begin, CellState
from everact.actors.mailbox import Overflow
from everact.actors.ref import ActorRef
from everact.actors.standalone import environment
from everact.actors.stop_flag import StopFlag
from everact.tasks.errors import ConfigurationError

logger = logging.getLogger("everact.actor")
ASK_SECONDS = 30.0


class Actor(pykka.Actor):
    """Base of your actors; a drop-in for `pykka.ThreadingActor`.

    Start it alone with `start`, as in pykka, or have an `ActorSystem` spawn and supervise it. Either way it handles
    one message at a time, in order of arrival: those told or asked in `on_receive`, proxy calls in its methods.
    If `on_receive` is an `async def`, all of it runs on everact's event loop, still one message at a time.

    A failure while it handles a message goes to whoever asked. Standing alone, the actor then goes on; after a
    message that nobody asked for it stops. Under a supervisor either is a failure, and the supervisor decides;
    meanwhile its messages wait. What differs from pykka, and why: docs/actors.md.

    Attributes:
        use_daemon_thread: Whether the program may exit while an actor of this class stands alone and runs. One that
            shares its thread, or whose `on_receive` is async, never keeps it from that.
        pinned: Whether it has a thread of its own. None: it has, if it stands alone or defines `on_start`, since a
            connection that is made there may belong to its thread. Others share the threads of their system.
        ask_timeout: Seconds after which an ask that gives no timeout of its own gives up; None waits for ever.
        mailbox_bound: How many messages wait at the most; None for any number.
        overflow: What becomes of one more.

    Example:
        >>> class Counter(Actor):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.count = 0
        ...     def add(self, number):
        ...         self.count += number
        ...         return self.count
        >>> counter = Counter.start()
        >>> counter.proxy().add(2).get()
        2
        >>> counter.stop()
        True
    """

    use_daemon_thread: ClassVar[bool] = False
    pinned: ClassVar[bool | None] = None
    ask_timeout: ClassVar[float | None] = ASK_SECONDS
    mailbox_bound: ClassVar[int | None] = None
    overflow: ClassVar[Overflow] = Overflow.BLOCK

    _actor_cell: Cell

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not _is_bound(cls.mailbox_bound):
            msg = f"{cls.__name__}.mailbox_bound={cls.mailbox_bound!r} must be None or a whole number from 1 on"
            raise ConfigurationError(msg)
        if not isinstance(cls.overflow, Overflow):
            msg = f"{cls.__name__}.overflow={cls.overflow!r} must be one of {[str(rule) for rule in Overflow]}"
            raise ConfigurationError(msg)
        if cls.pinned not in (None, True, False):  # a method of that name, most likely
            msg = f"{cls.__name__}.pinned={cls.pinned!r} must be True, False or None; everact reads it, rename yours"
            raise ConfigurationError(msg)
        if not _is_timeout(cls.ask_timeout):
            msg = f"{cls.__name__}.ask_timeout={cls.ask_timeout!r} must be seconds from 0 on, or None; everact reads it"
            raise ConfigurationError(msg)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start an actor that stands alone, and enter it in `pykka.ActorRegistry`.

        `__init__` runs in the calling thread; `on_start` and all the rest in the actor's.

        Args:
            *args: For `__init__`.
            **kwargs: For `__init__`.

        Raises:
            BaseException: What `__init__` raises; nothing is started then.
            ConfigurationError: `__init__` does not call that of its base class.
        """
        cell = Cell(environment(), partial(cls, *args, **kwargs), actor_class=cls)
        try:
            cell.build()
        except BaseException:
            cell.close()
            raise
        return cell.instance._actor_begin()  # type: ignore[union-attr, return-value]

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Call this first of all in your own `__init__`; `actor_ref` can be used after it."""
        if "_actor_cell" in self.__dict__:
            return  # two of its base classes call this; it is one actor all the same
        stray = _stray_coroutine(type(self))
        if stray is not None:
            msg = (
                f"{type(self).__name__}.{stray} is async and would never be awaited, since on_receive is not; "
                "write `async def on_receive` as well, and all of the actor runs on everact's event loop"
            )
            raise ConfigurationError(msg)
        birth = being_built.get()
        if birth is None:  # made by hand, to be tried out without being started
            cell = Cell(environment(), type(self), actor_class=type(self))
            cell.instance = self
        else:
            cell = birth.cell
            if cell.actor_class is not type(self):
                cell.settle_in(type(self), birth.fence)
        being_built.set(None)  # whatever else is made on the way is not what this cell is for
        self._actor_cell = cell

    @classmethod
    def has_own_thread(cls, *, alone: bool) -> bool:
        """Whether actors of this class have a thread of their own."""
        if cls.pinned is not None:
            return cls.pinned
        return alone or cls.on_start is not Actor.on_start

    # -- pykka's names ---------------------------------------------------------------------------------------

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """A name that no other actor has. It stays over restarts."""
        return self._actor_cell.urn

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]
        """The mailbox. Use the reference to put something into it."""
        return self._actor_cell.mailbox

    @property
    def actor_stopped(self) -> StopFlag:  # type: ignore[override]
        """Set once the actor has ended for good."""
        return self._actor_cell.stopped

    @property
    def actor_ref(self) -> ActorRef[Self]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The actor's address."""
        return self._actor_cell.ref

    @property
    def _actor_ref(self) -> ActorRef[Any]:  # type: ignore[override]
        return self._actor_cell.ref

    def stop(self) -> None:
        """End, after what is in the mailbox now.

        Called by the actor itself this is a normal end: a supervisor starts a PERMANENT actor again after it, and
        lets others go. `actor_ref.stop()` is somebody's decision that it shall be gone.
        """
        self._actor_cell.mailbox.put(Envelope(EndOfSelf(self)))

    def watch(self, ref: ActorRef[Any]) -> None:
        """Have one `Terminated(ref, cause)` told to this actor when another has ended for good, or now if it has.

        It comes through the mailbox, to `on_receive`. Watching twice is watching once. A restart of either actor
        changes nothing.
        """
        self._actor_cell.watch(ref._cell)

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Call a watch off; its message does not come any more, even if it is in the mailbox already."""
        self._actor_cell.unwatch(ref._cell)

    def on_start(self) -> Any:
        """Set up what must be set up in the actor's own thread, before its first message. For overriding.

        Raising here is a failed start: alone, the actor stops; a supervisor tries again.
        """

    def on_stop(self) -> Any:
        """Clean up, after the last message, in the actor's own thread. For overriding.

        Not called after a failure: `on_failure` is. What it raises is logged.
        """

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """Clean up after a failure, before this instance is let go. For overriding.

        Called in the actor's own thread when it stops or is restarted for the failure, not when its supervisor
        has it go on. What it raises is logged.
        """

    def __str__(self) -> str:
        return self._actor_cell.path

    # -- for everact -----------------------------------------------------------------------------------------

    def _actor_begin(self) -> ActorRef[Self]:
        self._start_actor_loop()
        return self.actor_ref

    async def _actor_unwind(self, done: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do what comes before the end of this instance, then call `done`. A supervisor stops its children here."""
        await done()

    def _actor_set_up(self, done: Callable[[], object]) -> None:
        """Do what comes between `on_start` and the first message, then call `done`, with an error if it failed."""
        done()

    async def _actor_on_order(self, order: Any, fence: int) -> None:
        """What the cell does not deal with itself: reports of children."""

    @property
    def _actor_shutdown_seconds(self) -> float:
        """How long those below may take to end."""
        return 0.0

    def _start_actor_loop(self) -> None:
        pykka.ActorRegistry.register(self._actor_cell.ref)
        logger.debug("Starting %s", self)
        self._actor_cell.state = CellState.STARTING
        self._actor_cell.tell_order(Begin())

    @staticmethod
    def _create_actor_inbox() -> Any:
        msg = "the mailbox belongs to the cell, which outlives the actor; see everact.actors.cell"
        raise TypeError(msg)

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()


def _is_bound(bound: object) -> bool:
    return bound is None or (type(bound) is int and bound >= 1)


def _is_timeout(seconds: object) -> bool:
    return seconds is None or (isinstance(seconds, int | float) and seconds >= 0)


def _stray_coroutine(actor_class: type[Actor]) -> str | None:
    """A hook that nobody would await, since the rest of the class is not async."""
    if inspect.iscoroutinefunction(actor_class.on_receive):
        return None
    hooks = ("on_start", "on_stop", "on_failure")
    return next((name for name in hooks if inspect.iscoroutinefunction(getattr(actor_class, name))), None)
