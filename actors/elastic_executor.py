"""As many threads as there is work that blocks, and few for work that does not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from everact.actors.executor import IDLE_SECONDS, Turn, drive
from everact.actors.runtime import Empty, Runtime

AT_ONCE = 8
"""Up to so many threads, a turn that finds none idle gets a new one at once."""
PACE_SECONDS = 0.002
"""So often it is looked whether turns wait because all threads are blocked."""
LATE = 1.5
"""A look that took so many times longer to come than it should."""
PATIENCE = 5
"""So many looks in a row at which turns wait are believed even then."""
HOLD_SECONDS = 0.001
"""How long a thread with nothing to do keeps back what must not be kept back for longer."""


class ElasticExecutor:
    """Threads that come with the work and leave after a while. An idle actor costs no thread here.

    A thousand short turns at once are served by a few threads: more would only hand the interpreter lock on. So above
    `AT_ONCE` threads a turn waits, and new threads come only while those that are there do not get on, a quarter more
    each `PACE_SECONDS`.

    Attributes:
        call_after: Calls a function after some seconds; set when the timer is built.
        keeps_back, let_go: Whether something waits for a thread to have nothing to do, and what that is to call then.
        urgent: Whether that may wait for `HOLD_SECONDS` only, and for no other turn.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        self.call_after: Callable[[float, Callable[[], object]], None] = lambda seconds, fn: None  # noqa: ARG005
        self.keeps_back: Callable[[], bool] = lambda: False
        self.let_go: Callable[[], None] = lambda: None
        self.urgent = True
        self._runtime = runtime
        self._name = name
        self._work = runtime.queue()
        # One token per thread that waits for work. Taking a token reserves that thread; list.pop is one step.
        self._idle: list[None] = []
        self._threads: set[object] = set()
        self._waiting: deque[Turn] = deque()
        self._unpaced = [None]  # one token while nobody looks after those that wait
        self._served = 0
        self._served_before = 0
        self._paced_at = 0.0
        self._stalls = 0
        self._closed = False

    def submit(self, turn: Turn) -> None:
        """See `Executor.submit`."""
        if self._give(turn):
            return
        if len(self._threads) < AT_ONCE or self._closed:
            self._spawn(turn)
            return
        self._waiting.append(turn)
        self._pace()

    def close(self) -> None:
        """See `Executor.close`."""
        self._closed = True
        self._spawn_for_all()
        while self._idle:
            try:
                self._idle.pop()
            except IndexError:  # a thread has just left by itself
                return
            self._work.put(None)

    # -- threads -------------------------------------------------------------------------------------------

    def _give(self, turn: Turn) -> bool:
        if not self._idle:
            return False
        try:
            self._idle.pop()
        except IndexError:  # another one was faster
            return False
        self._work.put(turn)
        return True

    def _spawn(self, turn: Turn) -> None:
        thread = object()
        self._threads.add(thread)
        try:
            self._runtime.spawn(lambda: self._serve(turn, thread), self._name)
        except BaseException:
            self._threads.discard(thread)
            raise

    def _serve(self, turn: Turn | None, thread: object) -> None:
        while turn is not None:
            drive(turn)
            self._served += 1
            turn = self._next()
        self._threads.discard(thread)

    def _next(self) -> Turn | None:
        if self._waiting:
            if self.urgent:
                self.let_go()
            try:
                return self._waiting.popleft()
            except IndexError:  # another thread was faster
                pass
        if self._closed:
            self.let_go()
            return None
        self._idle.append(None)
        turn: Turn | None
        if self.keeps_back():
            try:
                turn = self._work.get(timeout=HOLD_SECONDS if self.urgent else 0.0)
            except Empty:
                self.let_go()
            else:
                return turn
        try:
            turn = self._work.get(timeout=IDLE_SECONDS)
        except Empty:
            try:
                self._idle.pop()
            except IndexError:  # somebody has just reserved a thread, and may have meant this one
                turn = self._work.get()
            else:
                return None
        return turn

    # -- growth --------------------------------------------------------------------------------------------

    def _pace(self) -> None:
        try:
            self._unpaced.pop()
        except IndexError:
            return
        self._served_before = self._served
        self._paced_at = self._runtime.monotonic()
        self.call_after(PACE_SECONDS, self._grow)

    def _grow(self) -> None:
        """On the timer's thread: give what waits to threads that are idle by now, or to new ones if it must be."""
        self._unpaced.append(None)
        while self._waiting and self._idle:
            self._hand_out()
        if not self._waiting:
            return
        if self._served - self._served_before >= len(self._threads):
            self._stalls = 0
        elif self._more_would_help():
            for _ in range(max(1, len(self._threads) // 4)):
                self._spawn_for_one()
        self._pace()

    def _more_would_help(self) -> bool:
        """Not if this very look comes late: then it is the interpreter lock, or a processor, that turns wait for."""
        self._stalls += 1
        late = self._runtime.monotonic() - self._paced_at > LATE * PACE_SECONDS
        return not late or self._stalls % PATIENCE == 0

    def _hand_out(self) -> None:
        try:
            turn = self._waiting.popleft()
        except IndexError:
            return
        if not self._give(turn):
            self._waiting.appendleft(turn)

    def _spawn_for_one(self) -> None:
        try:
            turn = self._waiting.popleft()
        except IndexError:
            return
        self._spawn(turn)

    def _spawn_for_all(self) -> None:
        while self._waiting:
            self._spawn_for_one()
