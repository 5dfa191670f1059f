"""A supervisor and its children: restarts that senders do not notice, directives, hooks, rounds, and spawns."""

import threading
from typing import Any

import pytest

from everact import (
    Actor,
    ActorDead,
    ActorStartFailed,
    ActorSystem,
    Backoff,
    ChildSpec,
    ConfigurationError,
    Directive,
    Intensity,
    Restart,
    RestartsExhausted,
    Strategy,
    Supervisor,
)
from everact.actors.lifecycle import CellState, Ended, Failed
from everact.tasks.events import ChildFailed
from tests.supervision.conftest import WAIT, Crash, Facts, Journal, Part, at_once, until

SLOW = Backoff(600, most=600, jitter=0)


def settled(supervisor: Any) -> None:
    """Wait until a supervisor has dealt with all that it was told; its orders come before its mailbox."""
    supervisor.ask("settled", timeout=WAIT)


def child_of(supervisor: Any, name: str) -> Any:
    """A child as its supervisor knows it."""
    return supervisor._cell.instance._children[name]


def names(system: ActorSystem, below: str) -> list[str]:
    return [info.name for info in system.actors() if info.path.startswith(f"{below}/")]


def generation(system: ActorSystem, name: str) -> int:
    return next(info.generation for info in system.actors() if info.name == name)


# -- a restart, seen by senders ----------------------------------------------------------------------------------


def test_a_restart_keeps_the_reference_valid_and_makes_the_state_fresh(system: ActorSystem, journal: Journal) -> None:
    ref = system.spawn(journal.part("a"), spec=at_once())
    assert ref.ask(1) == [1]
    ref.tell("crash")
    assert ref.ask(2) == [2]
    assert ref.is_alive()
    assert journal.refs["a"] is ref


def test_messages_that_wait_while_an_actor_fails_are_handled_in_order_by_the_next_instance(
    system: ActorSystem, journal: Journal
) -> None:
    ref = system.spawn(journal.part("a"), spec=at_once())
    gate = threading.Event()
    ref.tell(gate)
    ref.tell("crash")
    for number in range(100):
        ref.tell(number)
    last = ref.ask("last", block=False)
    gate.set()
    assert last.get(timeout=WAIT) == [*range(100), "last"]
    assert [letter.message for letter in system.dead_letters()] == ["crash"]


def test_messages_that_come_during_the_backoff_wait_for_the_next_instance(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    ref = system.spawn(journal.part("a"), spec=ChildSpec(backoff=Backoff(0.05, most=0.05, jitter=0)))
    ref.tell("crash")
    assert facts.next(ChildFailed).decision == "restart in 0.05 s"
    assert [ref.ask(number, block=True, timeout=WAIT)[-1] for number in range(3)] == [0, 1, 2]


def test_a_message_that_failed_is_not_handled_again(system: ActorSystem, journal: Journal) -> None:
    ref = system.spawn(journal.part("a"), spec=at_once())
    with pytest.raises(Crash):
        ref.ask("crash")
    assert ref.ask("hello") == ["hello"]
    assert system.dead_letters() == []  # who asked has got the error


def test_a_proxy_goes_on_after_a_restart(system: ActorSystem) -> None:
    class Counter(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

        def fail(self) -> None:
            raise Crash

    proxy = system.spawn(Counter, spec=at_once()).proxy()
    assert [proxy.add().get(), proxy.add().get()] == [1, 2]
    with pytest.raises(Crash):
        proxy.fail().get()
    assert proxy.add().get() == 1
    assert proxy.count.get() == 1


# -- hooks -------------------------------------------------------------------------------------------------------


def test_the_old_instance_has_its_on_failure_and_the_new_one_its_on_start_and_later_its_on_stop(
    system: ActorSystem,
) -> None:
    told: list[tuple[str, int]] = []

    class Hooked(Actor):
        made = 0

        def __init__(self) -> None:
            super().__init__()
            Hooked.made += 1
            self.number = Hooked.made

        def on_start(self) -> None:
            told.append(("on_start", self.number))

        def on_stop(self) -> None:
            told.append(("on_stop", self.number))

        def on_failure(self, kind: Any, error: Any, traceback: Any) -> None:
            assert (kind, error.args, traceback is error.__traceback__) == (Crash, ("why",), True)
            told.append(("on_failure", self.number))

        def on_receive(self, message: Any) -> Any:
            raise Crash(message)

    ref = system.spawn(Hooked, spec=at_once())
    with pytest.raises(Crash):
        ref.ask("why")
    ref.stop()
    assert told == [("on_start", 1), ("on_failure", 1), ("on_start", 2), ("on_stop", 2)]


def test_a_hook_that_raises_does_not_keep_the_next_instance_from_starting(system: ActorSystem) -> None:
    class Clumsy(Actor):
        def on_failure(self, *_: object) -> None:
            raise Crash("again")

        def on_receive(self, message: Any) -> Any:
            if message == "crash":
                raise Crash(message)
            return message

    ref = system.spawn(Clumsy, spec=at_once())
    ref.tell("crash")
    assert ref.ask("hello", timeout=WAIT) == "hello"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit], ids=lambda error: error.__name__)
