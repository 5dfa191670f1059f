"""One thread runs at a time: each hands a baton on where it waits, and a policy says who gets it.

When nobody can run, the clock jumps to the earliest deadline or alarm; if there is none, that is a deadlock. A policy
may ask for its choices to be made on the driver's thread, which then gets the baton in between.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from everact.testing import hung
from everact.testing.choices import RUN, Policy
from everact.testing.fiber import Deadlock, Endless, Fiber, Group, NodeDied, Over, always
from everact.testing.hung import Hung
from everact.testing.trace import Trace

__tracebackhide__ = True
"""What pytest shows of an error ends where the test has called; `--full-trace` shows the rest."""
JOIN_SECONDS = 5.0
MOST_STEPS = 2_000_000


class Scheduler:
    """Decides who runs. The thread that makes it is the driver, which no kill touches.

    Attributes:
        time: Virtual seconds since it was made.
        steps: How often the baton could have changed hands.
        choices: Whom the policy has chosen to run, in order.
        trace: Each step as it was.
        current: Who holds the baton.
        errors: What threads have ended with that should have ended well.
        over: Whether nothing runs any more.
    """

    def __init__(self, policy: Policy) -> None:
        self.time, self.steps = 0.0, 0
        self.choices: list[int] = []
        self.trace = Trace()
        self.errors: list[tuple[str, BaseException]] = []
        self.over = False
        self.most_steps = MOST_STEPS
        self._policy = policy
        self._on_driver = policy.on_driver
        self._labels: dict[str, int] = {"driver": 1}
        self.driver = self.current = Fiber("driver", "driver", None, Group("driver"))
        # In the order in which they began to wait: who has waited longest is the calm choice.
        self._living = [self.driver]
        self._all: list[Fiber] = []
        self._alarms: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._asked: list[Fiber] | None = None
        self._question: tuple[Fiber, list[str], str] | None = None
        self._answer = 0
        self._failure: BaseException | None = None
        self._hung: Hung | None = None
        self._drivers_thread = threading.get_ident()

    # -- threads -------------------------------------------------------------------------------------------

    def spawn(self, run: Callable[[], None], name: str, role: str | None, group: Group) -> Fiber:
        """Start a thread; it runs when it is chosen."""
        fiber = Fiber(name, self._label(name), role, group)

        def target() -> None:
            fiber.baton.acquire()
            try:
                if not self.over:
                    run()
            except Over:
                return
            except BaseException as error:
                self.errors.append((fiber.label, error))
            if not (self.over or fiber.ended):
                fiber.ended = True
                self._living.remove(fiber)
                self._hand_on(None)

        fiber.thread = threading.Thread(target=target, name=name, daemon=True)
        if self.over:
            fiber.baton.release()
        else:
            self._living.append(fiber)
        self._all.append(fiber)
        fiber.thread.start()
        return fiber

    def _label(self, name: str) -> str:
        number = self._labels[name] = self._labels.get(name, 0) + 1
        return name if number == 1 else f"{name}#{number}"

    def at(self, time: float, ring: Callable[[], object]) -> None:
        """Call `ring` when the clock reaches a time, before anybody else does anything; it must not wait."""
        heapq.heappush(self._alarms, (time, next(self._numbers), ring))

    # -- steps ---------------------------------------------------------------------------------------------

    def wait(self, ready: Callable[[], object], timeout: float | None, verb: str, subject: Any = None) -> bool:
        """Hand the baton on until `ready()` holds; False when `timeout` virtual seconds have passed before.

        Args:
            ready: Asked by whoever hands the baton on; it must not wait.
            timeout: None for as long as it takes.
            verb: What the thread does here, for the trace.
            subject: What it does that with.
        """
        if self.over:
            raise self._end_of(threading.get_ident())
        me = self.current
        living = self._living
        if living[-1] is not me:
            living.remove(me)
            living.append(me)
        me.ready = ready
        me.deadline = None if timeout is None else self.time + max(timeout, 0.0)
        self.steps += 1
        self.trace.add(self.time, me.label, verb, subject)
        self._hand_on(me)
        if me.thrown is not None:
            error, me.thrown = me.thrown, None
            raise error
        return bool(ready())

    def decide(self, options: list[str], what: str) -> int:
        """Have the policy choose something else than who runs; the calling thread goes on."""
        me = self.current
        if me is self.driver:
            return self._policy.choose(options, what)
        if not self._on_driver:
            try:
                return self._policy.choose(options, what)
            except BaseException as error:
                self._failure = error
        else:
            self._question = me, options, what
        self.current = self.driver
        self.driver.baton.release()
        me.baton.acquire()
        if self.over:
            raise Over
        return self._answer

    def _answer_to(self, question: tuple[Fiber, list[str], str]) -> None:
        """In the driver's thread, which does not run for that."""
        asking, options, what = question
        self._answer = self._policy.choose(options, what)
        self.current = asking
        asking.baton.release()

    def _hand_on(self, me: Fiber | None) -> None:
        """Give the baton to whoever runs next; returns when `me` has it again."""
        try:
            able = self._able()
            if able and able[-1] is me:
                able.insert(0, able.pop())
            if len(able) > 1 and self._on_driver and me is not self.driver:
                self._asked = able
                following = self.driver
            else:
                following = self._pick(able)
        except BaseException as error:
            # A thread of the application must not see it; the test must.
            if me is self.driver:
                raise
            self._failure, following = error, self.driver
        if following is me:
            return
        self.current = following
        following.baton.release()
        if me is not None:
            self._take_baton(me)

    def _take_baton(self, me: Fiber) -> None:
        while True:
            if me is self.driver:
                self._watch(me)
            else:
                me.baton.acquire()
            if self.over:
                raise Over
            if me is not self.driver:
                return
            if self._failure is not None:
                error, self._failure = self._failure, None
                raise error
            if self._question is not None:
                question, self._question = self._question, None
                self._answer_to(question)
                continue
            if self._asked is None:
                return
            able, self._asked = self._asked, None
            following = self._pick(able)
            if following is me:
                return
            self.current = following
            following.baton.release()

    def _end_of(self, thread: int) -> BaseException:
        """What whoever still calls is told: the test, that somebody hangs, all others to leave."""
        return self._hung if self._hung is not None and thread == self._drivers_thread else Over()

    def _watch(self, me: Fiber) -> None:
        """Wait for the baton as the driver, who alone can tell of somebody who keeps it."""
        before = -1
        while not me.baton.acquire(timeout=hung.HUNG_SECONDS):
            frame = hung.frame_of(None if self.current.thread is None else self.current.thread.ident)
            if before == self.steps and not hung.debugged(frame):
                self.over, self._hung = True, Hung(hung.told(self.current.label, frame))
                raise self._hung
            before = self.steps

    def _pick(self, able: list[Fiber]) -> Fiber:
        if len(able) == 1:
            return able[0]
        if not able:
            raise Deadlock("nobody can run: " + ", ".join(fiber.label for fiber in self._living))
        choice = self._policy.choose([fiber.label for fiber in able], RUN)
        self.choices.append(choice)
        return able[choice]

    def _able(self) -> list[Fiber]:
        """Who can run now; if nobody can, the clock goes on."""
        if self.steps > self.most_steps:
            self.most_steps += MOST_STEPS
            msg = f"there were {self.steps} steps and it goes on; set Simulation(steps=...) if that is meant"
            raise Endless(msg)
        while True:
            self._ring()
            now = self.time
            able = [
                fiber
                for fiber in self._living
                if fiber.group.until <= now
                and (fiber.ready() or (fiber.deadline is not None and fiber.deadline <= now))
            ]
            if able or (following := self._next_time()) is None:
                return able
            self.time = max(now, following)

    def _ring(self) -> None:
        while self._alarms and self._alarms[0][0] <= self.time:
            heapq.heappop(self._alarms)[2]()

    def _next_time(self) -> float | None:
        times = [self._alarms[0][0]] if self._alarms else []
        for fiber in self._living:
            if fiber.ready():
                times.append(fiber.group.until)
            elif fiber.deadline is not None:
                times.append(max(fiber.deadline, fiber.group.until))
        return min(times, default=None)

    # -- the end -------------------------------------------------------------------------------------------

    def kill(self, group: Group) -> None:
        """The threads of a node stop where they are, for ever; who calls it from outside gets a `NodeDied`."""
        dead = [fiber for fiber in self._living if fiber.group is group]
        for fiber in dead:
            fiber.ended = True
        self._living = [fiber for fiber in self._living if fiber.group is not group]
        for fiber in self._living:
            if fiber.calls is group:
                fiber.thrown = NodeDied(f"{group.name} has died")
                fiber.ready = always

    def leave(self) -> NoReturn:
        """The calling thread's node was killed by itself: it stays where it is."""
        me = self.current
        self._hand_on(None)
        me.baton.acquire()
        raise Over

    def refuse_when_over(self) -> None:
        """Called where a thread begins something new: what has caught its `Over` must not go on with the next task."""
        if self.over and threading.get_ident() != self._drivers_thread:
            raise Over

    def end(self) -> list[threading.Thread]:
        """Let all threads go that are still somewhere. Nothing runs after this.

        Returns:
            Those that did not leave, since code of the application keeps them.
        """
        self.over = True
        with _silence():
            for fiber in self._all:
                try:
                    fiber.baton.release()
                except RuntimeError:
                    continue  # it was let go before
            threads = [fiber.thread for fiber in self._all if fiber.thread is not None]
            for thread in threads:
                thread.join(JOIN_SECONDS)
        return [thread for thread in threads if thread.is_alive()]


@contextmanager
def _silence() -> Iterator[None]:
    """What threads that are torn out of their work have to say of that is of no interest."""
    logger = logging.getLogger("everact")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
