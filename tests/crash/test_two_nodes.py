"""Two processes on one file: each runs its own, a sleeping one keeps its own, and a dead one's go to the other."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from everact import TaskStatus
from ledger import Started, read_ledger
from rows import read_rows
from tests.crash.conftest import Launch, Program, until

pytestmark = pytest.mark.crash
TASKS = 1000
SOME = 120
SLOWLY = 0.01  # a second in all, in which the test must come to suspend it
TICKS = 1.2
"""Seconds in which a node looks twice whether the others live."""
LONGEST_TAKEOVER = 10.0
"""Seconds; what is promised is one, this is for a machine that has much else to do."""


def launch_node(launch: Launch, folder: Path, life: int, *sight: str) -> Program:
    return launch("node.py", folder / "tasks.db", folder / "ledger.jsonl", str(life), *sight)


@pytest.fixture
def nodes(tmp_path: Path, launch: Launch) -> tuple[Program, Program]:
    """Nodes 1 and 2 on one file, both started."""
    one, two = launch_node(launch, tmp_path, 1), launch_node(launch, tmp_path, 2)
    assert (one.read(), two.read()) == ("started", "started")
    return one, two


def starts(folder: Path) -> list[Started]:
    return [line for line in read_ledger(folder / "ledger.jsonl") if isinstance(line, Started)]


def started_by(folder: Path, life: int) -> int:
    return sum(line.life == life for line in starts(folder))


def statuses(folder: Path) -> Counter[TaskStatus]:
    return Counter(row.status for row in read_rows(folder / "tasks.db"))


def test_what_two_living_nodes_dispatch_is_started_once_each_by_who_dispatched_it(
    tmp_path: Path, nodes: tuple[Program, Program]
) -> None:
    for each in nodes:
        each.tell(f"dispatch {TASKS} 0")  # both at the same time
    for each in nodes:
        assert each.read()
        each.ask("idle")
    seen = starts(tmp_path)
    assert Counter(Counter(line.id for line in seen).values()) == {1: 2 * TASKS}
    names = {row.id: row.name for row in read_rows(tmp_path / "tasks.db")}
    assert all(names[line.id].startswith(f"{line.life}.") for line in seen)
    assert statuses(tmp_path) == {TaskStatus.COMPLETED: 2 * TASKS}


def test_a_stopped_node_keeps_its_tasks_and_goes_on_with_them(tmp_path: Path, nodes: tuple[Program, Program]) -> None:
    sleeper, _ = nodes
    sleeper.ask(f"dispatch {SOME} {SLOWLY}")
    until(lambda: len(starts(tmp_path)) >= 10, "ten tasks have been started")
    sleeper.suspend()
    before = len(starts(tmp_path))
    assert before < SOME
    time.sleep(TICKS)  # the subject is that nothing happens
    assert len(starts(tmp_path)) == before
    sleeper.resume()
    sleeper.ask("idle")
    seen = starts(tmp_path)
    assert Counter(Counter(line.id for line in seen).values()) == {1: SOME}
    assert {line.life for line in seen} == {1}
    assert statuses(tmp_path) == {TaskStatus.COMPLETED: SOME}


def test_a_node_that_takes_the_living_for_dead_is_seen_to_start_tasks_twice(tmp_path: Path, launch: Launch) -> None:
    node = launch_node(launch, tmp_path, 1)
    assert node.read() == "started"
    node.ask("dispatch 1 0.5")
    node.ask(f"dispatch {SOME} 0")  # behind the first, as there is one cell
    node.suspend()
    blind = launch_node(launch, tmp_path, 2, "blind")
    assert blind.read() == "started"
    blind.ask("idle")
    node.resume()
    node.ask("idle")
    assert 2 in Counter(line.id for line in starts(tmp_path)).values()
    assert statuses(tmp_path) == {TaskStatus.COMPLETED: 1 + SOME}  # its late outcomes were refused


def _take_over(folder: Path, victim: Program, heir: Program) -> float:
    """Kill one node in the middle of its tasks; returns the seconds until the other started the first of them."""
    victim.ask(f"dispatch {SOME} {SLOWLY}")
    until(lambda: started_by(folder, 1) >= 10, "ten tasks have been started")
    killed_at = time.time()
    victim.kill()
    assert started_by(folder, 1) < SOME
    until(lambda: started_by(folder, 2) > 0, "the other node has started a task of the dead one", LONGEST_TAKEOVER)
    seconds = next(line.at for line in starts(folder) if line.life == 2) - killed_at
    heir.ask("idle")
    assert statuses(folder) == {TaskStatus.COMPLETED: SOME}
    return seconds


def test_a_living_node_takes_over_from_a_killed_one(tmp_path: Path, nodes: tuple[Program, Program]) -> None:
    seconds = _take_over(tmp_path, *nodes)
    print(f"taken over {seconds:.2f} s after the SIGKILL")


def test_a_forked_child_does_not_keep_a_killed_node_alive(tmp_path: Path, nodes: tuple[Program, Program]) -> None:
    child = int(nodes[0].ask("fork"))
    seconds = _take_over(tmp_path, *nodes)
    print(f"taken over {seconds:.2f} s after the SIGKILL")
    os.kill(child, 0)  # it is there still; raises if it is not
    os.kill(child, signal.SIGKILL)
