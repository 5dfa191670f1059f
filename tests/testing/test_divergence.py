"""What a seed does not decide shows in the second run."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from random import Random
from typing import Any

import pytest

from everact import ActorSystem, TaskContext, task
from everact.testing.divergence import Diverged, digest, run_twice
from everact.testing.seeded import SeededRuntime
from everact.testing.strays import Strays


def test_equal_runs_have_the_hash_of_their_steps() -> None:
    steps = ["a", 1, ("b", 2)]
    assert run_twice(lambda: iter(steps)) == digest(steps)


@pytest.mark.parametrize(
    ("runs", "step", "shown"),
    [
        ([["a", "b", "c"], ["a", "x", "c"]], 1, "both    a\n    first   b\n    second  x"),
        ([["a"], ["a", "b"]], 1, "first   (it had ended)\n    second  b"),
        ([["a", "b"], []], 0, "from step 0 on:\n    first   a\n    second  (it had ended)"),
    ],
)
def test_the_first_step_that_differs_is_shown(runs: list[list[str]], step: int, shown: str) -> None:
    left = iter(runs)
    with pytest.raises(Diverged) as raised:
        run_twice(lambda: next(left))
    assert raised.value.step == step
    assert shown in str(raised.value)


def test_steps_cannot_run_into_each_other() -> None:
    assert digest(["a", "bc"]) != digest(["ab", "c"]) != digest(["a", "b", "c"])


def test_a_digest_is_the_same_in_another_process() -> None:
    code = "from everact.testing.divergence import digest; print(digest(['a', 1, ('b', 2.5)]))"
    command = [sys.executable, "-P", "-c", code]  # not from the folder that we are in: that is not the installed one
    env = {**os.environ, "PYTHONHASHSEED": "1"}
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert told.strip() == digest(["a", 1, ("b", 2.5)])


def history(draw: Any) -> list[Any]:
    """One run of a seed whose handler draws a number in some way."""
    runtime, log = SeededRuntime(5), list[Any]()

    @task(name="draws")
    async def draws(ctx: TaskContext, n: int) -> None:
        log.append((n, time.monotonic(), draw()))

    class Seeded(ActorSystem):
        _make_runtime = staticmethod(lambda: runtime)

    with Strays(), Seeded("world", handlers=[draws]) as system:
        system.dispatch_many([draws.task(n) for n in range(3)])
        system.wait_idle(100)
    runtime.end()
    return log


def test_a_handler_that_draws_where_the_seed_decides_does_not_diverge() -> None:
    assert run_twice(lambda: history(lambda: Random().random()))


def test_chance_that_hides_and_state_that_is_left_over_are_noticed() -> None:
    """Both controls hide where nobody looks: a default argument, and a module's counter."""
    with pytest.raises(Diverged):
        run_twice(lambda: history(lambda hidden=os.urandom: hidden(8).hex()))
    counter = itertools.count()
    with pytest.raises(Diverged) as raised:
        run_twice(lambda: history(lambda: next(counter)))
    assert raised.value.step == 0
