"""A power cut at any write loses nothing that was acknowledged. The full figure: `make power-cut IMAGES=10000`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMPILER = os.environ.get("CC", "cc")
pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the recorder is preloaded as Linux does it"),
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C compiler ({COMPILER}) builds the recorder"),
]


def replay(folder: Path, variant: str, images: int) -> Any:
    """Record a variant of power/workload.py, cut the recording, and return the figures."""
    command = [sys.executable, "-m", "power", variant, "--images", str(images), "--jobs", "1", "--json"]
    path = os.environ | {"PYTHONPATH": str(Path(__file__).parent / "programs")}
    done = subprocess.run(command, env=path, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["images"] == images
    assert figures["faithful"], "the recorder has missed a write"
    return figures


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    figures = replay(tmp_path, "power", images=400)
    assert figures["faults"] == {}, figures["first"]
    assert figures["promises"] > 100
    assert figures["checkpoints"] > 5, "the log has no checkpoint in it, where most could go wrong"
    assert figures["restarted"] > 10


def test_without_the_promise_to_survive_it_a_power_cut_loses_the_end_and_leaves_no_half_transaction(
    tmp_path: Path,
) -> None:
    faults = replay(tmp_path, "process", images=200)["faults"]
    assert faults["lost"] > 10
    assert faults.keys() <= {"lost", "undone"}


def test_the_replay_sees_the_damage_that_a_database_without_syncs_takes(tmp_path: Path) -> None:
    assert replay(tmp_path, "no-sync", images=200)["faults"]["damaged"] > 10


def test_the_replay_sees_a_follow_up_that_is_committed_before_the_completion_it_belongs_to(tmp_path: Path) -> None:
    assert replay(tmp_path, "split", images=100)["faults"]["split"] > 10
