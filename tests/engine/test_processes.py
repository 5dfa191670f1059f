"""The engine inside real programs: Ctrl-C, forgotten stops, forks."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PATIENCE = 30.0
PRELUDE = """
import os, signal, sys, threading
from everact import *
url = sys.argv[1]
# A shell that runs this suite in the background has its children ignore SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

@task
def work(n: int) -> int:
    return n
"""


def url_of(backend: str, folder: Path) -> str:
    return "memory://" if backend == "memory" else f"sqlite:///{folder}/tasks.db"


def start(folder: Path, source: str, backend: str) -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(PRELUDE + textwrap.dedent(source))
    return subprocess.Popen(
        [sys.executable, str(program), url_of(backend, folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail("the program hangs:\n" + "\n".join(process.communicate()))
    return process.returncode, out, err


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for read in process.stdout:
        if read.strip() == line:
            return
    pytest.fail(f"{line!r} was never printed: {finish(process)}")


@pytest.fixture(params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("activity", ["dispatching", "waiting", "idle"])
def test_ctrl_c_ends_the_program_with_a_keyboard_interrupt(tmp_path: Path, backend: str, activity: str) -> None:
    source = f"""
    with ActorSystem(handlers=[work], storage=url, settings=Settings(grace=0.2)) as system:
        later = system.dispatch(work.task(0), delay=3600)
        print("ready", flush=True)
        if {activity!r} == "dispatching":
            while True:
                system.dispatch(work.task(1))
        elif {activity!r} == "waiting":
            later.result()
        else:
            threading.Event().wait()
    """
    process = start(tmp_path, source, backend)
    wait_for(process, "ready")
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == -signal.SIGINT or "KeyboardInterrupt" in err, (code, err)
    assert "report this" not in err


# On memory:// the main thread runs journal turns itself, and Ctrl-C may land inside one: what that turn had in hand
# is told to its callers as unknown. Nothing there outlives the process anyway.
@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"])
def test_a_program_that_catches_ctrl_c_goes_on(tmp_path: Path, backend: str) -> None:
    """As in a notebook: the user interrupts a cell and goes on with the next one."""
    source = """
    TIMES = 30
    armed = threading.Event()

    def interrupt():
        for _ in range(TIMES):
            armed.wait()
            armed.clear()
            threading.Event().wait(0.002)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with ActorSystem(handlers=[work], storage=url, settings=Settings(grace=0.2)) as system:
        for _ in range(TIMES):
            try:
                armed.set()
                while True:
                    system.dispatch(work.task(1))
            except KeyboardInterrupt:
                pass
        assert system.dispatch(work.task(7)).result(10) == 7
        system.wait_idle(10)
        counts = system.counts()
        assert counts[TaskStatus.COMPLETED] == sum(counts.values()), counts
        print("fine", flush=True)
    """
    code, out, err = finish(start(tmp_path, source, backend))
    assert (code, out) == (0, "fine\n"), err


@pytest.mark.slow
def test_a_program_that_forgets_to_stop_ends_by_itself(tmp_path: Path, backend: str) -> None:
    source = """
    @task
    async def wait(n: int) -> int:
        return n

    system = ActorSystem(handlers=[work, wait], storage=url)
    system.start()
    assert system.dispatch(work.task(1)).result(10) == 1
    assert system.dispatch(wait.task(2)).result(10) == 2
    system.dispatch(work.task(1), delay=3600)
    print("end", flush=True)
    """
    code, out, err = finish(start(tmp_path, source, backend))
    assert (code, out) == (0, "end\n"), err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_program_that_forgets_to_stop_a_deaf_handler_ends_all_the_same(tmp_path: Path, backend: str) -> None:
    source = """
    inside = threading.Event()

    @task
    def deaf(n: int) -> int:
        inside.set()
        threading.Event().wait()
        return n

    import everact.system
    everact.system.AT_EXIT_SECONDS = 0.2
    system = ActorSystem(handlers=[deaf], storage=url, settings=Settings(grace=0.1))
    system.start()
    system.dispatch(deaf.task(1))
    inside.wait(10)
    """
    code, _, err = finish(start(tmp_path, source, backend))
    assert code == 0, err


@pytest.mark.slow
def test_a_forked_child_is_refused_and_does_no_harm(tmp_path: Path, backend: str) -> None:
    source = """
    with ActorSystem(handlers=[work], storage=url) as system:
        done = system.dispatch(work.task(1))
        done.wait(10)
        later = system.dispatch(work.task(2), delay=0.5)
        child = os.fork()
        if child == 0:
            uses = dict(
                dispatch=lambda: system.dispatch(work.task(1)),
                dispatch_many=lambda: system.dispatch_many([work.task(1)]),
                cancel=lambda: system.cancel(later),
                get=lambda: system.get(done.id),
                tasks=system.tasks,
                counts=system.counts,
                history=lambda: system.history(done.id),
                workflow=lambda: system.workflow(done.id),
                wait=lambda: system.wait(done.id, 1),
                result=lambda: done.result(1),
                wait_idle=lambda: system.wait_idle(1),
                requeue=lambda: system.requeue(done.id),
                subscribe=lambda: system.events.subscribe(print),
                start=system.start,
            )
            for name, use in uses.items():
                try:
                    use()
                except ForkedSystem:
                    continue
                except BaseException as error:
                    print(name, repr(error), flush=True)
                    os._exit(1)
                print(name, "was allowed", flush=True)
                os._exit(1)
            try:
                system.stop()
            except ForkedSystem:
                pass
            assert not system.health().healthy
            with ActorSystem(handlers=[work]) as own:
                assert own.dispatch(work.task(3)).result(10) == 3
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert later.result(10) == 2
        assert system.dispatch(work.task(5)).result(10) == 5
        print("fine")
    """
    code, out, err = finish(start(tmp_path, source, backend))
    assert (code, out) == (0, "fine\n"), err


@pytest.mark.slow
def test_actors_of_the_parent_are_refused_in_a_forked_child_at_once(tmp_path: Path, backend: str) -> None:
    source = """
    from everact import Actor, ActorDead

    class Echo(Actor):
        use_daemon_thread = True

        def on_receive(self, message):
            return message

    def refusal(use):
        try:
            return use()
        except BaseException as error:
            return type(error)

    alone = Echo.start()
    with ActorSystem("parent", handlers=[work], storage=url) as system:
        spawned = system.spawn(Echo)
        child = os.fork()
        if child == 0:
            for ref, error in ((spawned, ForkedSystem), (alone, ActorDead)):
                uses = (lambda: ref.tell(1), lambda: ref.ask(1), lambda: ref.ask(1, block=False).get())
                assert [refusal(use) for use in uses] == [error] * 3, ref
                assert refusal(ref.proxy) is ActorDead
                assert not ref.is_alive()
                assert ref.stop() is False
            assert refusal(lambda: system.spawn(Echo)) is ForkedSystem
            again = Echo.start()
            assert again.ask(2) == 2
            again.stop()
            with ActorSystem("child") as own:
                assert own.spawn(Echo).ask(3) == 3
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (spawned.ask(4), alone.ask(5)) == (4, 5)
        print("fine")
    """
    code, out, err = finish(start(tmp_path, source, backend))
    assert (code, out) == (0, "fine\n"), err


@pytest.mark.slow
def test_a_child_that_was_forked_before_the_start_may_start_its_own(tmp_path: Path, backend: str) -> None:
    source = """
    system = ActorSystem(handlers=[work], storage=url)
    child = os.fork()
    with system:
        assert system.dispatch(work.task(3)).result(10) == 3
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print("fine")
    """
    code, out, err = finish(start(tmp_path, source, backend))
    assert (code, out) == (0, "fine\n"), err


@pytest.mark.slow
def test_stored_names_do_not_depend_on_how_the_program_was_started(tmp_path: Path) -> None:
    source = """
    with ActorSystem(handlers=[work], storage=url) as system:
        print(system.dispatch(work.task(1)).record().type)
    """
    code, out, err = finish(start(tmp_path, source, "memory"))
    assert (code, out) == (0, "program.work\n"), err
