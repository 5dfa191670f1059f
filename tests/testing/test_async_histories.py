"""Async handlers in worlds that a seed decides: timeouts, cancels, retries, sagas, a stop and a crash.

The engine's promises are checked on what the handlers did and on what is on disk. Bugs planted into the engine show
that the same checks see one.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest

from everact import (
    ActorSystem,
    Retry,
    Saga,
    Settings,
    Step,
    StorageError,
    TaskContext,
    TaskHandler,
    TaskRecord,
    TaskStatus,
    bind,
)
from everact.actors.attempt import Attempt
from everact.testing.divergence import digest, run_twice
from everact.testing.seeded import SeededRuntime
from everact.testing.strays import Strays

T = TypeVar("T")
HOWS = ("plain", "flaky", "slow", "stubborn", "group", "nested", "instant")
SEEDS = 200 if "EVERACT_LONG_TESTS" in os.environ else 8  # make long


@dataclass(frozen=True)
class Work:
    n: int
    how: str


@dataclass(frozen=True)
class After:
    n: int


@dataclass(frozen=True)
class Alert:
    n: int
    error: str


@dataclass(frozen=True)
class Do:
    n: int


@dataclass(frozen=True)
class Break:
    n: int


@dataclass(frozen=True)
class Undo:
    n: int


class Diary:
    """What the handlers did, in order, with virtual times; nothing is written once the run is over."""

    def __init__(self, runtime: SeededRuntime) -> None:
        self.lines: list[tuple[float, int, str, Any]] = []
        self.node, self.sealed, self._runtime = 1, False, runtime

    def note(self, what: str, about: Any) -> None:
        if not self.sealed:
            self.lines.append((self._runtime.monotonic(), self.node, what, about))

    def of(self, what: str) -> list[Any]:
        return [line[3] for line in self.lines if line[2] == what]


class WorkHandler(TaskHandler[Work]):
    retry = Retry(attempts=3, delay=2.0, jitter=0.5)
    timeout = 20.0
    concurrency = 3

    def __init__(self, diary: Diary, *, careless: bool = False) -> None:
        self.diary, self.careless = diary, careless

    async def handle(self, task: Work, ctx: TaskContext) -> int:
        self.diary.note("begins", (task.n, ctx.attempt))
        if self.is_early(task):
            ctx.dispatch(After(task.n))
        try:
            await self._act(task, ctx)
        finally:
            self.diary.note("ends", (task.n, ctx.attempt))
        return task.n

    async def _act(self, task: Work, ctx: TaskContext) -> None:
        if task.how == "instant":
            return
        await asyncio.sleep(random.choice((0, 1, 1, 2)))
        if task.how == "flaky" and ctx.attempt == 1:
            raise OSError(task.n)
        if task.how == "slow":
            await asyncio.Event().wait()
        if task.how == "stubborn":
            await self._insist()
        if task.how == "group":
            async with asyncio.TaskGroup() as group:
                for number in range(4):
                    group.create_task(self._member(number, broken=ctx.attempt == 1 and number == 2))
        if task.how == "nested":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await asyncio.gather(asyncio.sleep(1), asyncio.sleep(60))

    async def _insist(self) -> None:
        """Not listen to the first cancellation, and return all the same."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    async def _member(self, number: int, *, broken: bool) -> None:
        await asyncio.sleep(number)
        if broken:
            raise LookupError

    def is_early(self, task: Work) -> bool:
        return task.n % 2 == 0 and not self.careless

    async def on_completed(self, ctx: TaskContext) -> None:
        self.diary.note("completes", ctx.task.n)
        await asyncio.sleep(0)
        if self.careless:
            await ctx.system.dispatch_async(After(ctx.task.n))
        elif not self.is_early(ctx.task):
            ctx.dispatch(After(ctx.task.n))

    async def on_retry(self, ctx: TaskContext, attempt: int, error: BaseException, delay: float) -> None:
        await asyncio.sleep(0)
        self.diary.note("retries", (ctx.task.how, type(error).__name__))

    async def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        await asyncio.sleep(0)
        ctx.dispatch(Alert(ctx.task.n, type(error).__name__))


class Other(TaskHandler[T]):
    """Everything else: it notes that it ran."""

    concurrency = 2
    retry = Retry(attempts=2, delay=1.0)

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    async def handle(self, task: Any, ctx: TaskContext) -> None:
        await asyncio.sleep(random.choice((0, 0.5)))
        if isinstance(task, Break):
            raise ZeroDivisionError
        self.diary.note(type(task).__name__, task.n)


