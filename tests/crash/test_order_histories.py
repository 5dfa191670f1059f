"""Orders in a world that a seed decides: other orders of events than a real process shows, and a crash in each."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from everact import ActorSystem, Settings, StorageError, WaitTimeout
from everact.storage.ledger import Ledger
from everact.testing.seeded import SeededRuntime
from orders.diary import Line
from orders.forms import handlers_of, order
from orders.found import look
from orders.life import ORDER, help_out
from orders.script import Script, every_script
from orders.shop import Shop
from orders.verdict import faults

pytestmark = [pytest.mark.crash, pytest.mark.slow]
HISTORIES = 100 if "EVERACT_LONG_TESTS" in os.environ else 40  # make long
LONG = 10_000.0


class Notes:
    """A diary in memory."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.life = 1

    def write(self, word: str, step: str) -> None:
        self.lines.append(Line(self.life, word, step))

    def has(self, word: str) -> bool:
        return any(line.word == word for line in self.lines)


def serve(script: Script, notes: Notes, runtime: SeededRuntime, path: Path) -> ActorSystem:
    """See an order to its end; what it raises if the node dies is a StorageError."""

    class Seeded(ActorSystem):
        _make_runtime = staticmethod(lambda: runtime)

    handlers, url = handlers_of(script.form, Shop(script, notes)), f"sqlite:///{path}?durability=process"
    system = Seeded("shop", handlers=handlers, storage=url, settings=Settings(metrics=False))
    try:
        system.start()
        system.dispatch(order(script.form), id=ORDER)
        while not runtime.crashed and runtime.monotonic() < LONG:
            try:
                system.wait_workflow(ORDER, 1.0)
                break
            except WaitTimeout:
                help_out(system, script, notes)
    except (StorageError, TimeoutError):
        assert runtime.crashed
    return system


def play(script: Script, seed: int, crash_at: int, folder: Path) -> tuple[bool, list[str]]:
    """Play one history; returns whether the node died in it, and what is wrong."""
    path = folder / f"{seed}.db"
    notes, runtime = Notes(), SeededRuntime(seed, crash_at)
    system = serve(script, notes, runtime, path)
    crashed = runtime.crashed
    if crashed:
        engine = system._engine
        assert engine is not None
        engine.storage.abandon()
        system._engine, system.state = None, "killed"  # else it is stopped at exit
        notes.life, runtime.crashed = 2, False
        system = serve(script, notes, runtime, path)
    system.stop(10)
    runtime.end()
    return crashed, [
        f"{script}; seed {seed}, crash at {crash_at}: {fault}" for fault in faults(script, look(path), notes.lines)
    ]


def some_histories(seed: int, number: int, folder: Path) -> tuple[int, list[str]]:
    chance, scripts = random.Random(seed), list(every_script())
    crashes, found = 0, list[str]()
    for _ in range(number):
        crashed, wrong = play(chance.choice(scripts), chance.getrandbits(32), chance.randint(1, 14), folder)
        crashes += crashed
        found += wrong
    return crashes, found


def test_an_order_in_any_drawn_history_comes_to_the_end_that_the_rules_give(tmp_path: Path) -> None:
    seed = random.randrange(1_000_000)
    crashes, found = some_histories(seed, HISTORIES, tmp_path)
    assert found == [], f"seed {seed}"
    assert crashes > HISTORIES // 6  # about half of them, and chance decides


def test_the_drawn_histories_show_a_follow_up_that_is_not_barred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "_barred", lambda ledger, row, record: ledger._arrivals.append((row, record)) or record)
    _, found = some_histories(1, 40, tmp_path)
    assert any("started when the workflow was being undone already" in fault for fault in found)
