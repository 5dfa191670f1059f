"""The address of an actor, which stays valid while the instance behind it is replaced."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

import pykka

from everact.actors.envelope import Envelope, StopOrder
from everact.actors.future import Future
from everact.tasks.errors import ActorDead, BlockingCallError, EverActError, ForkedSystem, MailboxFull

if TYPE_CHECKING:
    from everact.actors.cell import Cell
    from everact.actors.proxy import ActorProxy
    from everact.actors.stop_flag import StopFlag

A = TypeVar("A", bound=pykka.Actor)


class ActorRef(pykka.ActorRef[A]):
    """Reference to an actor, which may be passed around freely within the process.

    You get one from `Actor.start`, `ActorSystem.spawn` and `Actor.actor_ref`. It asks the cell, never the instance,
    so it outlives restarts, and the mailbox behind it does too. Its methods may be called from any thread.
    """

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    @property
    def path(self) -> str:
        """The actor's place in its system, such as `shop/user/stock`; standing alone, its class and urn."""
        return self._cell.path

    @property
    def actor_class(self) -> type[A]:  # type: ignore[override]
        """The actor's class."""
        return self._cell.actor_class

    @property
    def actor_urn(self) -> str:  # type: ignore[override]
        """A name that no other actor has."""
        return self._cell.urn

    @property
    def actor_inbox(self) -> Any:  # type: ignore[override]
        """The actor's mailbox."""
        return self._cell.mailbox

    @property
    def actor_stopped(self) -> StopFlag:  # type: ignore[override]
        """Set once the actor has ended for good; `wait` for that if you need to."""
        return self._cell.stopped

    def is_alive(self) -> bool:
        """Whether the actor has not ended. One that has failed and waits for its restart is alive."""
        return not (self._cell.stopped.is_set() or self._cell.environment.is_elsewhere)

    def tell(self, message: Any) -> None:
        """Send a message without waiting for anything.

        Args:
            message: Any object; it is not copied.

        Raises:
            ActorDead: The actor has ended. If it ends before it comes to the message, that is a dead letter.
            ForkedSystem: It lives in the process that this one was forked from.
            MailboxFull: Its mailbox is bounded, and full, and its rule says so.
        """
        cell = self._cell
        if cell.stopped.is_set() or cell.environment.is_elsewhere:
            raise self._dead()
        cell.mailbox.put(Envelope(message))

    @overload
    def ask(self, message: Any, *, block: Literal[False], timeout: float | None = None) -> Future[Any]: ...
    @overload
    def ask(self, message: Any, *, block: Literal[True], timeout: float | None = None) -> Any: ...
    @overload
    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any | Future[Any]: ...
    def ask(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, message: Any, *, block: bool = True, timeout: float | None = None
    ) -> Any | Future[Any]:
        """Send a message and wait for the reply.

        Args:
            message: Any object; it is not copied.
            block: Whether to wait here; otherwise you get a future, which has the same deadline.
            timeout: Seconds to wait, instead of the `ask_timeout` of the actor's class (30 s).

        Raises:
            AskTimeout: No reply came in time. The message is not withdrawn.
            AskCycle: The actor waits for the one that asks, perhaps through others.
            ActorDead: It has ended, or ended before it came to the message.
            BlockingCallError: It would block everact's own event loop. Nothing is sent; await the future there.
            BaseException: Whatever it raised while it handled the message.
        """
        cell = self._cell
        self._refuse_to_block("ask", block=block)
        future: Future[Any] = Future(cell.environment.runtime, cell, cell.ask_timeout)
        if block:
            return future.get_after(partial(self._send, message, future), timeout)
        self._send(message, future)
        return future

    def _send(self, message: Any, future: Future[Any]) -> None:
        cell = self._cell
        if not self.is_alive():
            future.fail(self._dead())
            return
        try:
            cell.mailbox.put(Envelope(message, future))
        except MailboxFull as error:
            future.fail(error)

    @overload
    def stop(self, *, block: Literal[True], timeout: float | None = None) -> bool: ...
    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = None) -> Future[bool]: ...
    @overload
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]: ...
    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]:
        """Have the actor stop once it has handled what is in its mailbox now. No supervisor restarts it.

        Args:
            block: Whether to wait here until it has ended.
            timeout: Seconds to wait, instead of the `ask_timeout` of its class (30 s).

        Returns:
            True if this, or somebody else at the same time, stopped it; False if it had ended before.

        Raises:
            AskTimeout: It has not come to it in time. It still will.
            BlockingCallError: As `ask`.
        """
        cell = self._cell
        self._refuse_to_block("stop", block=block)
        stopped: Future[bool] = Future(cell.environment.runtime, cell, cell.ask_timeout)
        self._send_stop(stopped)  # before the wait, which may turn out to be one that never ends
        return bool(stopped.get(timeout=timeout)) if block else stopped

    def _send_stop(self, stopped: Future[bool]) -> None:
        if not self.is_alive():
            stopped.settle(False)
        else:
            self._cell.mailbox.put(Envelope(StopOrder(), stopped))

    def proxy(self) -> ActorProxy[A]:
        """Wrap the reference, so that methods and fields of the actor can be used as if it were here.

        Raises:
            ActorDead: The actor has ended.
        """
        from everact.actors.proxy import ActorProxy

        return ActorProxy(actor_ref=self)

    def _actor_weakref(self) -> A | None:  # type: ignore[override]
        """The instance that is behind the address at this moment; a stock pykka proxy asks for it."""
        return self._cell.instance  # type: ignore[return-value]

    def _refuse_to_block(self, call: str, *, block: bool) -> None:
        role = self._cell.environment.runtime.role()
        if block and role is not None:
            raise BlockingCallError(f"ActorRef.{call}", role)

    def _dead(self) -> EverActError:
        environment = self._cell.environment
        if environment.is_elsewhere and environment.alone:
            return ActorDead(f"{self.path} lives in the process that this one was forked from; start another one here")
        if environment.is_elsewhere:
            return ForkedSystem(self.path.partition("/")[0])
        return ActorDead(f"{self.path} has stopped; start or spawn it again, and use the new reference")

    def __str__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<ActorRef for {self}>"

    def __reduce__(self) -> NoReturn:
        msg = f"{self!r} is an address inside this process; send the actor's name, or a task, across processes"
        raise TypeError(msg)
