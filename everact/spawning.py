"""The half of `ActorSystem` that has to do with the user's own actors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from everact import access
from everact.actor_tree import ActorInfo, tree_of
from everact.actors.actor import Actor
from everact.actors.ref import ActorRef
from everact.engine import Engine
from everact.supervision.child_spec import ChildSpec
from everact.supervision.supervisor import Supervisor
from everact.tasks.errors import ActorDead, ActorStartFailed, ConfigurationError, SystemNotRunning

A = TypeVar("A", bound=Actor)


class Spawning:
    """What a running system does with actors that are no handlers."""

    name: str
    state: str
    stop_cause: BaseException | None

    def _running(self) -> Engine:
        raise NotImplementedError  # ActorSystem has it; this class is one part of that

    def spawn(
        self,
        factory: Callable[[], A],
        *,
        name: str | None = None,
        spec: ChildSpec | None = None,
        under: ActorRef[Any] | None = None,
    ) -> ActorRef[A]:
        """Start an actor below a supervisor of this system, and return its address once it is up.

        The address stays valid while the actor is restarted. The actor stops with the system, or by `ref.stop()`.

        Args:
            factory: An `Actor` class, or a function that makes a new actor on every call. It runs in the actor's
                thread, at every restart again.
            name: Its name below the supervisor; None for one made from the class name.
            spec: How it is treated; by default it is PERMANENT, and every exception means a restart.
            under: The reference of a `Supervisor` of this system; None for the one at the top.

        Raises:
            ActorStartFailed: Factory or `on_start` raised, or took longer than `spec.start_timeout`. It is not
                spawned, and not tried again.
            ConfigurationError: The name is taken, or an argument has no meaning.
            BlockingCallError: Called on one of everact's own threads.
            SystemNotRunning, ForkedSystem: The system cannot be used now, or here.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "spawn")
        spec = replace(spec or ChildSpec(), factory=factory)
        if name is not None:
            spec = replace(spec, name=name)
        if under is None:
            return self._spawn_at_the_top(engine, spec)
        if not issubclass(under.actor_class, Supervisor):
            msg = f"under={under!r} is no Supervisor; only these have children"
            raise ConfigurationError(msg)
        if not under.is_alive():
            msg = f"{under} has stopped; nothing can be spawned below it"
            raise ActorDead(msg)
        return engine.guardian_of_users().spawn(spec, under._cell)  # type: ignore[no-any-return]

    def _spawn_at_the_top(self, engine: Engine, spec: ChildSpec) -> ActorRef[Any]:
        try:
            return engine.guardian_of_users().spawn(spec)  # type: ignore[no-any-return]
        except ActorStartFailed as error:
            if error.__cause__ is None and self.state != "running":  # it is not the actor that stood in the way
                raise SystemNotRunning(self.name, self.state, self.stop_cause) from error
            raise

    def actors(self) -> ActorInfo:
        """All actors as a tree; `print` shows it.

        Raises:
            SystemNotRunning, ForkedSystem: The system cannot be used now, or here.
        """
        return tree_of(self._running(), self.name, self.state)
