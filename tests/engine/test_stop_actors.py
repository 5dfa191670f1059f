"""Stopping a system full of actors: in order, within the time, whatever waits, and however many do not listen."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from everact import (
    Actor,
    ActorDead,
    ActorRef,
    ActorStartFailed,
    ActorSystem,
    ChildSpec,
    PoolRouter,
    Routing,
    Settings,
    Supervisor,
    SystemNotRunning,
    TaskContext,
    TaskHandler,
    TaskStatus,
)
from everact.actors.mailbox import Mailbox
from everact.tasks.events import ActorAbandoned
from tests.engine.conftest import GRACE, WAIT, Diary, Gate, Job, Lab, until

TIMEOUT = 0.2
BOUND = TIMEOUT + GRACE + 5.0
MANY = 100_000


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Holds what hangs, until the test is over."""
    held = Gate()
    yield held
    held.set()


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("halt", settings=Settings(grace=GRACE)) as running:
        yield running


def timed(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


def abandoned(system: ActorSystem) -> list[str]:
    """The paths of actors that are reported as left behind from now on."""
    paths: list[str] = []
    system.events.subscribe(lambda event: paths.append(event.actor) if isinstance(event, ActorAbandoned) else None)
    return paths


class Held(Actor):
    """Stays in its first message until the gate opens; counts those that it has handled."""

    def __init__(self, gate: Gate, inside: Gate) -> None:
        super().__init__()
        self.gate, self.inside = gate, inside

    def on_receive(self, message: Any) -> Any:
        self.inside.set()
        self.gate.wait(WAIT)
        return message


class Named(Actor):
    """Writes its name into a diary when it ends."""

    def __init__(self, diary: Diary, name: str) -> None:
        super().__init__()
        self.diary, self.name = diary, name

    def on_receive(self, message: Any) -> Any:
        return message

    def on_stop(self) -> None:
        self.diary.note(self.name)


class DeafToMessages(Actor):
    """Does not come back from a message until the gate opens."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def on_receive(self, message: Any) -> Any:
        message.set()
        self.gate.wait(WAIT)


class DeafPinned(DeafToMessages):
    """Has a thread of its own."""

    pinned = True


class DeafAtTheEnd(Actor):
    """Does not come back from `on_stop` until the gate opens."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def on_receive(self, message: Any) -> Any:
        message.set()

    def on_stop(self) -> None:
        self.gate.wait(WAIT)


class DeafAsync(Actor):
    """Awaits something that does not come."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    async def on_receive(self, message: Any) -> Any:
        message.set()
        await asyncio.get_running_loop().run_in_executor(None, self.gate.wait, WAIT)


DEAF = [DeafToMessages, DeafPinned, DeafAtTheEnd, DeafAsync]


def deaf_actor(system: ActorSystem, kind: Any, gate: Gate, **options: Any) -> ActorRef[Any]:
    """One that is busy with what it will not come back from, or will be."""
    actor: ActorRef[Any] = system.spawn(lambda: kind(gate), **options)
    inside = Gate()
    actor.tell(inside)
    inside.pass_through()
    return actor


# -- messages that wait ----------------------------------------------------------------------------------------------


def test_a_stop_waits_for_no_message_in_the_mailbox_and_every_one_is_accounted_for(
    system: ActorSystem, gate: Gate
) -> None:
    handled: list[int] = []

    class Slow(Actor):
        def on_receive(self, message: int) -> None:
            handled.append(message)
            inside.set()
            gate.wait(WAIT)

    inside = Gate()
    slow = system.spawn(Slow)
    for number in range(MANY):
        slow.tell(number)
    asked = [slow.ask(MANY + number, block=False) for number in range(100)]
    inside.pass_through()
    stopping = threading.Thread(target=system.stop, daemon=True)
    stopping.start()
    until(lambda: slow._cell._orders)
    gate.set()
    assert timed(lambda: stopping.join(WAIT)) < WAIT
    assert not stopping.is_alive()
    assert handled == [0]
    assert system._dead_letters is not None
    assert system._dead_letters.count == MANY - 1 + len(asked)
    for reply in asked:
        with pytest.raises(ActorDead):
            reply.get(timeout=0)


def test_without_a_stop_they_are_all_handled(system: ActorSystem, gate: Gate) -> None:
    inside = Gate()
    held = system.spawn(lambda: Held(gate, inside))
    replies = [held.ask(number, block=False) for number in range(1000)]
    gate.set()
    assert [reply.get() for reply in replies] == list(range(1000))
    assert not system.dead_letters()


class Crowd:
    """Slow actors of every kind with messages in all mailboxes, and the count of those that were handled."""

    SENT = 1000 + 1000 + 2 * 1000

    def __init__(self, system: ActorSystem, gate: Gate) -> None:
        handled: list[int] = []
        inside = Gate()

        class Slow(Actor):
            def on_receive(self, message: int) -> None:
                inside.set()
                gate.wait(WAIT)
                handled.append(message)

        nested = system.spawn(Slow, under=system.spawn(Supervisor))
        balanced = system.spawn(lambda: PoolRouter(Slow, size=2))
        broadcast = system.spawn(lambda: PoolRouter(Slow, size=2, routing=Routing.BROADCAST))
        for ref in (nested, balanced, broadcast):
            for number in range(1000):
                ref.tell(number)
        inside.pass_through()
        self.system, self.gate, self.handled = system, gate, handled
        self.first_to_stop = broadcast._cell.children

    def accounted_for_after_a_stop(self) -> int:
        stopping = threading.Thread(target=self.system.stop, daemon=True)
        stopping.start()
        # Before that, on a busy machine, they could be done with all of it.
        until(lambda: any(cell._orders for cell in list(self.first_to_stop.values())))
        self.gate.set()
        stopping.join(WAIT)
        assert not stopping.is_alive()
        assert self.system._dead_letters is not None
        return len(self.handled) + self.system._dead_letters.count


def test_what_waits_for_pools_and_nested_actors_is_accounted_for_as_well(system: ActorSystem, gate: Gate) -> None:
    assert Crowd(system, gate).accounted_for_after_a_stop() == Crowd.SENT


def test_a_mailbox_that_forgets_what_waits_is_found_out(
    system: ActorSystem, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(system, gate)
    monkeypatch.setattr(Mailbox, "_refuse_all", lambda mailbox: mailbox._lane.clear())
    assert crowd.accounted_for_after_a_stop() < Crowd.SENT


# -- the order -------------------------------------------------------------------------------------------------------


def test_children_stop_in_the_reverse_order_of_their_start_nested_ones_too(system: ActorSystem) -> None:
    diary = Diary()

    class Boss(Supervisor):
        def __init__(self, name: str, *children: ChildSpec) -> None:
            super().__init__(children)
            self.name = name

        def on_stop(self) -> None:
            diary.note(self.name)

    def leaf(name: str) -> ChildSpec:
        return ChildSpec(partial(Named, diary, name), name=name)

    inner = ChildSpec(lambda: Boss("inner", leaf("d"), leaf("e")), name="inner")
    system.spawn(partial(Named, diary, "a"))
    system.spawn(lambda: Boss("outer", leaf("b"), leaf("c"), inner, leaf("f")))
    system.spawn(partial(Named, diary, "g"))
    system.stop()
    assert diary == ["g", "f", "e", "d", "inner", "c", "b", "outer", "a"]


# -- the time of each child ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DEAF)
def test_a_deaf_child_is_left_behind_after_its_own_time_and_the_others_still_stop_in_order(
    system: ActorSystem, gate: Gate, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    diary, gone = Diary(), abandoned(system)
    system.spawn(partial(Named, diary, "before"))
    deaf = deaf_actor(system, kind, gate, name="deaf", spec=ChildSpec(shutdown=0.3))
    system.spawn(partial(Named, diary, "after"))
    took = timed(lambda: system.stop(timeout=WAIT))
    assert 0.3 <= took < WAIT
    assert diary == ["after", "before"]
    assert gone == ["halt/user/deaf"]
    assert "halt/user/deaf was still stopping after 0.3 s; its thread is left behind" in caplog.text
    assert not deaf.is_alive()


def test_a_child_that_ends_within_its_time_is_not_left_behind(system: ActorSystem, gate: Gate) -> None:
    gone = abandoned(system)
    deaf_actor(system, DeafAtTheEnd, gate, spec=ChildSpec(shutdown=WAIT))
    stopping = threading.Thread(target=partial(system.stop, WAIT), daemon=True)
    stopping.start()
    until(lambda: system.state == "stopping")
    gate.set()
    stopping.join(WAIT)
    assert not stopping.is_alive()
    assert not gone


def test_a_supervisor_has_the_time_of_those_below_it_on_top(system: ActorSystem, gate: Gate) -> None:
    gone = abandoned(system)
    boss = system.spawn(Supervisor, name="boss", spec=ChildSpec(shutdown=0.5))
    for name in ("a", "b"):
        deaf_actor(system, DeafAtTheEnd, gate, name=name, under=boss, spec=ChildSpec(shutdown=0.2))
    assert timed(lambda: system.stop(timeout=WAIT)) >= 0.4
    assert gone == ["halt/user/boss/b", "halt/user/boss/a"]


# -- the time of the whole stop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("kind", DEAF)
def test_a_stop_comes_back_in_time_however_many_are_deaf_and_reports_each(
    system: ActorSystem, gate: Gate, kind: Any, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    diary, gone = Diary(), abandoned(system)
    system.spawn(partial(Named, diary, "one that listens"))
    for number in range(count):
        deaf_actor(system, kind, gate, name=f"deaf-{number}", spec=ChildSpec(shutdown=60.0))
    assert timed(lambda: system.stop(TIMEOUT)) < BOUND
    assert sorted(gone) == sorted(f"halt/user/deaf-{number}" for number in range(count))
    for path in gone:
        assert f"{path} did not stop in time; its thread is left behind" in caplog.text
    assert diary == ["one that listens"]
    assert system.state == "stopped"


def test_one_that_a_left_behind_supervisor_waits_for_is_reported_with_it(system: ActorSystem, gate: Gate) -> None:
    gone = abandoned(system)
    boss = system.spawn(Supervisor, name="boss", spec=ChildSpec(shutdown=0.0))
    deaf_actor(system, DeafAtTheEnd, gate, name="deaf", under=boss, spec=ChildSpec(shutdown=0.2))
    instance = boss._cell.instance
    assert isinstance(instance, Supervisor)
    # Its own timer does not come, as when it comes a moment too late.
    instance._arm = lambda due: None  # type: ignore[method-assign]
    assert timed(lambda: system.stop(timeout=WAIT)) < WAIT
    assert gone == ["halt/user/boss/deaf"]


def test_deaf_ones_below_several_supervisors_do_not_add_up(system: ActorSystem, gate: Gate) -> None:
    gone = abandoned(system)
    boss = system.spawn(Supervisor, name="boss")
    for number in range(5):
        below = system.spawn(Supervisor, name=f"below-{number}", under=boss)
        for name in "abc":
            deaf_actor(system, DeafToMessages, gate, name=name, under=below, spec=ChildSpec(shutdown=60.0))
    assert timed(lambda: system.stop(TIMEOUT)) < BOUND
    assert len(set(gone)) == 15


def test_a_supervisor_whose_own_code_hangs_is_left_behind_with_all_below_it(system: ActorSystem, gate: Gate) -> None:
    class Deaf(Supervisor):
        def on_receive(self, message: Any) -> None:
            message.set()
            gate.wait(WAIT)

    gone = abandoned(system)
    boss = system.spawn(Deaf, name="boss", spec=ChildSpec(shutdown=60.0))
    deaf_actor(system, DeafToMessages, gate, name="child", under=boss, spec=ChildSpec(shutdown=60.0))
    inside = Gate()
    boss.tell(inside)
    inside.pass_through()
    assert timed(lambda: system.stop(TIMEOUT)) < BOUND
    assert sorted(gone) == ["halt/user/boss", "halt/user/boss/child"]


@pytest.mark.parametrize("pinned", [False, True])
def test_an_actor_that_hangs_while_it_starts_does_not_hold_up_the_stop(
    system: ActorSystem, gate: Gate, *, pinned: bool
) -> None:
    class Starts(Actor):
        def on_start(self) -> None:
            inside.set()
            gate.wait(WAIT)

    Starts.pinned = pinned
    inside, gone = Gate(), abandoned(system)
    answers: list[BaseException] = []

    def spawn() -> None:
        try:
            system.spawn(Starts, name="starts")
        except BaseException as error:
            answers.append(error)

    spawning = threading.Thread(target=spawn, daemon=True)
    spawning.start()
    inside.pass_through()
    assert timed(lambda: system.stop(TIMEOUT)) < BOUND
    spawning.join(WAIT)
    assert isinstance(answers[0], SystemNotRunning | ActorStartFailed)
    assert gone == ["halt/user/starts"]


def test_deaf_handlers_and_deaf_actors_together_do_not_hold_up_the_stop(lab: Lab, gate: Gate) -> None:
    class JobHandler(TaskHandler[Job]):
        def handle(self, task: Job, ctx: TaskContext) -> str:
            if ctx.task.n == 0 and not again:
                inside.set()
                gate.wait(WAIT)
            return "done"

    again: list[bool] = []
    inside = Gate()
    system = lab.system(JobHandler)
    gone = abandoned(system)
    for number in range(5):
        deaf_actor(system, DEAF[number % len(DEAF)], gate, name=f"deaf-{number}", spec=ChildSpec(shutdown=60.0))
    job = system.dispatch(Job())
    inside.pass_through()
    assert timed(lambda: system.stop(TIMEOUT)) < BOUND
    assert len(gone) == 5
    again.append(True)
    next_one = lab.system(JobHandler)
    assert next_one.task(job.id).result(WAIT) == "done"
    assert next_one.get(job.id).status is TaskStatus.COMPLETED


# -- from inside -----------------------------------------------------------------------------------------------------


class StopsInMessage(Actor):
    def __init__(self, stop: Callable[[], object]) -> None:
        super().__init__()
        self.do_stop = stop

    def on_receive(self, message: Any) -> str:
        self.do_stop()
        return "went on"


class StopsInAsyncMessage(Actor):
    def __init__(self, stop: Callable[[], object]) -> None:
        super().__init__()
        self.do_stop = stop

    async def on_receive(self, message: Any) -> str:
        self.do_stop()
        await asyncio.sleep(0)
        return "went on"


@pytest.mark.parametrize("kind", [StopsInMessage, StopsInAsyncMessage])
def test_a_stop_from_an_actors_message_only_asks_for_it(system: ActorSystem, kind: Any) -> None:
    diary = Diary()
    system.spawn(partial(Named, diary, "another"))
    assert system.spawn(lambda: kind(lambda: system.stop(timeout=WAIT))).ask("stop") == "went on"
    until(lambda: system.state == "stopped")
    assert diary == ["another"]


def test_a_stop_from_the_hooks_of_an_actor_only_asks_for_it(system: ActorSystem) -> None:
    diary = Diary()

    class Stops(Actor):
        def on_start(self) -> None:
            system.stop(timeout=WAIT)
            diary.note("started")

        def on_stop(self) -> None:
            system.stop(timeout=WAIT)
            diary.note("stopped")

    try:
        system.spawn(Stops)
    except SystemNotRunning:
        pass  # whichever comes first
    until(lambda: system.state == "stopped")
    assert diary == ["started", "stopped"]


def test_a_stop_from_an_actor_that_is_not_of_the_system_waits_for_its_end(system: ActorSystem) -> None:
    alone = StopsInMessage.start(lambda: system.stop(timeout=WAIT))
    try:
        assert alone.ask("stop") == "went on"
        assert system.state == "stopped"
    finally:
        alone.stop()


def test_a_second_stop_waits_for_the_first(system: ActorSystem, gate: Gate) -> None:
    deaf_actor(system, DeafAtTheEnd, gate, spec=ChildSpec(shutdown=WAIT))
    stops = [threading.Thread(target=partial(system.stop, WAIT), daemon=True) for _ in range(3)]
    for each in stops:
        each.start()
    until(lambda: system.state == "stopping")
    assert all(each.is_alive() for each in stops)
    gate.set()
    for each in stops:
        each.join(WAIT)
        assert not each.is_alive()


# -- at the end of the program ---------------------------------------------------------------------------------------


def run(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import logging, threading
            from everact import Actor, ActorSystem, ChildSpec, Settings

            class Polite(Actor):
                def on_stop(self):
                    print("polite has stopped", flush=True)

            class Deaf(Actor):
                def on_receive(self, message):
                    message.set()
                    threading.Event().wait(60)
            """
        )
        + textwrap.dedent(body)
    )
    return subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=False)


