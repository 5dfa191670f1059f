"""No storage call goes around the runtime: a simulation sees, delays and crashes each of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from everact import ActorSystem, task
from everact.actors.runtime import ThreadRuntime
from everact.actors.storage_seam import StorageSeam
from everact.storage.protocol import Storage


@task
def work(n: int) -> int:
    return n


class Listening(ThreadRuntime):
    """Notes the storage calls that it is asked to make."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def storage_call(self, call: Callable[..., Any], *args: Any) -> Any:
        self.heard.append(call.__name__)
        return call(*args)


METHODS = {name for name, _ in inspect.getmembers(Storage, inspect.isfunction) if not name.startswith("_")}


RARE = {"abandon", "alive", "crashed", "quiet", "release_reserve", "restore_reserve", "retrying", "sweep", "unowned"}
"""Called at a tick, when a node has died, much waits or is old, or the disk is full; there is no other way either."""


def test_the_seam_has_every_method_of_a_storage() -> None:
    assert {name for name in vars(StorageSeam) if not name.startswith("_")} == METHODS


def test_a_system_calls_its_storage_through_the_runtime() -> None:
    runtime = Listening()
    system_class = type("Heard", (ActorSystem,), {"_make_runtime": staticmethod(lambda: runtime)})
    with system_class(handlers=[work]) as system:
        done = system.dispatch(work.task(1))
        done.wait(10)
        assert isinstance(system._engine.storage, StorageSeam)
        assert system._engine.node.journal._storage is system._engine.storage
        system.cancel(system.dispatch(work.task(2), delay=3600))
        system.history(done.id)
        system.tasks()
        stopped = system.dispatch(work.task(4), delay=3600)
        system.cancel_workflow(stopped.id)
        system.workflow(stopped.id)
        system.workflows()
        system.counts()
        system._engine.meter.snapshot()
        system._engine.node.journal.router.look_in_storage(runtime.now(), [__name__ + ".work"])
        system.dispatch(work.task(3)).wait(10)
    assert set(runtime.heard) == METHODS - RARE
