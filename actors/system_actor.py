"""The system's own actors, on pykka's hooks for new actor types.

They are pykka actors with three differences: the mailbox holds plain messages and is drained in one go, since a
list costs less than its messages; an error in a turn never stops the actor, nor any other; and none of them is in
pykka's global registry, where a stock actor's SystemExit would find and stop it.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import pykka

from everact.actors.elastic_executor import ElasticExecutor
from everact.actors.runtime import Empty, Queue, Runtime, Thread

logger = logging.getLogger("everact.actor")
DRAIN_LIMIT = 2000
_STOP = object()


class SystemActor(pykka.Actor):
    """An actor with a path, a queue and a turn.

    Subclasses define `on_batch`. It runs in the actor's thread, one batch at a time.
    """

    def __init__(self, runtime: Runtime, path: str) -> None:
        super().__init__()
        self.runtime = runtime
        self.actor_urn = path
        self.actor_inbox: Queue = runtime.queue()  # type: ignore[assignment]
        # The ref copies address and mailbox when it is made, so it is made anew.
        self._actor_ref = pykka.ActorRef(self)
        self.tell: Callable[[Any], None] = self.actor_inbox.put
        self.restarts = 0
        self.tell_restart: Callable[[str, BaseException], None] = lambda path, error: None  # noqa: ARG005

    @abstractmethod
    def on_batch(self, messages: list[Any]) -> None:
        """Handle messages in the order in which they came."""

    def on_turn_failed(self, error: BaseException, messages: list[Any]) -> None:  # noqa: ARG002 - for overriding
        """After `on_batch` has raised: answer whoever waits. The actor then goes on with the next batch."""
        logger.error("%s failed in one turn and goes on", self.actor_urn, exc_info=error)

    def _guarded_batch(self, messages: list[Any]) -> None:
        try:
            self.on_batch(messages)
        except BaseException as error:
            self.restarts += 1
            self.on_turn_failed(error, messages)
            self.tell_restart(self.actor_urn, error)

    @staticmethod
    def _create_actor_inbox() -> Any:
        return None  # replaced in __init__, where the runtime is known

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        msg = "use start_thread"
        raise TypeError(msg)


class ThreadActor(SystemActor):
    """A system actor on a thread of its own."""

    role: str | None = None
    _thread: Thread | None = None
    _stopping = False

    def start_thread(self) -> None:
        """Start receiving."""
        self._start_actor_loop()

    def wait_seconds(self) -> float | None:
        """How long the next wait for a message may be; None for as long as it takes."""
        return None

    def stop_thread(self, timeout: float) -> bool:
        """Finish what is in the mailbox now, then end the thread; False if it did not end in time."""
        self._stopping = True
        self.tell(_STOP)
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _start_actor_loop(self) -> None:
        self._thread = self.runtime.spawn(self._actor_loop, self.actor_urn, self.role)

    def _actor_loop(self) -> None:
        inbox = self.actor_inbox
        receiving = True
        while receiving:
            batch = []
            try:
                batch.append(inbox.get(timeout=self.wait_seconds()))
                if inbox.qsize():
                    batch += [inbox.get() for _ in range(min(inbox.qsize(), DRAIN_LIMIT))]
            except Empty:
                pass  # time for what is due without a message
            if self._stopping and _STOP in batch:
                batch = [message for message in batch if message is not _STOP]
                receiving = False
                self.actor_stopped.set()
            self._guarded_batch(batch)


class PooledActor(SystemActor):
    """A system actor that borrows a thread of the elastic pool while it has messages; idle, it costs none."""

    def __init__(self, runtime: Runtime, path: str, executor: ElasticExecutor) -> None:
        super().__init__(runtime, path)
        self._executor = executor
        # Holds one token while no turn is under way; taking it is the right to submit one.
        self._turnstile = [None]
        self.tell = self._put

    def _put(self, message: Any) -> None:
        self.actor_inbox.put(message)
        self._wake()

    def _wake(self) -> None:
        try:
            self._turnstile.pop()
        except IndexError:
            return  # a turn is under way, and looks into the mailbox once more after it has put the token back
        self._executor.submit(self._turn)

    async def _turn(self) -> None:
        inbox = self.actor_inbox
        self._guarded_batch([inbox.get() for _ in range(inbox.qsize())])
        self._turnstile.append(None)
        if inbox.qsize():
            self._wake()
