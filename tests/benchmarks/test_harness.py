"""How cases are run: by turns, in processes of their own, with an eye on the neighbours and on the syncs."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks import harness, machine, peers
from benchmarks.case import Case, raw
from benchmarks.figures import Figures, Run
from benchmarks.harness import CaseFailed, fresh_process, rounds
from benchmarks.load import Tally, percentiles

LONG = Case(name="long", program="p", function="f", share=0.5, repeats=1)
SHORT = Case(name="short", program="p", function="f")


def test_cases_take_turns_and_get_their_share_of_the_tasks() -> None:
    asked: list[tuple[str, int]] = []

    def start(case: Case, count: int) -> Figures:
        asked.append((case.name, count))
        return {"tasks/s": 1.0}

    list(rounds([LONG, SHORT], 10, 2, start))
    assert asked == [("long", 5), ("short", 10), ("short", 10)]


def test_a_case_that_fails_says_so_and_the_others_go_on() -> None:
    def start(case: Case, count: int) -> Figures:
        if case is LONG:
            msg = "no room"
            raise CaseFailed(msg)
        return {"tasks/s": float(count)}

    (_, failed), (_, ran) = rounds([LONG, SHORT], 10, 1, start)
    assert str(failed) == "long: no room"
    assert isinstance(ran, Run)
    assert ran.figures == {"tasks/s": 10.0}


def test_what_other_processes_use_is_what_all_use_without_our_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, own, clock = iter([100.0, 104.0]), iter([1.0, 2.0]), iter([0.0, 2.0])
    monkeypatch.setattr(machine, "busy_seconds", lambda: next(busy))
    monkeypatch.setattr(machine, "own_seconds", lambda: next(own))
    monkeypatch.setattr("benchmarks.machine.time.perf_counter", lambda: next(clock))
    run = machine.Neighbours().run({})
    assert (run.seconds, run.foreign, run.calm) == (2.0, 1.5, False)


def test_where_the_kernel_does_not_say_who_is_busy_nothing_is_claimed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "STAT", tmp_path / "missing")
    assert machine.Neighbours().run({}).foreign is None


def test_a_case_runs_in_a_process_of_its_own_and_its_syncs_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(harness, "BUILD", tmp_path)
    start = fresh_process()
    synced = start(raw("each task synced", "rows", per_commit=1), 50)
    assert synced["tasks/s"] > 0
    assert synced["RSS MB"] > 0
    if shutil.which(os.environ.get("CC", "cc")) is None:
        pytest.skip("no C compiler: syncs are not counted")
    assert synced["fsyncs/task"] == 1
    assert start(raw("none synced", "rows", per_commit=1, synchronous="OFF"), 50)["fsyncs/task"] == 0


def test_what_a_case_writes_about_its_failure_is_passed_on() -> None:
    with pytest.raises(CaseFailed, match="unexpected keyword argument 'surprise'"):
        fresh_process()(raw("broken", "rows", surprise=1), 50)


def test_peers_are_ready_only_with_the_very_versions_that_are_pinned(tmp_path: Path) -> None:
    assert set(peers.versions()) == {"apscheduler", "dramatiq", "huey", "sqlalchemy"}
    peers.python(tmp_path).parent.mkdir()
    peers.python(tmp_path).touch()
    assert not peers.ready(tmp_path)
    (tmp_path / peers.REQUIREMENTS.name).write_text("huey==1\n")
    assert not peers.ready(tmp_path)
    (tmp_path / peers.REQUIREMENTS.name).write_text(peers.REQUIREMENTS.read_text())
    assert peers.ready(tmp_path)


def test_a_tally_is_full_when_as_many_have_run_as_were_expected() -> None:
    tally = Tally()
    for tasks in (3, 2):
        tally.expect(tasks)
        for _ in range(tasks):
            tally.add()
        tally.wait()


def test_few_tasks_make_percentiles_too() -> None:
    import queue
    import time

    starts: queue.SimpleQueue[float] = queue.SimpleQueue()
    found = percentiles(1, starts, lambda: starts.put(time.perf_counter()))
    assert 0 <= found["p50 ms"] <= found["p99 ms"]
