"""Any one commit of a workflow is written and answered with an error, and it ends as it must all the same."""

from __future__ import annotations

import os
import pathlib
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from everact import (
    ActorSystem,
    Retry,
    Saga,
    Step,
    StorageUnavailable,
    TaskContext,
    Workflow,
    WorkflowState,
    parallel,
    task,
)
from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Batch, Committed, Storage
from everact.storage.sqlite import SqliteStorage

WAIT = 20.0
ONCE = Retry(attempts=1)
MOST_COMMITS = 60
STRIDE = 1 if "EVERACT_LONG_TESTS" in os.environ else 3  # make long


class FailsOnce:
    """A storage whose commit number `at` is written, and answered with an error."""

    def __init__(self, inner: Storage, at: int) -> None:
        self._inner = inner
        self._at = at
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def reached(self) -> bool:
        return self.commits >= self._at

    def commit(self, batch: Batch) -> Committed:
        committed = self._inner.commit(batch)
        self.commits += 1
        if self.commits == self._at:
            msg = "fsync failed"
            raise StorageUnavailable(msg, outcome="unknown")
        return committed


class Shop:
    """A saga of two reservations side by side and a charge, with a count of what was done."""

    def __init__(self, *, declined: bool) -> None:
        self.done: Counter[str] = Counter()
        self.charging, self.may_charge = threading.Event(), threading.Event()

        @task(name="reserve")
        def reserve(n: int) -> None:
            self.done[f"reserve {n}"] += 1

        @task(name="release")
        def release(n: int) -> None:
            self.done[f"release {n}"] += 1

        @task(name="charge", retry=ONCE)
        def charge(ctx: TaskContext, n: int) -> None:
            self.charging.set()
            self.may_charge.wait(WAIT)
            if declined:
                raise ValueError(n)

        def number(n: int) -> Step:
            return Step(lambda _: reserve.task(n), lambda _: release.task(n), name=f"reserve {n}")

        self.saga = Saga("order", parallel(number(1), number(2)), Step(charge))
        self.handlers = [reserve, release, charge, self.saga]


@pytest.fixture(params=["memory", "sqlite"])
def make_storage(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Callable[[int], FailsOnce]:
    def make(at: int) -> FailsOnce:
        inner = MemoryStorage() if request.param == "memory" else SqliteStorage(tmp_path / f"{at}.db", "process")
        return FailsOnce(inner, at)

    return make


@pytest.fixture
def commits(request: pytest.FixtureRequest) -> range:
    """Each one on SQLite; in memory, where the same happens, one in three is enough, drawn anew by each run."""
    in_memory = "memory" in request.node.name
    return range(random.randint(1, STRIDE), MOST_COMMITS, STRIDE) if in_memory else range(1, MOST_COMMITS)


def dispatched(system: ActorSystem, task: object) -> Any:
    try:
        return system.dispatch(task).id
    except StorageUnavailable as error:  # it is stored, and the error says under which id
        return error.task_id


def play(storage: FailsOnce, *, declined: bool, cancel: bool) -> tuple[Workflow, Counter[str]]:
    shop = Shop(declined=declined)
    with ActorSystem(handlers=shop.handlers, storage=storage) as system:
        order = dispatched(system, shop.saga(1))
        if cancel:
            assert shop.charging.wait(WAIT)
            with suppress(StorageUnavailable):
                system.cancel_workflow(order)
        shop.may_charge.set()
        return system.wait_workflow(order, WAIT), shop.done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("declined", "cancel", "expected"),
    [
        (False, False, WorkflowState.COMPLETED),
        (True, False, WorkflowState.COMPENSATED),
        (False, True, WorkflowState.COMPENSATED),
    ],
    ids=["completed", "failed", "cancelled"],
)
def test_a_workflow_ends_as_it_must_whichever_commit_failed_after_it_was_written(
    make_storage: Callable[[int], FailsOnce],
    commits: range,
    expected: WorkflowState,
    *,
    declined: bool,
    cancel: bool,
) -> None:
    for at in commits:
        storage = make_storage(at)
        workflow, done = play(storage, declined=declined, cancel=cancel)
        assert workflow.state is expected, f"commit {at}: {workflow.tree()}"
        assert all(task.status.terminal for task in workflow.tasks), f"commit {at}: {workflow.tree()}"
        undone = {entry.state for entry in workflow.undo_log}
        assert undone == {"pending" if expected is WorkflowState.COMPLETED else "played"}, f"commit {at}"
        assert (done["release 1"] > 0) == (expected is WorkflowState.COMPENSATED), f"commit {at}"
        if not storage.reached:
            return
    pytest.fail("it takes too many commits")
