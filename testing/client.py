"""A careful client of a simulated application: when it does not know what became of a call, it asks again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

from everact import ActorSystem
from everact.tasks.cancellation import CancelOutcome, WorkflowCancelOutcome
from everact.tasks.errors import NotOwner, StorageError, StorageUnavailable
from everact.tasks.ids import TaskId, id_bytes
from everact.testing.fiber import NodeDied
from everact.testing.history import What
from everact.testing.node import Node
from everact.testing.world import World

R = TypeVar("R")
TRIES = 20


class Client:
    """Makes calls to whichever node lives."""

    def __init__(self, world: World, stored_name: Callable[[object], str]) -> None:
        self._world = world
        self._history = world.history
        self._stored_name = stored_name

    def dispatch(self, task: object, node: str | None, id: TaskId | None, options: dict[str, Any]) -> UUID:
        """Dispatch a task; returns the id of what stands for it, which is another one's if its key is taken.

        Raises:
            StorageError: Nothing was stored, or it is not known after `TRIES`.
            Others as `ActorSystem.dispatch`.
        """
        task_id = self._world.new_id() if id is None else id_bytes(id)
        name = self._history.name(task_id, self._stored_name(task))
        self._history.add("client", What.DISPATCHED, name)

        def call(system: ActorSystem) -> UUID:
            return system.dispatch(task, id=UUID(bytes=task_id), **options).id

        with self._told_if_refused(name):
            found = self._insist(name, call, lambda: self._world.living(node))
        about = "" if found.bytes == task_id else self._history.known(found.bytes)
        self._history.add("client", What.ACKNOWLEDGED, name, about=about)
        return found

    def cancel(self, id: TaskId, reason: str = "") -> CancelOutcome:
        """Cancel a task, at the node that has it.

        Raises:
            NotOwner: It belongs to a node that lives and does not answer for it.
            Others as `ActorSystem.cancel`.
        """
        name = self._history.known(id_bytes(id))
        self._history.add("client", What.CANCEL_ASKED, name)
        with self._told_if_refused(name):
            answer = self._anywhere(name, lambda system: system.cancel(id, reason))
        self._history.add("client", What.CANCEL_ANSWERED, name, detail=answer.value)
        return answer

    def cancel_workflow(self, id: TaskId, reason: str = "") -> WorkflowCancelOutcome:
        """Cancel a workflow and have it undone."""
        name = self._history.known(id_bytes(id))
        self._history.add("client", What.CANCEL_ASKED, name, detail="workflow")
        with self._told_if_refused(name):
            answer = self._anywhere(name, lambda system: system.cancel_workflow(id, reason))
        self._history.add("client", What.CANCEL_ANSWERED, name, detail=f"workflow {answer.value}")
        return answer

    def resume(self, id: TaskId, *, skip: bool, note: str) -> None:
        """Let a stuck workflow go on."""
        name = self._history.known(id_bytes(id))
        with self._told_if_refused(name):
            self._anywhere(name, lambda system: system.resume(id, skip=skip, note=note))

    @contextmanager
    def _told_if_refused(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._history.add("client", What.REFUSED, name, detail=type(error).__name__)
            raise

    def _anywhere(self, name: str, call: Callable[[ActorSystem], R]) -> R:
        """Make a call to the node that is the right one for it."""
        for node in list(self._world.nodes.values())[:-1]:
            try:
                return self._insist(name, call, lambda node=node: self._world.living(node.name))  # type: ignore[misc]
            except NotOwner:
                continue
        last = list(self._world.nodes)[-1]
        return self._insist(name, call, lambda: self._world.living(last))

    def _insist(self, name: str, call: Callable[[ActorSystem], R], target: Callable[[], Node]) -> R:
        """Make a call until its outcome is known."""
        for _ in range(TRIES):
            node = target()
            try:
                with node.called() as system:
                    return call(system)
            except NodeDied:
                self._history.add("client", What.UNKNOWN, name)
            except StorageError as error:
                if getattr(error, "outcome", "") != "unknown":
                    raise
                self._history.add("client", What.UNKNOWN, name)
        msg = f"the outcome was still unknown after {TRIES} tries"
        raise StorageUnavailable(msg, outcome="unknown")