def test_a_base_exception_is_a_failure_of_this_actor_and_of_no_other(
    system: ActorSystem, error: type[BaseException]
) -> None:
    class Leaving(Actor):
        def on_receive(self, message: Any) -> Any:
            if message == "leave":
                raise error
            return message

    leaving, other = system.spawn(Leaving, spec=at_once()), system.spawn(Leaving)
    with pytest.raises(error):
        leaving.ask("leave")
    assert (leaving.ask("here", timeout=WAIT), other.ask("here")) == ("here", "here")
    assert generation(system, other.path.rpartition("/")[2]) == 1


# -- directives --------------------------------------------------------------------------------------------------


def test_resume_lets_the_same_instance_go_on_and_calls_no_hook(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    ref = system.spawn(journal.part("a"), spec=at_once(on={Crash: Directive.RESUME}))
    ref.tell(1)
    ref.tell("crash")
    assert ref.ask(2, timeout=WAIT) == [1, 2]
    assert facts.next(ChildFailed).decision == "resume"
    assert journal.lines == ["start a"]


def test_resume_counts_for_no_intensity(system: ActorSystem, journal: Journal) -> None:
    children = [at_once(journal.part("a"), "a", on={Crash: Directive.RESUME})]
    system.spawn(lambda: Supervisor(children, intensity=Intensity(0)))
    for _ in range(10):
        journal.refs["a"].tell("crash")
    assert journal.refs["a"].ask("hello", timeout=WAIT) == ["hello"]


def test_stop_ends_the_child_for_good_and_makes_dead_letters_of_what_waits(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    ref = system.spawn(journal.part("a"), name="a", spec=at_once(on={Crash: Directive.STOP}))
    gate = threading.Event()
    ref.tell(gate)
    ref.tell("crash")
    waiting = ref.ask("waits", block=False)
    gate.set()
    with pytest.raises(ActorDead, match="stopped before it came to this message"):
        waiting.get(timeout=WAIT)
    assert facts.next(ChildFailed).decision == "stop"
    assert ref.actor_stopped.wait(WAIT)
    with pytest.raises(ActorDead, match="start or spawn it again, and use the new reference"):
        ref.tell("late")
    assert [letter.message for letter in system.dead_letters()] == ["crash", "waits"]
    assert journal.lines == ["start a", "fail a"]
    assert system.spawn(journal.part("a"), name="a").ask(1) == [1]


def test_escalate_makes_the_supervisor_fail_with_the_same_error(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    system.spawn(
        lambda: Supervisor(
            [at_once(journal.part("a"), "a"), at_once(journal.part("b"), "b", on={Crash: Directive.ESCALATE})]
        ),
        name="inner",
        spec=at_once(),
    )
    journal.wait_for("start a", "start b")
    journal.refs["b"].tell("crash")
    journal.wait_for("start a", "start b", "fail b", "stop a", "start a", "start b")
    first, second = facts.next(ChildFailed), facts.next(ChildFailed)
    assert (first.child, first.decision) == ("tree/user/inner/b", "escalate")
    assert (second.child, second.decision) == ("tree/user/inner", "restart in 0 s")
    assert first.error == second.error == "tests.supervision.conftest.Crash: b"


def test_a_supervisor_that_gave_up_and_whose_spec_says_resume_starts_its_children_again(
    system: ActorSystem, journal: Journal
) -> None:
    system.spawn(
        lambda: Supervisor([at_once(journal.part(name), name) for name in "ab"], intensity=Intensity(0)),
        spec=at_once(on={RestartsExhausted: Directive.RESUME}),
    )
    journal.refs["a"].tell("crash")
    assert journal.refs["a"].ask(1, timeout=WAIT) == [1]
    assert journal.refs["b"].ask(2, timeout=WAIT) == [2]
    assert journal.lines == ["start a", "start b", "stop b", "fail a", "start a", "start b"]


def test_a_supervisor_that_fails_while_it_gives_up_and_is_resumed_has_given_up_all_the_same(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    class Busy(Supervisor):
        def on_receive(self, message: Any) -> Any:
            if not isinstance(message, threading.Event):
                raise Crash(message)
            return message.wait(WAIT)

    above, below = threading.Event(), threading.Event()
    parts = [at_once(journal.part(name), name) for name in "ab"]
    inner = at_once(lambda: Busy(parts, intensity=Intensity(0)), "inner", on={Crash: Directive.RESUME})
    outer = system.spawn(lambda: Busy([inner]))
    busy = outer._cell.children["inner"].ref
    journal.refs["b"].tell(below)  # it keeps its supervisor from being done with giving up
    outer.tell(above)  # and this one from deciding
    until(lambda: journal.refs["b"]._cell.mailbox.empty() and outer._cell.mailbox.empty())
    journal.refs["a"].tell("crash")
    assert facts.next(ChildFailed).decision == "give up"
    busy.tell("crash")
    until(lambda: busy._cell.state is CellState.SUSPENDED)
    below.set()
    until(lambda: all(cell.state is CellState.DOWN for cell in busy._cell.children.values()))
    until(lambda: not busy._cell._orders)
    above.set()
    assert [facts.next(ChildFailed).decision for _ in range(2)] == ["resume", "restart in 0 s"]
    assert journal.refs["a"].ask(1, timeout=WAIT) == [1]


def test_the_failure_report_names_supervisor_child_instance_cause_and_decision(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    ref = system.spawn(journal.part("a"), name="a", spec=at_once())
    for number in (1, 2):
        ref.tell("crash")
        fact = facts.next(ChildFailed)
        assert (fact.supervisor, fact.child, fact.generation) == ("tree/user", "tree/user/a", number)
        assert (fact.error, fact.decision) == ("tests.supervision.conftest.Crash: a", "restart in 0 s")


# -- stale reports -----------------------------------------------------------------------------------------------


def test_a_failure_report_of_an_older_instance_changes_nothing(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    supervisor = system.spawn(lambda: Supervisor([at_once(journal.part("a"), "a")], intensity=Intensity(1)))
    ref = journal.refs["a"]
    ref.tell("crash")
    ref.ask(1)
    for report in (Failed(ref._cell, 1, Crash("late")), Ended(ref._cell, 1)) * 5:
        supervisor._cell.tell_order(report)
    settled(supervisor)
    assert ref.ask(2) == [1, 2]
    assert generation(system, "a") == 2


def test_positive_control_the_same_report_of_this_instance_restarts_it(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    supervisor = system.spawn(lambda: Supervisor([at_once(journal.part("a"), "a")]))
    ref = journal.refs["a"]
    ref.ask(1)
    supervisor._cell.tell_order(Failed(ref._cell, 1, Crash("now")))
    settled(supervisor)
    assert ref.ask(2) == [2]


def test_a_failure_that_is_heard_while_a_round_has_the_child_counts_no_second_time(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    supervisor = system.spawn(
        lambda: Supervisor([ChildSpec(journal.part("a"), name="a", backoff=SLOW)], intensity=Intensity(5))
    )
    ref = journal.refs["a"]
    ref.tell("crash")
    child = child_of(supervisor, "a")
    until(lambda: child.playing is not None and not child.playing.stopping)
    # As from a turn that has reported and was then left behind: the instance is this one, its cell is down.
    supervisor._cell.tell_order(Failed(ref._cell, 1, Crash("again")))
    settled(supervisor)
    assert journal.lines == ["start a", "fail a"]
    assert child.failures == 1


# -- rounds ------------------------------------------------------------------------------------------------------


def test_a_failing_child_waits_for_no_others_backoff(system: ActorSystem, journal: Journal) -> None:
    system.spawn(
        lambda: Supervisor(
            [ChildSpec(journal.part("slow"), name="slow", backoff=SLOW), at_once(journal.part("b"), "b")]
        )
    )
    journal.refs["slow"].tell("crash")
    journal.wait_for("start slow", "start b", "fail slow")
    journal.refs["b"].tell("crash")
    assert journal.refs["b"].ask(1, timeout=WAIT) == [1]
    journal.wait_for("start slow", "start b", "fail slow", "fail b", "start b")


@pytest.mark.parametrize("how", ["stopped", "giving up"])
def test_a_supervisor_on_its_way_down_starts_nobody_whose_backoff_passes_meanwhile(
    system: ActorSystem, journal: Journal, how: str
) -> None:
    gate = threading.Event()
    brief = ChildSpec(journal.part("a"), name="a", backoff=Backoff(0.05, most=0.05, jitter=0))
    parts = [brief, at_once(journal.part("b"), "b"), at_once(journal.part("c"), "c", on={Crash: Directive.ESCALATE})]
    over = system.spawn(lambda: Supervisor(parts), spec=ChildSpec(backoff=SLOW))
    other = system.spawn(journal.part("other"), spec=ChildSpec(backoff=Backoff(0.1, most=0.1, jitter=0)))
    journal.refs["b"].tell(gate)  # it keeps its supervisor on the way
    until(journal.refs["b"]._cell.mailbox.empty)
    journal.refs["a"].tell("crash")
    until(lambda: child_of(over, "a").playing is not None)
    if how == "stopped":
        over.stop(block=False)
    else:
        journal.refs["c"].tell("crash")
    until(lambda: "stop c" in journal.lines or "fail c" in journal.lines)
    other.tell("crash")  # it is started later than the other one would be
    until(lambda: journal.lines.count("start other") == 2)
    gate.set()
    until(lambda: "stop b" in journal.lines)
    assert journal.lines.count("start a") == 1


def test_a_failure_of_a_sibling_takes_over_a_round_that_waits_for_its_backoff(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    system.spawn(
        lambda: Supervisor(
            [
                at_once(journal.part("a"), "a"),
                ChildSpec(journal.part("b"), name="b", backoff=SLOW),
                at_once(journal.part("c"), "c"),
            ],
            strategy=Strategy.REST_FOR_ONE,
        )
    )
    journal.refs["b"].tell("crash")
    journal.wait_for("start a", "start b", "start c", "stop c", "fail b")
    journal.clear()
    journal.refs["a"].tell("crash")
    journal.wait_for("fail a", "start a", "start b", "start c")
    assert [journal.refs[name].ask(1, timeout=WAIT) for name in "abc"] == [[1], [1], [1]]


def test_a_temporary_child_that_is_hit_by_the_round_of_a_sibling_is_gone(system: ActorSystem, journal: Journal) -> None:
    supervisor = system.spawn(
        lambda: Supervisor(
            [
                at_once(journal.part("a"), "a"),
                at_once(journal.part("b"), "b", restart=Restart.TEMPORARY),
                at_once(journal.part("c"), "c"),
            ],
            strategy=Strategy.ONE_FOR_ALL,
        ),
        name="all",
    )
    journal.refs["c"].tell("crash")
    journal.wait_for("start a", "start b", "start c", "fail c", "stop b", "stop a", "start a", "start c")
    settled(supervisor)
    assert not journal.refs["b"].is_alive()
    assert names(system, "tree/user/all") == ["a", "c"]


def test_a_child_that_is_about_to_be_stopped_by_a_round_may_fail_meanwhile(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    gate = threading.Event()
    supervisor = system.spawn(
        lambda: Supervisor(
            [at_once(journal.part(name), name) for name in "abc"],
            strategy=Strategy.ONE_FOR_ALL,
            intensity=Intensity(1),
        )
    )
    journal.refs["c"].tell(gate)  # the round starts with it, and waits
    until(journal.refs["c"]._cell.mailbox.empty)
    journal.refs["b"].tell("crash")
    facts.next(ChildFailed)
    with pytest.raises(Crash):
        journal.refs["a"].ask("crash")
    gate.set()
    journal.wait_for("start a", "start b", "start c", "stop c", "fail b", "fail a", "start a", "start b", "start c")
    settled(supervisor)
    assert [generation(system, name) for name in "abc"] == [2, 2, 2]


def test_the_backoff_grows_with_each_failure_and_begins_again_after_a_lasting_success(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    backoff = Backoff(0.01, most=0.04, factor=2, jitter=0)
    supervisor = system.spawn(
        lambda: Supervisor([ChildSpec(journal.part("a"), name="a", backoff=backoff)], intensity=Intensity(100))
    )
    decisions = []
    for _ in range(4):
        journal.refs["a"].tell("crash")
        decisions.append(facts.next(ChildFailed).decision)
        journal.refs["a"].ask("up", timeout=WAIT)
    assert decisions == ["restart in 0.01 s", "restart in 0.02 s", "restart in 0.04 s", "restart in 0.04 s"]
    child = child_of(supervisor, "a")
    settled(supervisor)
    child.started -= 0.05  # it has lasted longer than `most`
    journal.refs["a"].tell("crash")
    assert facts.next(ChildFailed).decision == "restart in 0.01 s"


# -- the end of a child ------------------------------------------------------------------------------------------


def test_a_stop_from_outside_is_final_for_a_permanent_child(system: ActorSystem, journal: Journal) -> None:
    supervisor = system.spawn(lambda: Supervisor([at_once(journal.part(name), name) for name in "ab"]), name="two")
    assert journal.refs["a"].stop() is True
    settled(supervisor)
    assert journal.lines == ["start a", "start b", "stop a"]
    assert names(system, "tree/user/two") == ["b"]
    assert journal.refs["a"].stop() is False


def test_a_name_is_free_again_once_its_actor_has_stopped(system: ActorSystem, journal: Journal) -> None:
    for number in range(50):
        ref = system.spawn(journal.part("a"), name="same")
        assert ref.ask(number) == [number]
        ref.stop()


def test_what_a_child_does_about_its_end_is_awaited_when_the_system_stops(journal: Journal) -> None:
    gate, ending = threading.Event(), threading.Event()

    class Closing(Part):
        def on_failure(self, *_: object) -> None:
            ending.set()
            assert gate.wait(WAIT)
            super().on_failure()

    system = ActorSystem("tree")
    system.start()
    ref = system.spawn(lambda: Closing(journal, "a"), spec=at_once(restart=Restart.TEMPORARY))
    ref.tell("crash")
    assert ending.wait(WAIT)
    stopping = threading.Thread(target=system.stop)
    stopping.start()
    gate.set()
    stopping.join(WAIT)
    assert journal.lines == ["start a", "fail a"]


def test_a_stopped_supervisor_ends_all_below_it_before_itself(system: ActorSystem, journal: Journal) -> None:
    class Inner(Supervisor):
        def on_failure(self, *_: object) -> None:
            journal.write("fail inner")

    ref = system.spawn(
        lambda: Inner(
            [at_once(journal.part("a"), "a", on={Crash: Directive.ESCALATE}), at_once(journal.part("b"), "b")]
        ),
        spec=at_once(on={Crash: Directive.STOP}),
    )
    journal.refs["a"].tell("crash")
    assert ref.actor_stopped.wait(WAIT)
    journal.wait_for("start a", "start b", "stop b", "fail a", "fail inner")


# -- spawning ----------------------------------------------------------------------------------------------------


def test_a_spawn_returns_when_the_actor_is_up(system: ActorSystem, journal: Journal) -> None:
    ref = system.spawn(journal.part("a"), name="a")
    assert journal.lines == ["start a"]
    assert ref.path == "tree/user/a"


@pytest.mark.parametrize("where", ["factory", "on_start"])
def test_a_spawn_that_fails_raises_with_the_cause_and_leaves_nothing(
    system: ActorSystem, journal: Journal, where: str
) -> None:
    def factory() -> Actor:
        if where == "factory":
            raise Crash("a")
        journal.failing_starts["a"] = 1
        return Part(journal, "a")

    for _ in range(20):
        with pytest.raises(ActorStartFailed, match=r"tree/user/a could not start .*; it is not spawned") as caught:
            system.spawn(factory, name="a")
        assert isinstance(caught.value.__cause__, Crash)
        assert "a" not in names(system, "tree/user")
    assert system.spawn(journal.part("a"), name="a").ask(1) == [1]


def test_a_factory_that_makes_no_new_actor_is_refused_with_what_it_must_do(system: ActorSystem) -> None:
    with pytest.raises(ActorStartFailed, match="it must make one on every call"):
        system.spawn(lambda: "no actor")  # type: ignore[type-var]


def test_a_taken_name_is_refused_and_the_first_actor_goes_on(system: ActorSystem, journal: Journal) -> None:
    first = system.spawn(journal.part("a"), name="a")
    with pytest.raises(ConfigurationError, match="tree/user has a child 'a' already; give this one another name"):
        system.spawn(journal.part("a"), name="a")
    assert first.ask(1) == [1]


def test_actors_without_a_name_get_one_from_their_class(system: ActorSystem) -> None:
    class Stock(Actor):
        pass

    assert [system.spawn(Stock).path for _ in range(2)] == ["tree/user/stock-1", "tree/user/stock-2"]


def test_a_spawn_below_a_supervisor_shares_its_strategy_and_intensity(system: ActorSystem, journal: Journal) -> None:
    over = system.spawn(
        lambda: Supervisor([at_once(journal.part("a"), "a")], strategy=Strategy.ONE_FOR_ALL), name="over"
    )
    ref = system.spawn(journal.part("b"), name="b", spec=at_once(), under=over)
    assert ref.path == "tree/user/over/b"
    ref.tell("crash")
    journal.wait_for("start a", "start b", "fail b", "stop a", "start a", "start b")


def test_a_spawn_below_what_is_no_supervisor_or_has_stopped_is_refused(system: ActorSystem, journal: Journal) -> None:
    part, over = system.spawn(journal.part("a")), system.spawn(Supervisor)
    with pytest.raises(ConfigurationError, match="is no Supervisor; only these have children"):
        system.spawn(Actor, under=part)
    over.stop()
    with pytest.raises(ActorDead, match="nothing can be spawned below it"):
        system.spawn(Actor, under=over)


def test_a_spawn_below_a_supervisor_that_is_being_restarted_fails_at_once(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    over = system.spawn(
        lambda: Supervisor([at_once(journal.part("a"), "a", on={Crash: Directive.ESCALATE})]),
        spec=ChildSpec(backoff=SLOW),
    )
    journal.refs["a"].tell("crash")
    facts.next(ChildFailed)
    facts.next(ChildFailed)
    with pytest.raises(ActorStartFailed, match="its supervisor is stopping or being started again"):
        system.spawn(Actor, under=over)


def test_a_spawn_that_is_under_way_when_its_supervisor_stops_fails_at_once(
    system: ActorSystem, journal: Journal
) -> None:
    gate, starting = threading.Event(), threading.Event()

    class Slow(Actor):
        def on_start(self) -> None:
            starting.set()
            gate.wait(WAIT)

    over = system.spawn(Supervisor)
    failures: list[BaseException] = []

    def spawn() -> None:
        try:
            system.spawn(Slow, under=over)
        except ActorStartFailed as error:
            failures.append(error)

    spawning = threading.Thread(target=spawn)
    spawning.start()
    assert starting.wait(WAIT)
    stopped = over.stop(block=False)
    spawning.join(WAIT)
    assert "its supervisor is stopping" in str(failures[0])
    gate.set()
    assert stopped.get(timeout=WAIT) is True


def test_children_that_were_spawned_below_a_supervisor_are_gone_when_it_is_restarted(
    system: ActorSystem, journal: Journal
) -> None:
    over = system.spawn(
        lambda: Supervisor([at_once(journal.part("a"), "a", on={Crash: Directive.ESCALATE})]),
        name="over",
        spec=at_once(),
    )
    extra = system.spawn(journal.part("b"), name="b", under=over)
    journal.refs["a"].tell("crash")
    assert journal.refs["a"].ask(1, timeout=WAIT) == [1]
    settled(over)
    assert not extra.is_alive()
    assert names(system, "tree/user/over") == ["a"]


# -- supervisors -------------------------------------------------------------------------------------------------


def test_the_children_of_a_restarted_supervisor_keep_address_and_mailbox(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    system.spawn(
        lambda: Supervisor([at_once(journal.part(name), name) for name in "ab"], intensity=Intensity(0)),
        spec=ChildSpec(backoff=Backoff(0.05, most=0.05, jitter=0)),
    )
    a, b = journal.refs["a"], journal.refs["b"]
    a.tell("crash")
    facts.next(ChildFailed)
    facts.next(ChildFailed)
    replies = [ref.ask(number, block=False) for number in range(5) for ref in (a, b)]
    assert [reply.get(timeout=WAIT) for reply in replies][-1] == [0, 1, 2, 3, 4]
    assert journal.refs["a"] is a
    assert journal.refs["b"] is b
    assert [letter.message for letter in system.dead_letters()] == ["crash"]


def test_the_children_of_a_restarted_supervisor_are_made_by_its_new_factories(
    system: ActorSystem, journal: Journal
) -> None:
    class Owner(Supervisor):
        made = 0

        def __init__(self) -> None:
            Owner.made += 1
            super().__init__([at_once(lambda: Tagged(self.tag), "tagged", on={Crash: Directive.ESCALATE})])
            self.tag = Owner.made

    class Tagged(Actor):
        def __init__(self, tag: int) -> None:
            super().__init__()
            self.tag = tag
            journal.refs["tagged"] = self.actor_ref

        def on_receive(self, message: Any) -> Any:
            if message == "crash":
                raise Crash(message)
            return self.tag

    system.spawn(Owner, spec=at_once())
    ref = journal.refs["tagged"]
    assert ref.ask("tag") == 1
    ref.tell("crash")
    assert ref.ask("tag", timeout=WAIT) == 2


def test_a_supervisor_whose_own_code_fails_is_restarted_with_its_children(
    system: ActorSystem, journal: Journal
) -> None:
    class Clumsy(Supervisor):
        def on_receive(self, message: Any) -> Any:
            raise Crash(message)

    ref = system.spawn(lambda: Clumsy([at_once(journal.part("a"), "a")]), spec=at_once())
    with pytest.raises(Crash):
        ref.ask("anything")
    journal.wait_for("start a", "stop a", "start a")


def test_an_error_in_the_code_that_decides_is_a_failure_of_the_supervisor(
    system: ActorSystem, facts: Facts, journal: Journal
) -> None:
    class Broken(Supervisor):
        def _decide(self, *_: object, **__: object) -> None:
            raise Crash("decision")

    system.spawn(lambda: Broken([at_once(journal.part("a"), "a")]), spec=at_once())
    journal.refs["a"].tell("crash")
    assert facts.next(ChildFailed).error == "tests.supervision.conftest.Crash: decision"
    assert journal.refs["a"].ask(1, timeout=WAIT) == [1]


def test_a_supervisor_whose_child_cannot_start_at_first_does_not_start_and_stops_the_others(
    system: ActorSystem, journal: Journal
) -> None:
    journal.failing_starts["b"] = 1
    children = [at_once(journal.part(name), name) for name in "abc"]
    with pytest.raises(ActorStartFailed, match="tree/user/over could not start") as caught:
        system.spawn(lambda: Supervisor(children), name="over")
    assert isinstance(caught.value.__cause__, ActorStartFailed)
    assert journal.lines == ["start a", "no start b", "stop a"]


def test_two_children_of_one_name_or_one_without_a_factory_are_refused(journal: Journal) -> None:
    with pytest.raises(ConfigurationError, match="two children are called 'a'"):
        Supervisor([at_once(Actor, "a"), at_once(Actor, "a")])
    with pytest.raises(ConfigurationError, match="has no factory"):
        Supervisor([ChildSpec(name="a")])


def test_a_supervisor_may_be_written_as_a_class(system: ActorSystem, journal: Journal) -> None:
    class Shop(Supervisor):
        children = (at_once(journal.part("a"), "a"), at_once(journal.part("b"), "b"))
        strategy = Strategy.REST_FOR_ONE
        intensity = Intensity(1)

    system.spawn(Shop)
    journal.refs["a"].tell("crash")
    journal.wait_for("start a", "start b", "stop b", "fail a", "start a", "start b")


# -- standing alone ----------------------------------------------------------------------------------------------


def test_a_supervisor_standing_alone_restarts_its_children(journal: Journal) -> None:
    alone = Supervisor.start([at_once(journal.part("a"), "a")])
    settled(alone)
    ref = journal.refs["a"]
    ref.tell("crash")
    assert ref.ask(1, timeout=WAIT) == [1]
    assert alone.stop() is True
    assert journal.lines == ["start a", "fail a", "start a", "stop a"]
    assert not ref.is_alive()


def test_a_supervisor_standing_alone_ends_when_it_gives_up(journal: Journal) -> None:
    alone = Supervisor.start([at_once(journal.part(name), name) for name in "ab"], intensity=Intensity(0))
    settled(alone)
    journal.refs["a"].tell("crash")
    assert alone.actor_stopped.wait(WAIT)
    journal.wait_for("start a", "start b", "stop b", "fail a")
    until(lambda: not journal.refs["b"].is_alive())