def handler_of(task_type: type, diary: Diary) -> Any:
    class Concrete(Other[task_type]):  # type: ignore[valid-type]
        task_name = task_type.__name__

    return bind(Concrete, lambda: Concrete(diary))


SAGA = Saga("order", Step(Do, Undo, name="first"), Step(Do, Undo, name="second"), Step(Break), input=int)


class World:
    """One run: a plan drawn from the seed, one or two lives of a node over one file, and what came of it."""

    def __init__(
        self, seed: int, folder: Path, *, crash: bool = False, stop: bool = False, careless: bool = False
    ) -> None:
        self.stop, self.careless = stop, careless
        plan = random.Random(f"plan {seed}")
        self.runtime = SeededRuntime(seed, plan.randint(1, 12) if crash else None)
        self.diary = Diary(self.runtime)
        self.path, self.seed = folder / f"{seed}.db", seed
        self.path.unlink(missing_ok=True)
        self.works = [Work(n, plan.choice(HOWS)) for n in range(8)]
        self.cancels = {n: plan.choice((0.0, 1.0, 1.0, 2.0, 5.0)) for n in plan.sample(range(8), 3)}
        self.ids = {work.n: UUID(int=plan.getrandbits(128)) for work in self.works}
        self.saga = UUID(int=plan.getrandbits(128))
        self.answers: dict[int, str] = {}
        self.records: list[TaskRecord] = []

    def system(self) -> ActorSystem:
        runtime, diary = self.runtime, self.diary

        class Seeded(ActorSystem):
            _make_runtime = staticmethod(lambda: runtime)

        handlers = [bind(WorkHandler, lambda: WorkHandler(diary, careless=self.careless)), SAGA]
        handlers += [handler_of(each, diary) for each in (After, Alert, Do, Break, Undo)]
        url = f"sqlite:///{self.path}?durability=process"
        return Seeded("world", handlers=handlers, storage=url, settings=Settings(metrics=False, grace=3.0))

    def live(self, system: ActorSystem) -> ActorSystem:
        system.start()
        for work in self.works:
            system.dispatch(work, id=self.ids[work.n])
        system.dispatch(SAGA(99), id=self.saga)
        if self.stop and self.diary.node == 1:
            self.runtime.gate().wait(1.5)
            system.stop(1.0)
            self.diary.node = 2
            return self.live(self.system())
        for n, at in sorted(self.cancels.items(), key=lambda item: item[1]):
            self.runtime.gate().wait(max(at - self.runtime.monotonic(), 0.0))
            self.answers[n] = system.cancel(self.ids[n]).name
        system.wait_idle(1000)
        return system

    def play(self) -> World:
        system = self.system()
        with Strays(self.seed) as strays:
            try:
                system = self.live(system)
            except (StorageError, TimeoutError):
                assert self.runtime.crashed
            if self.runtime.crashed:
                system = self._succeed(system)
            self.records = system.tasks(limit=1000)
            self.state = system.workflow(self.saga).state.name
            system.stop(10)
            self.diary.sealed = True
            self.runtime.end()
        strays.check()
        return self

    def _succeed(self, dead: ActorSystem) -> ActorSystem:
        engine = dead._engine
        assert engine is not None
        engine.storage.abandon()
        dead._engine, dead.state = None, "killed"  # else it is stopped at exit
        self.diary.node, self.runtime.crashed = 2, False
        return self.live(self.system())

    def story(self) -> list[Any]:
        """All that a seed decides."""
        ends = sorted((r.type, str(r.id), r.status.name, r.attempt, r.finished) for r in self.records)
        return [*self.diary.lines, *self.answers.items(), *ends, self.state]


