"""User code in a simulation that reads the real clock, draws real chance, starts threads or opens connections.

While a `Strays` is entered, on the simulation's own threads and only for user code,

- clocks (`time`, `datetime.now`), `time.sleep`, chance (`random`, `uuid`, `secrets`, `os.urandom`), the waits of
  `threading.Event`, `Condition`, `Semaphore`, `queue.Queue`, and `asyncio.run` are those of the simulation;
- threads, processes and sockets are refused with a `NotSimulated`, which says what to do instead.

Everybody else, the test itself, pytest and everact included, gets the real ones.

Not seen are: what code in C does by itself (database drivers, numpy's random numbers, a `threading.Lock` that another
handler holds); a function that was put into a default argument, an instance or a class before; the order of a set of
strings, which `PYTHONHASHSEED` decides. To notice those, run a seed twice and compare: `everact.testing.divergence`.
A handler that looks at the clock in a loop without ever waiting does not end: time passes only when everybody waits.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from random import Random
from types import FrameType, TracebackType
from typing import Any, Self

from everact.testing.refusal import THREAD, NotSimulated, refusals
from everact.testing.residents import World, world_here
from everact.testing.substitution import Substitution

STANDARD = sys.stdlib_module_names - {"test"}
"""Of these `test` is more often somebody's own."""
OURS = frozenset(
    (
        *("everact", "pykka", "prometheus_client", "msgspec", "cloudpickle", "cronsim"),
        *("pytest", "_pytest", "pluggy", "xdist", "execnet", "hypothesis", "coverage"),
    )
)


class Strays:
    """See the module. One at a time: chance is drawn from the one that was entered last.

    Args:
        seed: Decides what user code draws.

    Attributes:
        found: What was refused, and threads that were started behind our back and are still there.
    """

    def __init__(self, seed: int = 0) -> None:
        self.found: list[NotSimulated] = []
        self._seed = seed
        self._chances: dict[int, tuple[World, Random]] = {}
        self._threads: set[int | None] = set()
        self.last_stamp = 0

    def chance(self, world: World) -> Random:
        """Where one node's user code draws from."""
        if id(world) not in self._chances:
            number = len(self._chances)
            self._chances[id(world)] = (world, Random(f"user code of node {number} under seed {self._seed}"))
        return self._chances[id(world)][1]

    def check(self) -> None:
        """Say what was found, also if the user's code has swallowed it.

        Raises:
            NotSimulated: The first; the others are its notes.
        """
        if self.found:
            first, *others = self.found
            for other in others:
                first.add_note(str(other))
            raise first

    def started(self, thread: threading.Thread) -> None:
        """A thread that nobody minds was started."""
        self._threads.add(thread.ident)

    def __enter__(self) -> Self:
        from everact.testing.control import install

        self._threads |= set(sys._current_frames())
        if not _entered:
            install(_substitution)
        _entered.append(self)
        refusals.collect(self.found)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        refusals.forget(self.found)
        _entered.remove(self)
        if not _entered:
            _substitution.undo()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for number in sorted(set(sys._current_frames()) - self._threads):
            self.found.append(NotSimulated(f"something that has left thread {names.get(number, number)!r}", THREAD))


_entered: list[Strays] = []


def is_foreign(module: str) -> bool:
    """Whether a module is no user's: the standard library's, everact's, or that of something everact needs."""
    head = module.partition(".")[0]
    return head in STANDARD or head in OURS


_substitution = Substitution(is_foreign)


def asker() -> tuple[Strays, World] | None:
    """Who has called the function that calls this: user code of a simulation, or somebody else (None).

    What the standard library does counts as done by whoever has called that.
    """
    world = world_here()
    if world is None or not _entered:
        return None
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        head = frame.f_globals.get("__name__", "").partition(".")[0]
        if head not in STANDARD:
            return None if head in OURS else (_entered[-1], world)
        frame = frame.f_back
    return None


def controlled(real: Callable[..., Any], virtual: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is `virtual(strays, world, ...)` for user code in a simulation, and `real(...)` for others."""

    def call(*args: Any, **kwargs: Any) -> Any:
        asked = asker()
        return real(*args, **kwargs) if asked is None else virtual(*asked, *args, **kwargs)

    call.__name__, call.__doc__ = getattr(real, "__name__", "call"), real.__doc__
    return call


def entered() -> list[Strays]:
    """Those that are entered."""
    return _entered
