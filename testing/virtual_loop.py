"""An asyncio event loop on virtual time, whose waits are waits of the simulation.

It runs in one of the runtime's fibers. Callbacks that are ready run in asyncio's order, first in, first out; between
two rounds the runtime chooses who goes on, so an async handler interleaves with everything else as the seed says.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any, NoReturn, Protocol, TypeVarTuple

from everact.testing.refusal import NETWORK, PROCESS, SIGNAL, THREAD, refusals

Ts = TypeVarTuple("Ts")
CLOCK_RESOLUTION = 1e-6
"""Timers as close as this are due together; less than that, and a sum of two floats may fall short of a deadline."""
CLOSINGS = 100


class Waiting(Protocol):
    """What the loop needs of a runtime."""

    def monotonic(self) -> float:
        """Virtual seconds."""
        ...

    def wait(self, ready: Callable[[], object], timeout: float | None) -> bool:
        """Let others run until `ready()` holds."""
        ...


class _Selector:
    """Stands where asyncio waits for sockets; here are none, only callbacks and timers."""

    def __init__(self, loop: VirtualLoop, runtime: Waiting) -> None:
        self._loop, self._runtime = loop, runtime

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        self._runtime.wait(lambda: loop._ready or loop._stopping, timeout)
        return []


class _Ordered:
    """Mixed into futures: hashed by number, not by address.

    A TaskGroup cancels its tasks, and `asyncio.wait` returns its futures, in the order of a set.
    """

    _number: int

    def __hash__(self) -> int:
        return self._number


class _Future(_Ordered, asyncio.Future[Any]):
    def __init__(self, number: int, loop: VirtualLoop) -> None:
        self._number = number
        super().__init__(loop=loop)


class _Task(_Ordered, asyncio.Task[Any]):
    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], loop: VirtualLoop, **options: Any) -> None:
        self._number = number
        if options.get("name") is None:
            options["name"] = f"Task-{number}"  # asyncio's own numbers count on from loop to loop
        super().__init__(coro, loop=loop, **options)


class _Timer(asyncio.TimerHandle):
    """Of those due together the first made comes first, as on a clock that never stands still."""

    def __init__(self, number: int, when: float, callback: Any, args: Any, loop: VirtualLoop, context: Any) -> None:
        super().__init__(when, callback, args, loop, context)
        self._rank = (when, number)

    def __lt__(self, other: Any) -> bool:
        return bool(self._rank < other._rank)


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module.

    Sockets, subprocesses, signal handlers and threads (`run_in_executor`, `asyncio.to_thread`) are refused with a
    `NotSimulated` that says what to do instead.

    Args:
        runtime: The seeded runtime; the loop must run in one of its fibers.
        killed: The exception with which the runtime's `wait` ends what a kill, or the end of the simulation, leaves
            behind. It leaves the loop closed, and its coroutines are dropped without a word.
    """

    _ready: Any  # asyncio's own: callbacks that are due, and timers
    _scheduled: Any
    _stopping: bool

    def __init__(self, runtime: Waiting, killed: type[BaseException]) -> None:
        super().__init__()
        self._runtime, self._killed = runtime, killed
        self._dropped = False
        self._numbers = itertools.count(1)
        self._selector = _Selector(self, runtime)
        self._clock_resolution = CLOCK_RESOLUTION

    def time(self) -> float:
        """Virtual seconds, the same as the runtime's."""
        return self._runtime.monotonic()

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        self._check_closed()
        timer = _Timer(next(self._numbers), when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return _Future(next(self._numbers), self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """See asyncio."""
        if self.get_task_factory() is not None:
            return super().create_task(coro, **options)
        self._check_closed()
        return _Task(next(self._numbers), coro, self, **options)

    def run_forever(self) -> None:
        """See asyncio; returns, with the loop closed, when the simulation has left it behind."""
        try:
            super().run_forever()
        except self._killed:
            self._drop()

    def run_until_complete(self, future: Any) -> Any:
        """See asyncio."""
        try:
            return super().run_until_complete(future)
        except RuntimeError:
            if self._dropped:
                raise self._killed from None
            raise

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """See asyncio; of what a kill has left behind nothing is told."""
        if not self._dropped:
            super().call_exception_handler(context)

    def _check_closed(self) -> None:
        if self._dropped:
            raise self._killed
        super()._check_closed()  # type: ignore[misc]

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        if not self._dropped:
            super()._asyncgen_finalizer_hook(agen)  # type: ignore[misc]

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Wakes asyncio's selector; ours looks at the callbacks itself."""

    def _drop(self) -> None:
        """Let everything go as a kill does: no callback runs again, and no coroutine is missed."""
        self._dropped = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task.get_coro())
        for handle in (*self._ready, *self._scheduled):
            for argument in handle._args or ():
                if inspect.isawaitable(argument):  # on its way to `create_task`
                    _close(argument)
        self.close()


def _close(coro: Any) -> None:
    for _ in range(CLOSINGS):
        # One that awaits in its `finally` ignores GeneratorExit, and has to be told again.
        with suppress(BaseException):
            coro.close()
            return


def _refused(name: str, instead: str) -> Callable[..., NoReturn]:
    def refused(self: VirtualLoop, *_: object, **__: object) -> NoReturn:  # noqa: ARG001
        refusals.refuse(f"loop.{name}", instead)

    return refused


_REFUSED = {
    THREAD: ("run_in_executor", "set_default_executor"),
    SIGNAL: ("add_signal_handler", "remove_signal_handler"),
    PROCESS: ("subprocess_exec", "subprocess_shell", "connect_read_pipe", "connect_write_pipe"),
    NETWORK: (
        *("create_connection", "create_server", "create_unix_connection", "create_unix_server", "start_tls"),
        *("create_datagram_endpoint", "connect_accepted_socket", "getaddrinfo", "getnameinfo", "sendfile"),
        *("sock_connect", "sock_accept", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
        *("sock_sendall", "sock_sendto", "sock_sendfile", "add_reader", "remove_reader", "add_writer", "remove_writer"),
    ),
}
for _instead, _names in _REFUSED.items():
    for _name in _names:
        setattr(VirtualLoop, _name, _refused(_name, _instead))
