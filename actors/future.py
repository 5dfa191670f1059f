"""Replies: a pykka future that is set once, can be awaited without blocking a loop, and does not wait for ever."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, TypeVar, cast

import pykka

from everact.actors.latch import Latch
from everact.actors.runtime import Full, Runtime, process_runtime
from everact.actors.wait_for import Asker, stepping_aside, waiting_for
from everact.tasks.errors import AskCycle, AskTimeout, BlockingCallError

T = TypeVar("T")
J = TypeVar("J")
M = TypeVar("M")
R = TypeVar("R")
ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Future(Latch, pykka.Future[T]):
    """A value that is there now or later; what `ask` and proxies return.

    It keeps what pykka's `ThreadingFuture` does, `map`, `filter`, `join` and `reduce` included, and differs where
    that could hang: the reply to an ask has a deadline, the first who sets it wins without hurting the actor that
    comes second, and `await` lets the event loop go on.

    Attributes:
        target: The actor that the reply must come from; None if it need not be an actor.
        withdrawn: Whether the message that this is the reply to shall not be handled.

    Example:
        >>> later = Future()
        >>> longer = later.map(lambda text: text + "!")
        >>> later.set("done")
        >>> longer.get()
        'done!'
    """

    def __init__(
        self, runtime: Runtime | None = None, target: Asker | None = None, deadline: float | None = None
    ) -> None:
        Latch.__init__(self)
        self._runtime = runtime or process_runtime()
        self._unset = [None]  # one token; taking it is the right to set the value
        self._value: Any = None
        self._error: ExcInfo | None = None
        self._get_hook: Any = None
        self.target = target
        self.withdrawn = False
        self._deadline = deadline

    def get(self, *, timeout: float | None = None) -> T:
        """Wait for the value and return it; an exception that was set is raised instead.

        Blocks the calling thread. It may be called any number of times.

        Args:
            timeout: Seconds to wait. None means the `ask_timeout` of the actor that was asked (30 s unless it says
                otherwise); a future that was not made by an ask waits until somebody sets it, as pykka's does.

        Raises:
            AskTimeout: It has passed. A pykka user catches `pykka.Timeout`.
            AskCycle: The wait could never end, since the actor that was asked waits for this one.
            BlockingCallError: Called on everact's own event loop; await the future there.
        """
        if self._get_hook is not None:
            return cast("T", self._hooked(timeout))
        if not self._opened:
            self._refuse_to_block()
            with waiting_for(self):
                self._block(timeout)
        if self._error is None:
            return cast("T", self._value)
        kind, error, traceback = self._error
        if error is None:
            error = kind() if kind is not None else RuntimeError("set_exception() was called outside an except block")
        # Without the reset every get() would add its own frames to the traceback.
        raise error.with_traceback(traceback)

    def set(self, value: T | None = None) -> None:
        """Set the value.

        Raises:
            queue.Full: There is a value, an exception or a get hook already.
        """
        if not self.settle(value):
            raise Full

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Set an exception: the one given as by `sys.exc_info()`, else the one that is being handled.

        Raises:
            queue.Full: As `set`.
        """
        if not self.settle(exc_info=exc_info or sys.exc_info()):
            raise Full

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Have `get(timeout)` answer with `func(timeout)`, called once, in the thread of the first `get`.

        A later hook takes the place of this one.

        Raises:
            queue.Full: There is a value already.
        """
        try:
            self._unset.pop()
        except IndexError:
            if self._get_hook is None:
                raise Full from None
        self._get_hook = _Once(func, self._runtime)

    def settle(self, value: T | None = None, exc_info: ExcInfo | None = None) -> bool:
        """Set the value or exception unless somebody has; says whether this call did. Never raises."""
        try:
            self._unset.pop()
        except IndexError:
            return False
        self._value = value
        self._error = exc_info
        self.open()
        return True

    def fail(self, error: BaseException) -> bool:
        """Set an exception, as `settle` does."""
        return self.settle(exc_info=(type(error), error, error.__traceback__))

    def get_after(self, send: Callable[[], object], timeout: float | None) -> Any:
        """Send the message that this is the reply to, and wait for it.

        If that could never end, nothing is sent; or it is withdrawn, if only a router knows who has to answer.
        """
        self._refuse_to_block()
        with waiting_for(self) as edge:
            asked = self.target
            send()
            if self.target is not asked:  # a router has passed it on
                edge.follow()
            self._block(timeout)
        return self.get()

    def withdraw(self, error: AskCycle) -> None:
        """See `Reply.withdraw`."""
        self.withdrawn = True
        self.fail(error)

    # -- derived futures -----------------------------------------------------------------------------------

    def map(self, func: Callable[[T], M]) -> Future[M]:
        """A future of `func(value)`; `func` is called once, by whoever gets it first."""
        return Derived(self._runtime, (self,), lambda values: func(values[0]))

    def filter(self: pykka.Future[Iterable[J]], func: Callable[[J], bool]) -> Future[Iterable[J]]:
        """A future of the list of the items for which `func` is true."""
        return Derived(_runtime_of(self), (self,), lambda values: list(filter(func, values[0])))

    def join(self: pykka.Future[Any], *futures: pykka.Future[Any]) -> Future[Iterable[Any]]:
        """A future of the list of all these values, this one's first."""
        return Derived(_runtime_of(self), (self, *futures), lambda values: values)

    def reduce(self: pykka.Future[Iterable[J]], func: Callable[[R, J], R], *args: R) -> Future[R]:
        """A future of the items folded by `func`, from `args[0]` on if that is given."""
        return Derived(_runtime_of(self), (self,), lambda values: functools.reduce(func, values[0], *args))

    # -- awaiting ------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, T]:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            yield  # as pykka's: in a coroutine that no loop drives there is nothing to do but block
            return self.get()
        yield from self._arrival().__await__()
        return self.get()

    __iter__ = __await__

    async def _arrival(self) -> None:
        """Return when `get` will not block any more."""
        loop = asyncio.get_running_loop()
        if self._get_hook is not None:
            await asyncio.wait([loop.run_in_executor(None, self._get_hook.run, None)])
            return
        if self._opened:
            return
        arrived: asyncio.Future[None] = loop.create_future()
        self.on_open(functools.partial(_wake, loop, arrived))
        with waiting_for(self):
            await asyncio.wait([arrived], timeout=self._deadline)
        if not self._opened:
            raise self._late(self._deadline)

    def __repr__(self) -> str:
        return "<everact.Future>"

    # -- inside --------------------------------------------------------------------------------------------

    def _hooked(self, timeout: float | None) -> Any:
        return self._get_hook.run(timeout)

    def _refuse_to_block(self) -> None:
        role = self._runtime.role()
        if role is not None:
            raise BlockingCallError("Future.get", role)

    def _block(self, timeout: float | None) -> None:
        seconds = self._deadline if timeout is None else timeout
        with stepping_aside():
            opened = Latch.wait(self, self._runtime.gate, None if seconds is None else max(seconds, 0.0))
        if not opened:
            raise self._late(seconds)

    def _late(self, seconds: float | None) -> AskTimeout:
        name = "the actor that was asked" if self.target is None else self.target.path
        return AskTimeout(name, seconds or 0.0)


