"""A pool of threads that many actors share: few while turns are short, more when some of them block."""

from __future__ import annotations

from collections import deque

from everact.actors.executor import IDLE_SECONDS, Turn, drive
from everact.actors.runtime import Empty, Runtime

THREADS = 8
STALL_SECONDS = 0.01


class SharedExecutor:
    """Runs turns on up to `THREADS` threads, and on more as long as turns wait and none gets done.

    A fixed pool starves when all its threads wait for actors that have no thread to answer on; a thread for each
    turn at once is 20,000 threads when 20,000 actors get a message. Here a turn that finds no thread waits, and if
    none has been taken up for 10 ms, as many threads are added as were added the time before, twice. Idle threads
    leave after a while; an idle actor costs none.
    """

    def __init__(self, runtime: Runtime, name: str, threads: int = THREADS) -> None:
        self._runtime = runtime
        self._name = name
        self._work = runtime.queue()
        self._backlog: deque[Turn] = deque()
        # Tokens, as in ElasticExecutor: one per thread that waits for work, and one per thread that may be started.
        self._idle: list[None] = []
        self._permits: list[None] = [None] * threads
        self._lookout = [None]  # taking it is the right to watch for a stall
        self._taken = 0
        self._closed = False

    def submit(self, turn: Turn) -> None:
        """See `Executor.submit`."""
        if self._pop(self._idle):
            self._work.put(turn)
        elif self._pop(self._permits):
            self._runtime.spawn(lambda: self._serve_as_a_regular(turn), self._name)
        else:
            self._backlog.append(turn)
            if self._pop(self._idle):  # a thread has gone to rest meanwhile, and has not seen it
                self._work.put(self._nothing)
            elif self._pop(self._lookout):
                self._runtime.spawn(self._watch_for_a_stall, f"{self._name}/lookout")

    def close(self) -> None:
        """See `Executor.close`."""
        self._closed = True
        while self._pop(self._idle):
            self._work.put(None)

    def _pop(self, tokens: list[None]) -> bool:
        try:
            tokens.pop()
        except IndexError:
            return False
        return True

    async def _nothing(self) -> None:
        """A turn that does nothing, to have a thread look into the backlog."""

    def _serve_as_a_regular(self, turn: Turn) -> None:
        self._serve(turn)
        self._permits.append(None)

    def _serve(self, turn: Turn | None) -> None:
        while turn is not None:
            self._taken += 1
            drive(turn)
            turn = self._next()

    def _next(self) -> Turn | None:
        try:
            return self._backlog.popleft()
        except IndexError:
            pass
        if self._closed:
            return None
        self._idle.append(None)
        if self._backlog and self._pop(self._idle):
            return self._nothing  # it came between the two looks
        try:
            turn: Turn | None = self._work.get(timeout=IDLE_SECONDS)
        except Empty:
            # Unless somebody has just reserved a thread, and may have meant this one.
            turn = None if self._pop(self._idle) else self._work.get()
        return turn

    def _watch_for_a_stall(self) -> None:
        more, seen = 1, self._taken
        gate = self._runtime.gate()
        while self._backlog:
            gate.wait(STALL_SECONDS)
            if self._taken != seen:
                more, seen = 1, self._taken
                continue
            for _ in range(min(more, len(self._backlog))):
                self._runtime.spawn(lambda: self._serve(self._nothing), self._name)
            more *= 2
        self._lookout.append(None)
        if self._backlog and self._pop(self._lookout):
            self._watch_for_a_stall()
