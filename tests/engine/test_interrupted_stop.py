"""Ctrl-C while a system stops: the wait at hand is over, and the rest of the stop follows all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from everact import ActorSystem, TaskStatus
from everact.engine import Engine
from tests.engine.conftest import WAIT, Job, Lab, make_handler

PROGRAM = textwrap.dedent("""
    import signal, sys, threading
    from everact import Actor, ActorSystem, Settings, TaskContext, task

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
    inside = threading.Event()

    def say(*words):
        print(*words, flush=True)

    @task(name="Long")
    def long(ctx: TaskContext, deaf: bool) -> None:
        inside.set()
        if deaf:
            threading.Event().wait()
        ctx.cancellation.wait(3600)
        ctx.cancellation.raise_if_cancelled()

    class Watchful(Actor):
        def on_receive(self, message):
            return message

        def on_stop(self):
            say("actor stopped")

    url, deaf = sys.argv[1], sys.argv[2] == "deaf"
    system = ActorSystem(handlers=[long], storage=url, settings=Settings(grace=float(sys.argv[3])))
    system.start()
    system.spawn(Watchful).ask(1)
    system.dispatch(long.task(deaf))
    inside.wait()
    say("stopping")
    try:
        system.stop(timeout=600)
    except KeyboardInterrupt:
        say("interrupted", system.state)
    with ActorSystem(handlers=[], storage=url) as again:
        say(*[f"{record.status.name} {record.attempt}" for record in again.tasks()])
    sys.stdout.flush()
    __import__("os")._exit(7)  # a deaf handler would be waited for
""")


def heard(process: subprocess.Popen[str], word: str) -> list[str]:
    """Read what the process says, up to a line that begins with the word."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith(word):
            break
    return lines


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT as a terminal sends it")
@pytest.mark.parametrize(
    ("ears", "grace", "signals"),
    [("listens", 5.0, 1), ("deaf", 0.3, 1), ("deaf", 600.0, 2)],
    ids=["it listens", "it is deaf", "it is deaf and the grace is long"],
)
def test_after_a_ctrl_c_the_rest_of_the_stop_follows(tmp_path: Path, ears: str, grace: float, signals: int) -> None:
    url = f"sqlite:///{tmp_path / 'tasks.db'}"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, ears, str(grace)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        heard(process, "stopping")
        for _ in range(signals):
            with pytest.raises(subprocess.TimeoutExpired):  # it is in one of its waits, which last for minutes
                process.wait(0.5)
            process.send_signal(signal.SIGINT)
        printed, complained = process.communicate(timeout=WAIT * 2)
    finally:
        process.kill()
    assert process.returncode == 7, complained
    assert printed.splitlines() == ["actor stopped", "interrupted stopped", "QUEUED 0"], complained


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


STEPS = [
    "_close_doors",
    "_wait_until_quiet",
    "_hurry",
    "_leave_all_behind",
    "_give_claims_back",
    "_stop_actors",
    "_retire_instances",
    "_stop_thread",
    "_dismiss",
    "_close_executors",
]


@pytest.mark.parametrize("step", STEPS)
def test_whatever_step_it_comes_in_the_storage_is_closed_and_the_interrupt_comes_out(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    system = lab.system(make_handler("sync", Job, lambda task, ctx: task.n))
    assert system.dispatch(Job(3)).result(WAIT) == 3
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        original = getattr(Engine, step)
        patched.setattr(Engine, step, lambda *arguments: (original(*arguments), interrupt()))
        system.stop()
    assert (system.state, system._engine) == ("stopped", None)
    again: ActorSystem = lab.system(make_handler("sync", Job, lambda task, ctx: task.n))
    assert again.dispatch(Job(4)).result(WAIT) == 4
    assert again.counts()[TaskStatus.COMPLETED] == 2