class Derived(Future[T]):
    """A future made of others: computed once, in the thread that gets it first."""

    def __init__(
        self, runtime: Runtime, sources: tuple[pykka.Future[Any], ...], compute: Callable[[list[Any]], T]
    ) -> None:
        super().__init__(runtime)
        self._sources = sources
        self.set_get_hook(lambda timeout: compute(self._values(timeout)))

    def _hooked(self, timeout: float | None) -> Any:
        self._values(timeout)  # waited for outside the lock, where everybody has a timeout of their own
        return super()._hooked(timeout)

    def _values(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            return [source.get() for source in self._sources]
        deadline = self._runtime.monotonic() + timeout
        return [source.get(timeout=max(deadline - self._runtime.monotonic(), 0.0)) for source in self._sources]

    async def _arrival(self) -> None:
        if not all(isinstance(source, Future) for source in self._sources):
            await super()._arrival()  # a stock future can only be waited for in a thread
            return
        for source in self._sources:
            await cast("Future[Any]", source)._arrival()


class _Once:
    """A function that is called until it has returned, and its answer kept."""

    __slots__ = ("_answer", "_func", "_lock")

    def __init__(self, func: Callable[[float | None], Any], runtime: Runtime) -> None:
        self._func = func
        self._lock = runtime.lock()
        self._answer: list[Any] = []

    def run(self, timeout: float | None) -> Any:
        with self._lock:
            if not self._answer:
                self._answer.append(self._func(timeout))
        return self._answer[0]


def _runtime_of(future: pykka.Future[Any]) -> Runtime:
    return future._runtime if isinstance(future, Future) else process_runtime()


def _wake(loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]) -> None:
    def set_it() -> None:
        if not arrived.done():
            arrived.set_result(None)

    try:
        loop.call_soon_threadsafe(set_it)
    except RuntimeError:
        return  # the loop was closed while it waited; nobody is left there to be told
