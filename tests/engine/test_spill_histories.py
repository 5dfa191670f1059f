"""Histories drawn from a seed: a backlog larger than memory, cancelled, delayed, retried, crashed and adopted.

Each node is killed between any two steps of its threads. Whatever happens, each acknowledged task ends once.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from everact import ActorSystem, CancelOutcome, Retry, Settings, TaskContext, TaskStatus, WaitTimeout, task
from everact.actors.agenda import Agenda
from everact.actors.backlog import Backlog, Page
from everact.storage.sqlite import SqliteStorage
from everact.tasks import status as st
from everact.testing.seeded import SeededRuntime

SMALL = Settings(high_water=10, grace=1.0)
SEEDS = 25
STEPS = 14
LATER = (None, None, 0.01, 0.5, 3.0)
NAPS = (0.0, 0.0, 0.01, 0.3)
MOST_RESIDENT = 3 * 4 * 10
"""Per handler: a mailbox, what is urgent beyond its mark, claims on their way there; and an agenda."""


class Killable(SeededRuntime):
    """A runtime whose threads the driver stops for good, wherever they are."""

    def kill(self) -> None:
        self._crash()


class History:
    """One seed's history.

    Attributes:
        wrong: What should not have happened.
    """

    def __init__(self, seed: int, file: Path) -> None:
        self.wrong: list[str] = []
        self._chance, self._file = random.Random(seed), file
        self._runtime = Killable(seed)
        self._runs: Counter[tuple[int, UUID, int]] = Counter()
        self._known: list[UUID] = []
        self._cancelled: dict[UUID, int] = {}
        self._node = 0
        self._system = self._start()

    def play(self) -> None:
        """Let things happen, then let everything come to its end, and look."""
        for _ in range(STEPS):
            step = self._chance.choices(
                [self._dispatch, self._cancel, self._sleep, self._crash, self._idle], [8, 4, 4, 2, 1]
            )
            step[0]()
            if len(self._tickets.resident) > MOST_RESIDENT:
                self.wrong.append(f"{len(self._tickets.resident)} tasks in memory")
        self._sleep(10.0)
        self._idle()
        self._audit()
        self._system.stop(5.0)
        self._runtime.end()

    @property
    def _tickets(self) -> Any:
        engine = self._system._engine
        assert engine is not None
        return engine.node.journal.tickets

    def _start(self) -> ActorSystem:
        self._node += 1
        runtime, node = self._runtime, self._node

        @task(name="slow", retry=Retry(attempts=3, delay=2.0, jitter=0.5))
        def slow(ctx: TaskContext, nap: float, fails: int) -> None:
            self._run(node, ctx, nap, fails)
            ctx.dispatch(quick.task(0.0, 0))

        @task(name="quick", retry=Retry(attempts=2, delay=1.0), concurrency=3)
        def quick(ctx: TaskContext, nap: float, fails: int) -> None:
            self._run(node, ctx, nap, fails)

        class Seeded(ActorSystem):
            _make_runtime = staticmethod(lambda: runtime)

        self._tasks = [slow, quick]
        storage = SqliteStorage(self._file, "process")
        system = Seeded(f"node-{node}", handlers=self._tasks, storage=storage, settings=SMALL)
        system.start()
        return system

    def _run(self, node: int, ctx: TaskContext, nap: float, fails: int) -> None:
        if node != self._node:
            self.wrong.append(f"{ctx.task_id} ran on a dead node")
        self._runs[node, ctx.task_id, ctx.attempt] += 1
        if nap:
            self._runtime.gate().wait(nap)
        if ctx.attempt <= fails:
            raise ValueError(fails)

    # -- what may happen -----------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        chance = self._chance
        kind, nap, delay = chance.choice(self._tasks), chance.choice(NAPS), chance.choice(LATER)
        tasks = [kind.task(nap, chance.choice((0, 0, 0, 1, 3))) for _ in range(chance.randint(1, 40))]
        handles = self._system.dispatch_many(tasks, delay=delay, priority=chance.choice((-5, 0, 0, 5)))
        self._known += [handle.id for handle in handles]

    def _cancel(self) -> None:
        some = self._chance.sample(self._known, min(len(self._known), 8))
        for id, answer in self._system.cancel_many(some).items():
            if answer is CancelOutcome.CANCELLED:
                self._cancelled[id] = self._runs_of(id)

    def _sleep(self, seconds: float | None = None) -> None:
        self._runtime.gate().wait(self._chance.choice((0.001, 0.1, 0.6, 3.0)) if seconds is None else seconds)

    def _crash(self) -> None:
        engine = self._system._engine
        assert engine is not None
        assert engine.meter is not None
        engine.meter.close()  # nobody scrapes the dead; each would keep the scrapes of later tests waiting
        self._runtime.kill()
        engine.storage.abandon()
        self._system = self._start()

    def _idle(self) -> None:
        try:
            self._system.wait_idle(1000.0)
        except WaitTimeout as error:
            self.wrong.append(str(error))
            return
        now = self._runtime.now()
        waiting = [
            row for row in self._rows() if row[1] in (st.QUEUED, st.RUNNING) or (row[1] == st.SCHEDULED and row[2])
        ]
        overdue = [row for row in self._rows() if row[1] == st.SCHEDULED and row[3] < now]
        if waiting or overdue:
            self.wrong.append(
                f"wait_idle has returned before {len(waiting)} waiting and {len(overdue)} overdue tasks ended"
            )

    # -- what must be true ---------------------------------------------------------------------------------

    def _rows(self) -> list[tuple[UUID, int, int, int]]:
        with sqlite3.connect(self._file) as connection:
            rows = connection.execute("SELECT id, status, attempt, due FROM task").fetchall()
        connection.close()
        return [(UUID(bytes=id), status, attempt, due) for id, status, attempt, due in rows]

    def _runs_of(self, id: UUID) -> int:
        return sum(count for (_, each, _), count in self._runs.items() if each == id)

    def _audit(self) -> None:
        ended = {id: TaskStatus(status) for id, status, _, _ in self._rows() if status >= st.COMPLETED}
        self.wrong += [f"{id} has not ended" for id in self._known if id not in ended]
        self.wrong += [
            f"{id} ran {n} times as attempt {a} on node {b}" for (b, id, a), n in self._runs.items() if n > 1
        ]
        for id, runs in self._cancelled.items():
            if ended.get(id) is not TaskStatus.CANCELLED or self._runs_of(id) != runs:
                self.wrong.append(f"{id} was CANCELLED, they said")
        if self._tickets.resident or self._tickets.parked:
            self.wrong.append("something is in memory though all has ended")


def play(seed: int, folder: Path) -> list[str]:
    history = History(seed, folder / f"{seed}.db")
    history.play()
    return history.wrong


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_acknowledged_task_ends_once_whatever_happens(seed: int, tmp_path: Path) -> None:
    assert play(seed, tmp_path) == []


def test_an_agenda_that_forgets_what_it_left_in_storage_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the same histories find a lost wake-up when one is planted."""
    monkeypatch.setattr(Agenda, "wants_page", lambda agenda, now: False)
    assert any(play(seed, tmp_path) for seed in range(3))


def test_a_page_that_takes_what_runs_already_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control for running a task twice."""
    ready = Backlog.ready

    def forgetful(backlog: Backlog, pool: Any, now: int, room: float) -> Page:
        resident = dict(backlog._tickets.resident)
        backlog._tickets.resident.clear()
        page = ready(backlog, pool, now, room)
        backlog._tickets.resident.update(resident)
        return page

    monkeypatch.setattr(Backlog, "ready", forgetful)
    assert any(play(seed, tmp_path) for seed in range(3))
