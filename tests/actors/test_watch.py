"""Death watch: one `Terminated` for each end, told to whoever wants to know."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from everact import (
    Actor,
    ActorRef,
    ActorSystem,
    Backoff,
    ChildSpec,
    Directive,
    Intensity,
    Restart,
    RestartsExhausted,
    Supervisor,
    Terminated,
)

WAIT = 10.0
AT_ONCE = Backoff(0, most=0, jitter=0)


class Crash(Exception):
    """What actors under test fail with."""


class Watcher(Actor):
    """Watches what it is told to, and keeps what it hears of that."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Terminated] = []

    def on_receive(self, message: Any) -> Any:
        match message:
            case Terminated():
                self.heard.append(message)
            case ("watch", ref):
                self.watch(ref)
            case ("unwatch", ref):
                self.unwatch(ref)
            case threading.Event():
                assert message.wait(WAIT)
            case "crash":
                raise Crash
        return list(self.heard)


class Mortal(Actor):
    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise Crash(message)
        if message == "stop":
            self.stop()
        return message


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("watch") as running:
        yield running


@pytest.fixture
def watcher(system: ActorSystem) -> ActorRef[Watcher]:
    return system.spawn(Watcher, spec=ChildSpec(backoff=AT_ONCE))


def heard(watcher: ActorRef[Watcher], count: int = 1) -> list[Terminated]:
    """What a watcher has heard, once that are so many. (After a `stop` that returned there is nothing to wait for.)"""
    pause = threading.Event()
    for _ in range(int(WAIT / 0.002)):
        told: list[Terminated] = watcher.ask("heard", block=True)
        if len(told) >= count:
            return told
        pause.wait(0.002)
    pytest.fail(f"it heard of no {count} end(s) in {WAIT} s")


def test_the_end_of_a_watched_actor_is_told_once(system: ActorSystem, watcher: ActorRef[Watcher]) -> None:
    mortal = system.spawn(Mortal)
    watcher.ask(("watch", mortal))
    watcher.ask(("watch", mortal))
    mortal.stop()
    assert watcher.ask("heard") == [Terminated(mortal, None)]
    assert watcher.ask("heard") == [Terminated(mortal, None)]


def test_watching_what_has_ended_already_tells_it_at_once(system: ActorSystem, watcher: ActorRef[Watcher]) -> None:
    mortal = system.spawn(Mortal)
    mortal.stop()
    watcher.ask(("watch", mortal))
    assert watcher.ask("heard") == [Terminated(mortal, None)]


def test_watching_again_after_the_end_was_told_tells_it_again(system: ActorSystem, watcher: ActorRef[Watcher]) -> None:
    mortal = system.spawn(Mortal)
    mortal.stop()
    for _ in range(2):
        watcher.ask(("watch", mortal))
    assert watcher.ask("heard") == [Terminated(mortal, None)] * 2


def test_every_watcher_is_told(system: ActorSystem) -> None:
    mortal, watchers = system.spawn(Mortal), [system.spawn(Watcher) for _ in range(10)]
    for watcher in watchers:
        watcher.ask(("watch", mortal))
    mortal.stop()
    assert [watcher.ask("heard") for watcher in watchers] == [[Terminated(mortal, None)]] * 10


def test_a_watch_that_is_called_off_tells_nothing(system: ActorSystem, watcher: ActorRef[Watcher]) -> None:
    mortal = system.spawn(Mortal)
    watcher.ask(("watch", mortal))
    watcher.ask(("unwatch", mortal))
    mortal.stop()
    assert watcher.ask("heard") == []
    assert system.dead_letters() == []


def test_a_watch_that_is_called_off_hides_what_is_in_the_mailbox_already(
    system: ActorSystem, watcher: ActorRef[Watcher]
) -> None:
    mortal, gate = system.spawn(Mortal), threading.Event()
    watcher.ask(("watch", mortal))
    watcher.tell(gate)
    watcher.tell(("unwatch", mortal))
    mortal.stop()  # its message waits behind the one that calls the watch off
    gate.set()
    assert watcher.ask("heard") == []


def test_a_watch_that_is_called_off_and_begun_again_tells_it_once(
    system: ActorSystem, watcher: ActorRef[Watcher]
) -> None:
    mortal, gate = system.spawn(Mortal), threading.Event()
    watcher.ask(("watch", mortal))
    watcher.tell(gate)
    watcher.tell(("unwatch", mortal))
    watcher.tell(("watch", mortal))
    mortal.stop()
    gate.set()
    watcher.ask("heard")  # behind the second one
    assert watcher.ask("heard") == [Terminated(mortal, None)]


