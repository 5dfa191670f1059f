"""Children that do not end or start in their time: they are left behind, that is reported, and the rest goes on."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from everact import (
    Actor,
    ActorDead,
    ActorStartFailed,
    ActorSystem,
    AskTimeout,
    ChildSpec,
    Intensity,
    Restart,
    Settings,
    Strategy,
    Supervisor,
)
from everact.actors.cell import Cell
from everact.actors.envelope import Envelope
from everact.actors.lifecycle import CellState, Start, TakeDown
from everact.actors.mailbox import Mailbox
from everact.tasks.events import ActorAbandoned, ChildFailed, DeadLetter
from tests.supervision.conftest import WAIT, Crash, Facts, Journal, at_once, until


class Gate(threading.Event):
    """Holds who comes to it until it is opened, and tells that somebody has come."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        self.wait(WAIT)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Holds what hangs, until the test is over."""
    held = Gate()
    yield held
    held.set()


class Deaf(Actor):
    """Ends when the gate opens, and not before."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise Crash(message)
        if message == "hang":
            self.gate.pass_through()
        return message

    def on_stop(self) -> None:
        self.gate.pass_through()

    def on_failure(self, *_: object) -> None:
        self.gate.pass_through()


def pair(journal: Journal, gate: Gate, **options: Any) -> Callable[[], Supervisor]:
    """Two children that cannot do without each other; the second one hangs."""
    return lambda: Supervisor(
        [at_once(journal.part("a"), "a"), at_once(lambda: Enrolled(journal, gate), "deaf", shutdown=0.05, **options)],
        strategy=Strategy.ONE_FOR_ALL,
    )


class Enrolled(Deaf):
    def __init__(self, journal: Journal, gate: Gate) -> None:
        super().__init__(gate)
        journal.refs["deaf"] = self.actor_ref


def test_a_child_that_hangs_when_a_round_stops_it_is_left_behind_and_a_fresh_one_takes_its_address(
    system: ActorSystem, facts: Facts, journal: Journal, gate: Gate
) -> None:
    system.spawn(pair(journal, gate), name="pair")
    deaf = journal.refs["deaf"]
    stuck = deaf.ask("hang", block=False)
    assert gate.reached.wait(WAIT)
    journal.refs["a"].tell("crash")
    abandoned = facts.next(ActorAbandoned)
    assert (abandoned.actor, abandoned.where) == ("tree/user/pair/deaf", "stopping")
    with pytest.raises(ActorDead, match="left behind while it handled this"):
        stuck.get()
    assert deaf.ask("hello") == "hello"
    assert system.health().abandoned_threads == 1
    assert not system.health().healthy


def test_a_thread_that_comes_back_is_counted_no_more_and_changes_nothing(
    system: ActorSystem, facts: Facts, journal: Journal, gate: Gate
) -> None:
    back = threading.Event()

    class Late(Enrolled):
        def on_receive(self, message: Any) -> Any:
            try:
                return super().on_receive(message)
            finally:
                if message == "hang":
                    back.set()

    system.spawn(
        lambda: Supervisor(
            [at_once(journal.part("a"), "a"), at_once(lambda: Late(journal, gate), "deaf", shutdown=0.05)],
            strategy=Strategy.ONE_FOR_ALL,
        )
    )
    deaf = journal.refs["deaf"]
    deaf.tell("hang")
    assert gate.reached.wait(WAIT)
    journal.refs["a"].tell("crash")
    facts.next(ActorAbandoned)
    generation = deaf.ask("hello") and deaf._cell.generation
    gate.set()
    assert back.wait(WAIT)
    until(lambda: not system.health().abandoned_threads)  # the turn has a few more steps to go
    assert deaf.ask("hello") == "hello"
    assert deaf._cell.generation == generation == 2


def test_every_left_behind_thread_is_counted_though_its_actor_is_gone(
    system: ActorSystem, facts: Facts, journal: Journal, gate: Gate
) -> None:
    system.spawn(pair(journal, gate, restart=Restart.TEMPORARY), name="pair")
    journal.refs["deaf"].tell("hang")
    assert gate.reached.wait(WAIT)
    journal.refs["a"].tell("crash")
    facts.next(ActorAbandoned)
    journal.refs["a"].ask("hello")
    assert [info.name for info in system.actors() if "pair/" in info.path] == ["a"]
    assert system.health().abandoned_threads == 1


def test_a_child_whose_failure_means_stop_has_its_shutdown_time_and_is_reported_after_that(
    system: ActorSystem, facts: Facts, gate: Gate
) -> None:
    ref = system.spawn(lambda: Deaf(gate), name="deaf", spec=at_once(restart=Restart.TEMPORARY, shutdown=0.05))
    ref.tell("crash")
    assert facts.next(ChildFailed).decision == "stop"
    assert facts.next(ActorAbandoned).actor == "tree/user/deaf"
    assert ref.actor_stopped.wait(WAIT)
    assert system.health().abandoned_threads == 1


def test_an_actor_that_ends_in_its_time_is_never_reported_however_short_that_is(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    system.spawn(
        lambda: Supervisor(
            [at_once(journal.part(name), name) for name in "abc"],
            strategy=Strategy.ONE_FOR_ALL,
            intensity=Intensity(100, within=60),
        )
    )
    for _ in range(20):
        journal.refs["b"].tell("crash")
        journal.refs["b"].ask("hello")
    system.stop()
    seen = list(facts._queue.queue)
    assert [event for event in seen if isinstance(event, ActorAbandoned)] == []
    assert sum(isinstance(event, ChildFailed) for event in seen) == 20


def test_a_spawn_that_takes_too_long_fails_and_leaves_no_actor(system: ActorSystem, facts: Facts, gate: Gate) -> None:
    class Slow(Actor):
        def on_start(self) -> None:
            gate.pass_through()

    with pytest.raises(ActorStartFailed, match=r"did not start within 0\.05 s") as caught:
        system.spawn(Slow, name="slow", spec=ChildSpec(start_timeout=0.05))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert "slow" not in {info.name for info in system.actors()}
    assert facts.next(ActorAbandoned).where == "starting"
    assert system.health().abandoned_threads == 1


@pytest.mark.parametrize("when", ["before it has made one", "after it has made one"])
def test_a_factory_that_comes_back_after_its_time_does_not_get_in_the_way_of_the_next_one(
    system: ActorSystem, facts: Facts, journal: Journal, when: str
) -> None:
    late = threading.Event()
    made: list[Actor] = []

    class Echo(Actor):
        def on_receive(self, message: Any) -> Any:
            if message == "crash":
                raise Crash(message)
            return message

    def factory() -> Actor:
        turn = len(made)
        made.append(Echo() if when == "after it has made one" or turn != 1 else made[0])
        if turn == 1:  # the first restart
            journal.write("late")
            assert late.wait(WAIT)
            return made[1] if when == "after it has made one" else Echo()
        return made[-1]

    # The backoff after the second failure is long enough for the late factory to come back during it.
    system.spawn(lambda: Supervisor([ChildSpec(factory, name="echo", start_timeout=0.1)]), name="over")
    echo = system._engine.guardian.cell.children["over"].children["echo"]  # type: ignore[union-attr]
    echo.ref.tell("crash")
    journal.wait_for("late")
    facts.next(ActorAbandoned)
    late.set()
    until(lambda: not echo.left_behind)
    assert echo.ref.ask("hello") == "hello"
    failed = [event.error for event in list(facts._queue.queue) if isinstance(event, ChildFailed)]
    assert all("TimeoutError" in error for error in failed), failed


def test_a_child_that_hangs_in_the_stop_that_somebody_ordered_is_gone_when_it_is_left_behind(
    system: ActorSystem, facts: Facts, journal: Journal, gate: Gate
) -> None:
    system.spawn(pair(journal, gate), name="pair")
    deaf = journal.refs["deaf"]
    stopped = deaf.stop(block=False)
    until(lambda: deaf._cell.state is CellState.STOPPING)
    journal.refs["a"].tell("crash")
    facts.next(ActorAbandoned)
    assert stopped.get(timeout=WAIT) is True
    journal.refs["a"].ask("hello")
    assert not deaf.is_alive()
    assert [info.name for info in system.actors() if "pair/" in info.path] == ["a"]


def test_a_system_that_is_told_to_stop_at_once_still_stops_what_comes_to_an_end_in_order() -> None:
    ended: list[str] = []

    class Steady(Actor):
        pinned = True

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        def on_receive(self, message: Any) -> Any:
            return message

        def on_stop(self) -> None:
            ended.append(str(self.number))

    class Top(Supervisor):
        def on_stop(self) -> None:
            ended.append("top")

    system = ActorSystem("brief", settings=Settings(grace=0))
    system.start()
    system.spawn(lambda: Top([at_once(lambda n=n: Steady(n), str(n)) for n in range(5)]), name="top")  # type: ignore[misc]
    system.stop(0.0)
    assert sorted(ended) == ["0", "1", "2", "3", "4", "top"]
    assert ended[-1] == "top"


def test_what_hangs_when_the_system_stops_is_left_behind_and_the_others_end(gate: Gate) -> None:
    ended = threading.Event()

    class Steady(Actor):
        def on_stop(self) -> None:
            ended.set()

    system = ActorSystem("brief", settings=Settings(grace=0))
    facts = Facts(system)
    system.start()
    system.spawn(Steady)
    deaf = system.spawn(lambda: Deaf(gate), name="deaf", spec=at_once(shutdown=600))
    system.stop(0.0)
    assert facts.next(ActorAbandoned).actor == "brief/user/deaf"
    assert ended.is_set()
    assert not deaf.is_alive()


def test_asking_one_that_hangs_ends_with_the_deadline_of_the_ask(system: ActorSystem, gate: Gate) -> None:
    deaf = system.spawn(lambda: Deaf(gate), spec=at_once(shutdown=0.05))
    with pytest.raises(AskTimeout, match=r"0\.05 seconds passed"):
        deaf.ask("hang", timeout=0.05)


def test_a_start_that_comes_back_after_its_time_does_not_end_the_next_one(system: ActorSystem, gate: Gate) -> None:
    second, numbers = Gate(), iter(range(3))

    class Starting(Actor):
        def on_start(self) -> None:
            number = next(numbers)
            if number:
                (gate if number == 1 else second).pass_through()

        def on_receive(self, message: Any) -> Any:
            return message

    ref = system.spawn(Starting)
    cell = ref._cell
    for order in (TakeDown(final=False), Start()):
        cell.tell_order(order)
    assert gate.reached.wait(WAIT)
    assert cell.abandon(final=False)
    cell.tell_order(Start())
    assert second.reached.wait(WAIT)
    gate.set()
    until(lambda: not cell.left_behind)
    assert cell.state is CellState.STARTING
    reply = ref.ask("hello", block=False)
    assert not reply.opened
    second.set()
    assert reply.get(timeout=WAIT) == "hello"


class Counted(Actor):
    """Says how many turns of it are under way at once."""

    pinned = False

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal

    def on_receive(self, message: Any) -> Any:
        self.journal.write(str(message))
        return message


class BadMoment(Mailbox):
    """Calls a function once, when the first message has been taken out and nothing has been done with it."""

    def __init__(self, owner: Cell, then: Callable[[], object]) -> None:
        super().__init__(owner)
        self.then = [then]

    def take(self) -> Envelope | None:
        envelope = super().take()
        if envelope is not None and self.then:
            self.then.pop()()
        return envelope


def test_a_message_that_was_taken_but_not_begun_when_its_actor_is_left_behind_is_a_dead_letter(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    ref = system.spawn(lambda: Counted(journal))
    cell = ref._cell
    cell.mailbox = BadMoment(cell, lambda: cell.abandon(final=False))
    ref.tell("lost")
    assert facts.next(DeadLetter).message == "lost"
    assert journal.lines == []
    assert cell.left_behind == 0


def test_a_message_that_is_handled_just_when_its_actor_is_left_behind_is_no_dead_letter(
    system: ActorSystem, journal: Journal
) -> None:
    ref = system.spawn(lambda: Counted(journal))
    cell = ref._cell
    put_down = type(cell)._put_down

    def put_down_and_be_left(self: Any, envelope: Any) -> bool:
        mine = put_down(self, envelope)
        cell.abandon(final=False)
        return mine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(cell), "_put_down", put_down_and_be_left)
        assert ref.ask("kept", timeout=WAIT) == "kept"
    assert system.dead_letters() == []


def test_a_stop_that_was_taken_but_not_begun_when_its_actor_is_left_behind_is_heard_by_the_next_instance(
    system: ActorSystem, journal: Journal
) -> None:
    ref = system.spawn(lambda: Counted(journal))
    cell = ref._cell

    def leave_behind() -> None:
        cell.abandon(final=False)
        cell.tell_order(Start())

    cell.mailbox = BadMoment(cell, leave_behind)
    assert ref.stop(timeout=WAIT) is True
    assert cell.generation == 2
    assert not ref.is_alive()


def test_a_turn_that_is_left_behind_before_it_has_begun_keeps_no_other_turn_from_running(
    system: ActorSystem, journal: Journal
) -> None:
    ref = system.spawn(lambda: Counted(journal))
    cell, shared = ref._cell, ref._cell._executor
    until(lambda: cell._turnstile._tokens)  # the turn in which it has started has a few more steps to go

    class Interrupting:
        def submit(self, turn: Any) -> None:
            cell._executor = shared
            cell.abandon(final=False)
            cell.tell_order(Start())
            shared.submit(turn)

        def close(self) -> None: ...

    cell._executor = Interrupting()
    assert [ref.ask(number, timeout=WAIT) for number in range(3)] == [0, 1, 2]
    until(lambda: cell.left_behind == 0)
    assert cell._turnstile.fence == 1


def test_messages_wait_in_the_same_mailbox_when_a_restart_makes_an_actor_of_another_class(
    system: ActorSystem, journal: Journal
) -> None:
    class Bounded(Counted):
        mailbox_bound = 10

    class First(Counted):
        def on_receive(self, message: Any) -> Any:
            assert message.wait(WAIT)
            raise Crash(message)

    made = iter([First, Bounded])
    ref: Any = system.spawn(lambda: next(made)(journal), spec=at_once())
    gate = threading.Event()
    ref.tell(gate)
    waiting = [ref.ask(number, block=False) for number in range(3)]
    gate.set()
    assert [reply.get(timeout=WAIT) for reply in waiting] == [0, 1, 2]
