"""What a storage refuses or does not answer: who is told, and what goes on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from everact import (
    ConfigurationError,
    HandlerError,
    PayloadError,
    Settings,
    StorageFull,
    StorageUnavailable,
    TaskContext,
    TaskHandler,
    TaskStatus,
    TaskTypeUnknown,
    bind,
    task,
)
from everact.actors import journal
from everact.storage.protocol import Batch
from everact.tasks.errors import StorageError
from tests.engine.conftest import WAIT, Diary, Job, Lab, Next, make_handler, until
from tests.engine.test_keys_and_order import in_one_batch


def number(task: Any, ctx: TaskContext) -> int:
    return int(task.n)


def test_tasks_that_cannot_travel_are_refused_to_the_caller(lab: Lab) -> None:
    @dataclass
    class Stranger:
        n: int

    system = lab.system(make_handler("sync", Job, number), settings=Settings(payload_limit=200, grace=0.1))
    for bad, error in [
        (Stranger(1), TaskTypeUnknown),
        (Job("text"), PayloadError),  # type: ignore[arg-type]
        (Job(object()), PayloadError),  # type: ignore[arg-type]
        (Job("x" * 300), PayloadError),  # type: ignore[arg-type]
        (Job("\ud800"), PayloadError),  # type: ignore[arg-type]
        (Job, TaskTypeUnknown),
        (None, TaskTypeUnknown),
    ]:
        with pytest.raises(error):
            system.dispatch(bad)
    assert system.tasks() == []


def test_a_subclass_of_a_task_class_is_another_type(lab: Lab) -> None:
    @dataclass(frozen=True)
    class Special(Job):
        pass

    system = lab.system(make_handler("sync", Job, number))
    with pytest.raises(TaskTypeUnknown, match="Special"):
        system.dispatch(Special(1))


def test_handlers_that_cannot_be_registered_are_refused_with_the_remedy(lab: Lab) -> None:
    handler = make_handler("sync", Job, number)

    def plain(n: int) -> int:
        return n

    for wrong, remedy in [
        (lambda task, ctx: None, "bind"),
        (handler(), "pass the class"),
        (plain, "@task"),
        (7, "TaskHandler class"),
    ]:
        with pytest.raises(HandlerError, match=remedy):
            lab.build(wrong)
    with pytest.raises(HandlerError, match="two handlers"):
        lab.build(handler, make_handler("async", Job, number))
    with pytest.raises(HandlerError):
        bind(handler(), handler)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="around_attempt"):
        lab.build(handler, middleware=[object()])


def test_a_factory_that_makes_something_else_leaves_the_task_queued(lab: Lab, kind: str) -> None:
    factory: Any = lambda: "no handler"  # noqa: E731
    system = lab.system(bind(make_handler(kind, Job, number), factory))
    waiting = system.dispatch(Job())
    until(lambda: not system._engine.node.pools[0].cells[0].instance)  # type: ignore[union-attr]
    assert waiting.status() is TaskStatus.QUEUED


def test_a_refused_dispatch_raises_and_leaves_no_trace(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number))
    lab.probe(system).refuse = lambda batch: StorageFull("no room") if batch.inserts else None
    with pytest.raises(StorageFull):
        system.dispatch(Job(1))
    with pytest.raises(StorageFull):
        system.dispatch_many([Job(1), Job(2)])
    lab.probe(system).refuse = None
    system.wait_idle(WAIT)
    assert system.tasks() == []
    assert system.dispatch(Job(3)).result(WAIT) == 3


def test_an_unknown_error_of_the_storage_is_never_success(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number))
    chosen = uuid4()
    lab.probe(system).refuse = lambda batch: OSError("disk gone")
    with pytest.raises(StorageUnavailable, match="disk gone") as caught:
        system.dispatch(Job(1), id=chosen)
    assert caught.value.outcome == "unknown"
    lab.probe(system).refuse = None
    assert system.dispatch(Job(1), id=chosen).result(WAIT) == 1


def test_only_the_offender_of_a_batch_gets_the_error(lab: Lab, kind: str) -> None:
    def refuse(batch: Batch) -> BaseException | None:
        return StorageError("bad row") if any(b"666" in record.payload for record in batch.inserts) else None

    system = lab.system(make_handler(kind, Job, number), make_handler(kind, Next, number))
    lab.probe(system).refuse = refuse
    good, bad, other = in_one_batch(
        lab,
        system,
        lambda: system.dispatch(Job(1)),
        lambda: system.dispatch(Job(666)),
        lambda: system.dispatch(Job(2)),
    )
    assert isinstance(bad, StorageError)
    assert (good.result(WAIT), other.result(WAIT)) == (1, 2)
    assert len(system.tasks(type=Job)) == 2


def test_an_outcome_that_storage_refuses_is_written_later(
    lab: Lab, kind: str, diary: Diary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "REWRITE_SECONDS", 0.01)

    def handle(task: Job, ctx: TaskContext) -> int:
        diary.note(task.n)
        ctx.dispatch(Next(task.n))
        return task.n

    refused: list[Batch] = []

    def refuse(batch: Batch) -> BaseException | None:
        if batch.outcomes and len(refused) < 2:
            refused.append(batch)
            return OSError("busy")
        return None

    system = lab.system(make_handler(kind, Job, handle), make_handler("sync", Next, number))
    lab.probe(system).refuse = refuse
    one = system.dispatch(Job(1))
    assert one.result(WAIT) == 1
    system.wait_idle(WAIT)
    assert diary == [1]
    assert len(system.tasks(type=Next)) == 1


def test_a_refused_cancel_leaves_a_scheduled_task_to_its_due_time(lab: Lab, kind: str, diary: Diary) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: diary.note(task.n)))
    later = system.dispatch(Job(1), delay=3600)
    lab.probe(system).refuse = lambda batch: OSError("disk gone") if batch.cancels else None
    with pytest.raises(StorageUnavailable):
        later.cancel()
    lab.probe(system).refuse = None
    system.wait_idle(WAIT)
    system.dispatch(Job(2)).wait(WAIT)
    assert diary == [2], "a task was run long before it was due"
    assert later.status() is TaskStatus.SCHEDULED
    assert later.cancel().value == "cancelled"


def test_a_refused_cancel_leaves_a_queued_task_to_its_handler(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        if task.n == 0:
            inside.set()
            yield go
        return task.n

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    probe = lab.probe(system)
    system.dispatch(Job(0))
    inside.pass_through()
    waiting = system.dispatch(Job(1))
    probe.refuse = lambda batch: OSError("disk gone") if batch.cancels else None
    with pytest.raises(StorageUnavailable):
        waiting.cancel()
    probe.refuse = None
    go.set()
    assert waiting.result(WAIT) == 1


def test_a_refused_cancel_request_does_not_signal_the_running_task(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, str]:
        inside.set()
        yield go
        return "done"

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    running = system.dispatch(Job(0))
    inside.pass_through()
    lab.probe(system).refuse = lambda batch: OSError("disk gone") if batch.requests else None
    with pytest.raises(StorageUnavailable):
        running.cancel()
    lab.probe(system).refuse = None
    go.set()
    assert running.result(WAIT) == "done"


def test_a_commit_that_takes_too_long_is_unknown_and_the_same_id_settles_it(lab: Lab, kind: str) -> None:
    system = lab.system(
        make_handler(kind, Job, number), make_handler(kind, Next, number), settings=Settings(commit_timeout=0.05)
    )
    probe = lab.probe(system)
    hold = probe.hold()
    # On memory:// the thread that dispatches commits itself, so it is not told that it took too long.
    late = contextlib.nullcontext() if lab.backend == "memory" else pytest.raises(StorageUnavailable)

    def dispatch() -> None:
        with late:
            system.dispatch(Next(1), delay=3600)

    other = threading.Thread(target=dispatch)
    other.start()
    probe.wait_until_held()
    chosen = uuid4()
    with pytest.raises(StorageUnavailable) as caught:
        system.dispatch(Job(1), id=chosen)
    assert (caught.value.outcome, caught.value.task_id) == ("unknown", chosen)
    with pytest.raises(StorageUnavailable):
        system.cancel(uuid4())
    hold.set()
    other.join(WAIT)
    assert system.dispatch(Job(1), id=chosen).result(WAIT) == 1
    assert len(system.tasks(type=Job)) == 1


def test_a_function_task_takes_a_context_and_keeps_its_result(lab: Lab) -> None:
    system = lab.system(shout, whisper)
    assert system.dispatch(shout.task("hi")).result(WAIT) == ["HI", 1]
    assert system.dispatch(whisper.task(word="HI", times=2)).result(WAIT) == "hihi"
    assert system.get(system.dispatch(shout.task("x")).id).type.endswith("shout")


@task
def shout(word: str, ctx: TaskContext) -> list[str | int]:
    return [word.upper(), ctx.attempt]


@task(name="whisper")
async def whisper(word: str, times: int = 1) -> str:
    return word.lower() * times


def test_class_attributes_are_read_when_the_system_is_built(lab: Lab, kind: str) -> None:
    handler = make_handler(kind, Job, number, task_name="first")
    system = lab.build(handler)
    handler.task_name = "second"
    system.start()
    assert system.dispatch(Job()).record().type == "first"


def test_a_task_is_found_under_an_alias(lab: Lab, kind: str) -> None:
    old = lab.idle_system(make_handler(kind, Job, number, task_name="old.name"))
    first = old.dispatch(Job(4))
    lab.crash(old)
    system = lab.system(make_handler(kind, Job, number, task_name="new.name", aliases=("old.name",)))
    assert system.wait(first.id, WAIT).result == 4
    assert system.dispatch(Job()).record().type == "new.name"


def test_bind_makes_instances_with_arguments(lab: Lab) -> None:
    class Pay(TaskHandler[Job]):
        def __init__(self, gateway: str) -> None:
            self.gateway = gateway

        def handle(self, task: Job, ctx: TaskContext) -> str:
            return self.gateway

    assert lab.system(bind(Pay, lambda: Pay("bank"))).dispatch(Job()).result(WAIT) == "bank"