def wrong(world: World) -> Iterator[str]:
    """What does not hold of a world."""
    ends = {record.id: record for record in world.records}
    after, alerts = Counter(world.diary.of("After")), Counter(world.diary.of("Alert"))
    children = Counter((r.parent_id, r.type.rpartition(".")[2]) for r in world.records)
    for work in world.works:
        record = ends[world.ids[work.n]]
        status, how = record.status, f"{work} is {record.status.name}"
        answer = world.answers.get(work.n)
        expected = {TaskStatus.FAILED if work.how == "slow" else TaskStatus.COMPLETED}
        # Asked for again after a crash it may have happened before.
        if answer in ("CANCELLED", "SIGNALLED") or (answer and world.diary.node == 2):
            expected = expected | {TaskStatus.CANCELLED}
        if status not in expected:
            yield f"{how} after {answer}: {record.error}"
        if children[record.id, "After"] != (status is TaskStatus.COMPLETED):
            yield f"{how} with {children[record.id, 'After']} follow-ups"
        if status is TaskStatus.FAILED and children[record.id, "Alert"] != 1:
            yield f"{how} with {children[record.id, 'Alert']} alerts"
        if status is TaskStatus.COMPLETED and world.diary.of("completes").count(work.n) != 1 and world.diary.node == 1:
            yield f"{how} and was told so {world.diary.of('completes').count(work.n)} times"
        if (status is TaskStatus.COMPLETED) > after[work.n] or (status is TaskStatus.FAILED) > alerts[work.n]:
            yield f"{how}, but what followed it did not run"
    for how, error in set(world.diary.of("retries")) - {("flaky", "OSError"), ("group", "ExceptionGroup")}:
        yield f"{how} is tried again after {error}"
    yield from wrong_order(world)
    if world.state != "COMPENSATED":
        yield f"the saga is {world.state}"
    if world.diary.of("Undo")[:1] != [99] or len(world.diary.of("Undo")) < 2:
        yield f"the saga has undone {world.diary.of('Undo')}"


def wrong_order(world: World) -> Iterator[str]:
    """No two attempts of one task at a time, no more at a time than there are cells, and no attempt ends unbegun."""
    running: list[tuple[int, int]] = []
    node = 1
    for _, life, what, about in world.diary.lines:
        if life != node:
            running, node = [], life
        if what == "begins":
            if any(n == about[0] for n, _ in running):
                yield f"two attempts of {about[0]} at a time"
            running.append(about)
            if len(running) > WorkHandler.concurrency:
                yield f"{len(running)} run at a time"
        elif what == "ends":
            running.remove(about)


def found(seeds: range, folder: Path, **how: bool) -> Iterator[str]:
    for seed in seeds:
        for fault in wrong(World(seed, folder, **how).play()):
            yield f"seed {seed}: {fault}"


@pytest.mark.parametrize("stop", [False, True], ids=["to the end", "over a stop"])
def test_async_handlers_keep_the_promises_under_every_seed(stop: bool, tmp_path: Path) -> None:
    assert list(found(range(SEEDS), tmp_path, stop=stop)) == []


def test_async_handlers_keep_the_promises_when_the_node_dies_at_some_commit(tmp_path: Path) -> None:
    """And what they were tried on: without each ending, and a cancel at each stage, that would say little."""
    statuses, answers, crashes = set(), set(), 0
    for seed in range(max(SEEDS, 20)):
        world = World(seed, tmp_path, crash=True).play()
        assert list(wrong(world)) == [], f"seed {seed}"
        statuses |= {(record.status.name, record.attempt > 1) for record in world.records}
        answers |= set(world.answers.values())
        crashes += world.diary.node == 2
    assert {("COMPLETED", False), ("COMPLETED", True), ("FAILED", False), ("CANCELLED", False)} <= statuses
    assert answers >= {"CANCELLED", "SIGNALLED", "ALREADY_FINISHED"}
    assert crashes > 10


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_one_seed_is_one_history_with_async_handlers_too(seed: int, crash: bool, tmp_path: Path) -> None:
    run_twice(lambda: World(seed, tmp_path, crash=crash).play().story())


def test_seeds_differ_in_what_async_handlers_do(tmp_path: Path) -> None:
    """What is planned is the same here; the order of events alone makes the difference."""
    hashes = set()
    for seed in range(6):
        world = World(0, tmp_path, crash=False)
        world.runtime = world.diary._runtime = SeededRuntime(seed)
        hashes.add(digest(world.play().story()))
    assert len(hashes) == 6


def test_a_world_with_async_handlers_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for seed in range(6):
        World(seed, tmp_path, crash=True).play()
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)
    assert not any(thread.is_alive() for thread in left), left


# -- controls ----------------------------------------------------------------------------------------------


def test_follow_ups_that_outlive_a_failed_attempt_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attempt, "_drop", staticmethod(lambda delivery: None))
    assert "follow-ups" in next(found(range(20), tmp_path))


def test_a_follow_up_that_does_not_commit_with_its_outcome_is_caught_by_a_crash(tmp_path: Path) -> None:
    """A bug of the user's: `ctx.system.dispatch_async` commits by itself, so a crash between the two makes twins."""
    assert "COMPLETED with 2 follow-ups" in next(found(range(200), tmp_path, crash=True, careless=True))


@pytest.fixture(autouse=True)
def _no_noise(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is said of coroutines and tasks that a kill, or the end, has left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()
    assert [r.getMessage() for r in caplog.records if r.name in ("asyncio", "everact.executor")] == []