def test_a_restart_is_no_end(system: ActorSystem, watcher: ActorRef[Watcher]) -> None:
    mortal = system.spawn(Mortal, spec=ChildSpec(backoff=AT_ONCE))
    watcher.ask(("watch", mortal))
    mortal.tell("crash")
    assert mortal.ask("hello", timeout=WAIT) == "hello"
    assert watcher.ask("heard") == []


def test_a_restart_of_the_watcher_ends_no_watch(system: ActorSystem, watcher: ActorRef[Watcher]) -> None:
    mortal = system.spawn(Mortal)
    watcher.ask(("watch", mortal))
    watcher.tell("crash")
    assert watcher.ask("heard", timeout=WAIT) == []
    mortal.stop()
    assert watcher.ask("heard") == [Terminated(mortal, None)]


@pytest.mark.parametrize("restart", [Restart.TRANSIENT, Restart.TEMPORARY], ids=lambda restart: restart.value)
def test_an_actor_that_stops_itself_and_is_not_started_again_has_ended_without_a_cause(
    system: ActorSystem, watcher: ActorRef[Watcher], restart: Restart
) -> None:
    mortal = system.spawn(Mortal, spec=ChildSpec(restart=restart))
    watcher.ask(("watch", mortal))
    mortal.tell("stop")
    assert heard(watcher) == [Terminated(mortal, None)]


@pytest.mark.parametrize(
    "spec",
    [ChildSpec(restart=Restart.TEMPORARY), ChildSpec(on={Crash: Directive.STOP})],
    ids=["temporary", "stop"],
)
def test_what_an_actor_has_failed_with_is_told_as_the_cause_of_its_end(
    system: ActorSystem, watcher: ActorRef[Watcher], spec: ChildSpec
) -> None:
    mortal = system.spawn(Mortal, spec=spec)
    watcher.ask(("watch", mortal))
    mortal.tell("crash")
    (terminated,) = heard(watcher)
    assert isinstance(terminated.cause, Crash)


@pytest.mark.parametrize("directive", [Directive.RESTART, Directive.RESUME], ids=lambda directive: directive.value)
def test_a_failure_that_an_actor_has_survived_is_not_the_cause_of_its_end(
    system: ActorSystem, watcher: ActorRef[Watcher], directive: Directive
) -> None:
    mortal = system.spawn(Mortal, spec=ChildSpec(backoff=AT_ONCE, on={Crash: directive}))
    watcher.ask(("watch", mortal))
    mortal.tell("crash")
    mortal.ask("hello", timeout=WAIT)
    mortal.stop()
    assert watcher.ask("heard") == [Terminated(mortal, None)]


def test_a_supervisor_that_gives_up_and_is_stopped_tells_why(system: ActorSystem, watcher: ActorRef[Watcher]) -> None:
    child = ChildSpec(Mortal, name="child", backoff=AT_ONCE)
    over = system.spawn(
        lambda: Supervisor([child], intensity=Intensity(0)), spec=ChildSpec(on={RestartsExhausted: Directive.STOP})
    )
    mortal = over._cell.children["child"].ref
    watcher.ask(("watch", over))
    watcher.ask(("watch", mortal))
    mortal.tell("crash")
    causes = {terminated.ref: type(terminated.cause) for terminated in heard(watcher, 2)}
    assert causes == {mortal: Crash, over: RestartsExhausted}


def test_actors_that_stand_alone_watch_each_other_as_well() -> None:
    watcher, mortal = Watcher.start(), Mortal.start()
    watcher.ask(("watch", mortal))
    mortal.tell("crash")
    (terminated,) = heard(watcher)
    assert isinstance(terminated.cause, Crash)
    watcher.stop()


def test_a_watcher_that_has_ended_is_kept_by_none_of_those_it_watched(system: ActorSystem) -> None:
    mortals = [system.spawn(Mortal) for _ in range(3)]
    watcher = system.spawn(Watcher)
    for mortal in mortals:
        watcher.ask(("watch", mortal))
    assert all(mortal._cell._watchers for mortal in mortals)
    watcher.stop()
    assert not any(mortal._cell._watchers for mortal in mortals)


def test_each_of_many_watchers_hears_of_an_end_that_comes_while_they_begin_to_watch(system: ActorSystem) -> None:
    watchers = [system.spawn(Watcher) for _ in range(4)]
    for _ in range(100):
        mortal = system.spawn(Mortal)
        for watcher in watchers:
            watcher.tell(("watch", mortal))
        mortal.stop()
    for watcher in watchers:
        watcher.ask("heard")
        assert len(watcher.ask("heard", block=True)) == 100
