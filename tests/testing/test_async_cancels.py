"""A cancel that comes in the very moment in which its task ends, at every order of events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from everact import ActorSystem, Retry, Settings, TaskContext, TaskHandler, TaskStatus
from everact.actors.handler_actor import HandlerActor
from everact.actors.ticket import Delivery
from everact.testing.seeded import SeededRuntime

SEEDS = 20


@dataclass(frozen=True)
class Second:
    n: int


class SecondHandler(TaskHandler[Second]):
    retry = Retry(attempts=1)

    async def handle(self, task: Second, ctx: TaskContext) -> None:
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(1))


def hit_by_the_wrong_cancel(seed: int) -> int:
    """Tasks of a second each, one after the other; each even one is cancelled just as it ends. How many others fail?"""
    runtime = SeededRuntime(seed)

    class Seeded(ActorSystem):
        _make_runtime = staticmethod(lambda: runtime)

    with Seeded("world", handlers=[SecondHandler], settings=Settings(metrics=False)) as system:
        handles = [system.dispatch(Second(n)) for n in range(10)]
        for n, handle in enumerate(handles):
            runtime.gate().wait(n + 1 - runtime.monotonic())
            if n % 2 == 0:
                handle.cancel()
        system.wait_idle(100)
        statuses = [handle.status() for handle in handles]
    runtime.end()
    assert {*statuses[::2]} <= {TaskStatus.COMPLETED, TaskStatus.CANCELLED}
    return sum(status is not TaskStatus.COMPLETED for status in statuses[1::2])


def test_a_cancel_that_comes_as_its_task_ends_hits_no_other() -> None:
    assert [hit_by_the_wrong_cancel(seed) for seed in range(SEEDS)] == [0] * SEEDS


def cancel_whoever_runs(cell: HandlerActor, delivery: Delivery | None, watch: Any) -> None:
    if cell._runner is not None:
        cell._runner.cancel()


def test_a_cancel_that_hits_whoever_runs_now_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandlerActor, "_cancel_runner", cancel_whoever_runs)
    assert any(hit_by_the_wrong_cancel(seed) for seed in range(100))


def test_an_async_client_waits_on_virtual_time_too() -> None:
    runtime = SeededRuntime(0)

    class Seeded(ActorSystem):
        _make_runtime = staticmethod(lambda: runtime)

    async def client(system: ActorSystem) -> float:
        handles = await system.dispatch_many_async([Second(n) for n in range(5)], delay=3600)
        await asyncio.gather(*handles)
        return asyncio.get_running_loop().time()

    loop = runtime.event_loop()
    with Seeded("world", handlers=[SecondHandler], settings=Settings(metrics=False)) as system:
        assert loop.run_until_complete(client(system)) == pytest.approx(3605, abs=0.5)
    loop.close()
    runtime.end()
