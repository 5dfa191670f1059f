"""The place a cell lives in: the process, for an actor that stands alone, or one system."""

from __future__ import annotations

import inspect
import itertools
import os
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from everact.actors.executor import Executor, LoopExecutor, PinnedExecutor
from everact.actors.runtime import Runtime
from everact.tasks.events import DeadLetter, Event

if TYPE_CHECKING:
    from everact.actors.actor import Actor


@dataclass(slots=True, weakref_slot=True, eq=False)
class Environment:
    """What cells share.

    Attributes:
        runtime: The seam to the world.
        shared: The threads of actors that need none of their own.
        make_loop: Makes the event loop of async actors, when the first one starts.
        call_after: Calls a function after some seconds, on the timer's thread.
        on_dead_letter: Takes messages that nobody has handled.
        publish: Tells subscribers a fact.
        alone: Whether actors here stand alone, in pykka's registry, and keep the program from exiting.
        transitions: Held for a few assignments, while a cell moves from one state to another.
        left_behind: Threads left behind that have not come back, those of actors that are gone included.
        is_elsewhere: Whether this process was forked off one where the actors live; their threads are not here.
    """

    runtime: Runtime
    shared: Executor
    make_loop: Callable[[], LoopExecutor]
    call_after: Callable[[float, Callable[[], object]], None]
    on_dead_letter: Callable[[DeadLetter], None]
    publish: Callable[[Event], None]
    alone: bool = False
    transitions: AbstractContextManager[Any] = field(init=False)
    left_behind: int = 0
    is_elsewhere: bool = False
    _loop: LoopExecutor | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.transitions = self.runtime.lock()
        _environments.add(self)

    def loop(self) -> LoopExecutor:
        """The event loop of async actors here."""
        with self.transitions:
            if self._loop is None:
                self._loop = self.make_loop()
            return self._loop

    def for_unknown(self, name: str) -> Executor:
        """Where an actor is made whose class is not known yet: in a thread that it can keep, if it wants its own."""
        return PinnedExecutor(self.runtime, name, daemon=not self.alone)

    def executor_for(self, actor_class: type[Actor], before: Executor) -> Executor:
        """Where actors of a class run; what one has had before is kept if it fits, else let go."""
        if inspect.iscoroutinefunction(actor_class.on_receive):
            chosen: Executor = self.loop()
        elif not actor_class.has_own_thread(alone=self.alone):
            chosen = self.shared
        elif isinstance(before, PinnedExecutor):
            return before
        else:
            name = f"{actor_class.__name__}-{next(self._numbers)}"
            chosen = PinnedExecutor(self.runtime, name, daemon=not self.alone or actor_class.use_daemon_thread)
        if isinstance(before, PinnedExecutor):
            before.close()
        return chosen


_environments: weakref.WeakSet[Environment] = weakref.WeakSet()


def _leave_to_the_parent() -> None:
    for environment in _environments:
        environment.is_elsewhere = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_the_parent)