def test_actors_of_a_system_that_was_forgotten_stop_at_exit(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        system = ActorSystem("forgotten")
        system.start()
        system.spawn(Polite)
        print("the program is over", flush=True)
        """,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["the program is over", "polite has stopped"]


def test_a_deaf_actor_does_not_keep_the_program_from_exiting(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        system = ActorSystem("forgotten", settings=Settings(grace=0.1))
        system.start()
        system.spawn(Polite)
        inside = threading.Event()
        system.spawn(Deaf, name="deaf", spec=ChildSpec(shutdown=0.2)).tell(inside)
        inside.wait(10)
        logging.basicConfig()
        """,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["polite has stopped"]
    assert "forgotten/user/deaf was still stopping after 0.2 s; its thread is left behind" in ended.stderr


def test_leaving_the_block_by_an_exception_stops_actors_in_order_and_lets_the_exception_through(gate: Gate) -> None:
    diary = Diary()
    system = ActorSystem("halt", settings=Settings(grace=GRACE))

    def program() -> None:
        with system:
            system.spawn(partial(Named, diary, "first"))
            deaf_actor(system, DeafToMessages, gate, spec=ChildSpec(shutdown=60.0))
            system.spawn(partial(Named, diary, "last"))
            msg = "the program's own"
            raise LookupError(msg)

    begun = time.monotonic()
    with pytest.raises(LookupError, match="the program's own"):
        program()
    assert time.monotonic() - begun < GRACE + 5.0
    assert diary == ["last", "first"]
    assert system.state == "stopped"
