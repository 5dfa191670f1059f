"""A pool of threads that many actors share: few while turns are short, more when some of them block."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from everact.actors.executor import IDLE_SECONDS, Turn, drive
from everact.actors.runtime import Empty, Queue, Runtime
from everact.tasks.cancellation import Gate

logger = logging.getLogger("everact.executor")
THREADS = 8
STALL_SECONDS = 0.01
LATE = 1.25
"""A wait that took so many times longer than it should: the processor is busy, more threads would not help it."""
PATIENCE = 10
"""So many stalls in a row are believed even then."""


class SharedExecutor:
    """Runs turns on up to `THREADS` threads, and on more as long as turns wait and none gets done.

    A fixed pool starves when all its threads wait for actors that have no thread to answer on; a thread for each
    turn at once is 20,000 threads when 20,000 actors get a message. Here a thread that waits for another actor gives
    its place away until it goes on. What blocks in a way that nobody tells us of is seen by a lookout: if turns wait
    and none was done in 10 ms, a thread is added, then two, then four. Idle threads leave after a while; an idle
    actor costs none.
    """

    def __init__(self, runtime: Runtime, name: str, threads: int = THREADS) -> None:
        self._runtime = runtime
        self._name = name
        self._backlog: deque[Turn] = deque()
        # One queue per thread that waits for work. The last to come gets it, so those that are not needed leave.
        self._idle: list[Queue] = []
        # Tokens, as in ElasticExecutor: one per thread that may be started.
        self._permits: list[None] = [None] * threads
        self._debts: list[None] = []  # one per thread that goes on while another one has its place
        self._lookout = [None]  # taking it is the right to watch for a stall
        self._done = 0
        self._closed = False

    def submit(self, turn: Turn) -> None:
        """See `Executor.submit`.

        Raises:
            RuntimeError: No thread can be started, and none is there; the turn will not be run.
        """
        if self._hand_over(turn):
            return
        if self._pop(self._permits):
            self._start_a_regular(turn)
        else:
            self._backlog.append(turn)
            self._staff()

    def step_aside(self) -> None:
        """The calling thread, in a turn, is about to wait for another actor; let another one have its place."""
        if not self._pop(self._debts):
            self._permits.append(None)
            self._staff()

    def step_back(self) -> None:
        """It goes on. If its place is taken, the next thread that leaves makes up for it."""
        if not self._pop(self._permits):
            self._debts.append(None)

    def close(self) -> None:
        """See `Executor.close`."""
        self._closed = True
        while self._hand_over(None):
            pass

    def _hand_over(self, turn: Turn | None) -> bool:
        """Give it to an idle thread, if there is one."""
        try:
            queue = self._idle.pop()
        except IndexError:
            return False
        queue.put(turn)
        return True

    def _pop(self, tokens: list[None]) -> bool:
        try:
            tokens.pop()
        except IndexError:
            return False
        return True

    # -- threads -------------------------------------------------------------------------------------------

    def _staff(self) -> None:
        """See to it that somebody comes to the backlog: whoever it was that has no thread may be too late for one."""
        if not self._backlog:
            return
        if self._hand_over(_look):
            return
        if self._pop(self._permits):
            self._try(lambda: self._start_a_regular(_look))
        elif self._pop(self._lookout) and not self._try(
            lambda: self._runtime.spawn(self._watch_for_stalls, f"{self._name}/lookout")
        ):
            self._lookout.append(None)

    def _start_a_regular(self, turn: Turn) -> None:
        try:
            self._runtime.spawn(lambda: self._serve_as_a_regular(turn), self._name)
        except BaseException:
            self._permits.append(None)
            raise

    def _try(self, start: Callable[[], object]) -> bool:
        """Start a thread for the backlog; there are others, so it is no disaster if that fails."""
        try:
            start()
        except RuntimeError as error:
            logger.warning("%s: %s; what waits has to wait for the threads that are there", self._name, error)
            return False
        return True

    def _serve_as_a_regular(self, turn: Turn) -> None:
        while True:
            self._serve(turn)
            if self._pop(self._debts):
                return
            self._permits.append(None)
            # Something may have come between the last look and the permit.
            if not self._backlog or not self._pop(self._permits):
                return
            turn = _look

    def _serve(self, turn: Turn | None) -> None:
        own = self._runtime.queue()
        while turn is not None:
            if turn is not _look:
                drive(turn)
                self._done += 1
            turn = self._next(own)

    def _next(self, own: Queue) -> Turn | None:
        try:
            return self._backlog.popleft()
        except IndexError:
            pass
        if self._closed:
            return None
        self._idle.append(own)
        if (self._backlog or self._closed) and self._withdraw(own):
            return _look  # it came between the two looks
        turn: Turn | None
        try:
            turn = own.get(timeout=IDLE_SECONDS)
        except Empty:
            turn = None if self._withdraw(own) else own.get()
        return turn

    def _withdraw(self, own: Queue) -> bool:
        """Be idle no more; False if somebody has work for this thread already."""
        try:
            self._idle.remove(own)
        except ValueError:
            return False
        return True

    # -- the lookout ---------------------------------------------------------------------------------------

    def _watch_for_stalls(self) -> None:
        gate = self._runtime.gate()
        while True:
            self._add_threads_while_stalled(gate)
            self._lookout.append(None)
            if not self._backlog or not self._pop(self._lookout):
                return

    def _add_threads_while_stalled(self, gate: Gate) -> None:
        more, stalls, seen = 1, 0, self._done
        while self._backlog:
            begun = self._runtime.monotonic()
            gate.wait(STALL_SECONDS)
            late = self._runtime.monotonic() - begun > LATE * STALL_SECONDS
            if self._done != seen:
                more, stalls, seen = 1, 0, self._done
                continue
            stalls += 1
            if late and stalls % PATIENCE:
                continue
            for _ in range(min(more, len(self._backlog))):
                if not self._try(lambda: self._runtime.spawn(lambda: self._serve(_look), self._name)):
                    break
            more *= 2


async def _look() -> None:
    """Stands for a turn, to have a thread look into the backlog."""
