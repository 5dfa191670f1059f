"""Dead letters: what nobody has handled to its end is kept, counted, told to subscribers, each with a reason."""

import logging
import threading
from typing import Any

import pytest

from everact import (
    Actor,
    ActorDead,
    ActorSystem,
    Directive,
    MailboxFull,
    Overflow,
    Restart,
    Supervisor,
)
from everact.supervision.dead_letters import DeadLetters
from everact.tasks.events import DeadLetter
from tests.supervision.conftest import WAIT, Crash, Facts, Journal, at_once, until


def letters(system: ActorSystem) -> list[tuple[str, object]]:
    return [(letter.actor, letter.message) for letter in system.dead_letters()]


class Busy(Actor):
    """Waits at an event, and fails at what it is told to fail at."""

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            assert message.wait(WAIT)
        if message == "crash":
            raise Crash(message)
        return message


# -- why ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("directive", Directive, ids=lambda directive: directive.value)
def test_a_told_message_that_an_actor_failed_at_is_a_dead_letter_whatever_is_decided(
    system: ActorSystem, facts: Facts, directive: Directive
) -> None:
    over = system.spawn(lambda: Supervisor([at_once(Busy, "busy", on={Crash: directive})]), spec=at_once())
    path = f"{over.path}/busy"
    over._cell.children["busy"].ref.tell("crash")
    letter = facts.next(DeadLetter)
    assert (letter.actor, letter.message) == (path, "crash")
    assert letter.reason == f"{path} failed while it handled this: tests.supervision.conftest.Crash: crash"


def test_an_asked_message_that_an_actor_failed_at_is_told_to_the_asker_alone(system: ActorSystem) -> None:
    busy = system.spawn(Busy, spec=at_once())
    with pytest.raises(Crash):
        busy.ask("crash")
    busy.ask("hello")
    assert letters(system) == []


def test_what_waits_behind_a_stop_from_outside_is_refused_to_who_asked_and_a_dead_letter_as_well(
    system: ActorSystem,
) -> None:
    busy, gate = system.spawn(Busy, name="busy"), threading.Event()
    busy.tell(gate)
    stopped = busy.stop(block=False)
    busy.tell("told")
    asked = busy.ask("asked", block=False)
    gate.set()
    assert stopped.get(timeout=WAIT)
    with pytest.raises(ActorDead, match="tree/user/busy stopped before it came to this message"):
        asked.get(timeout=WAIT)
    assert letters(system) == [("tree/user/busy", "told"), ("tree/user/busy", "asked")]
    assert {letter.reason for letter in system.dead_letters()} == {
        "tree/user/busy stopped before it came to this message"
    }


def test_what_waits_for_one_that_ends_after_a_failure_is_a_dead_letter_each(system: ActorSystem, facts: Facts) -> None:
    busy, gate = system.spawn(Busy, spec=at_once(restart=Restart.TEMPORARY)), threading.Event()
    for message in (gate, "crash", 1, 2, 3):
        busy.tell(message)
    gate.set()
    assert [facts.next(DeadLetter).message for _ in range(4)] == ["crash", 1, 2, 3]


def test_a_message_to_one_that_has_ended_raises_and_is_no_dead_letter(system: ActorSystem) -> None:
    busy = system.spawn(Busy)
    busy.stop()
    with pytest.raises(ActorDead, match="has stopped"):
        busy.tell("late")
    with pytest.raises(ActorDead, match="has stopped"):
        busy.ask("late")
    assert letters(system) == []


def test_everacts_own_messages_are_no_dead_letters(system: ActorSystem) -> None:
    class Watching(Busy):
        def on_receive(self, message: Any) -> Any:
            if isinstance(message, tuple):
                self.watch(message[0])
                self.stop()
                return None
            return super().on_receive(message)

    gate, other = threading.Event(), system.spawn(Busy)
    watching = system.spawn(Watching, spec=at_once(restart=Restart.TEMPORARY))
    watching.tell((other,))
    watching.tell(gate)
    other.stop()  # its notice waits behind the gate and the actor's own stop
    second, third = watching.stop(block=False), watching.stop(block=False)
    gate.set()
    assert (second.get(timeout=WAIT), third.get(timeout=WAIT)) == (True, True)
    assert letters(system) == []


def test_a_full_mailbox_says_which_message_it_dropped_and_why(system: ActorSystem, facts: Facts) -> None:
    class Newest(Busy):
        mailbox_bound = 1
        overflow = Overflow.DROP_NEW

    class Oldest(Newest):
        overflow = Overflow.DROP_OLD

    for kind, dropped, why in ((Newest, 2, "this message was dropped"), (Oldest, 1, "a newer message took the place")):
        ref, gate = system.spawn(kind), threading.Event()
        held = ref.ask(gate, block=False)
        until(ref._cell.mailbox.empty)  # it has come to the gate
        ref.tell(1)
        ref.tell(2)
        letter = facts.next(DeadLetter)
        assert letter.message == dropped
        assert why in letter.reason
        gate.set()
        held.get(timeout=WAIT)


def test_a_full_mailbox_that_raises_makes_no_dead_letter(system: ActorSystem) -> None:
    class Strict(Busy):
        mailbox_bound = 1
        overflow = Overflow.FAIL

    ref, gate = system.spawn(Strict), threading.Event()
    held = ref.ask(gate, block=False)
    until(ref._cell.mailbox.empty)
    ref.tell(1)
    with pytest.raises(MailboxFull):
        ref.tell(2)
    gate.set()
    held.get(timeout=WAIT)
    assert letters(system) == []


# -- where -------------------------------------------------------------------------------------------------------


def test_what_is_in_the_mailboxes_when_the_system_stops_can_be_read_after_that() -> None:
    system, gate = ActorSystem("tree"), threading.Event()
    assert system.dead_letters() == []
    system.start()
    busy = system.spawn(Busy, name="busy")
    busy.tell(gate)
    busy.tell("waits")
    until(lambda: len(busy._cell.mailbox) == 1)  # it is at the gate
    stopping = threading.Thread(target=system.stop)
    stopping.start()
    until(lambda: busy._cell._orders)  # it is told to end, which comes before what is in its mailbox
    gate.set()
    stopping.join(WAIT)
    assert letters(system) == [("tree/user/busy", "waits")]


def test_a_system_that_is_started_again_begins_without_the_old_ones() -> None:
    system = ActorSystem("tree")
    for _ in range(2):
        with system:
            assert letters(system) == []
            busy = system.spawn(Busy, name="busy", spec=at_once(on={Crash: Directive.RESUME}))
            busy.tell("crash")
            busy.ask("hello")
            assert letters(system) == [("tree/user/busy", "crash")]


def test_subscribers_are_told_each_one_with_its_time(system: ActorSystem, facts: Facts) -> None:
    busy = system.spawn(Busy, spec=at_once(on={Crash: Directive.RESUME}))
    for _ in range(3):
        busy.tell("crash")
    told = [facts.next(DeadLetter) for _ in range(3)]
    assert told == system.dead_letters()
    assert [letter.at for letter in told] == sorted(letter.at for letter in told)


def test_the_last_thousand_are_kept_and_all_are_counted(system: ActorSystem, journal: Journal) -> None:
    busy = system.spawn(Busy, spec=at_once(restart=Restart.TEMPORARY))
    gate = threading.Event()
    busy.tell(gate)
    stopped = busy.stop(block=False)
    for number in range(1200):
        busy.tell(number)
    gate.set()
    assert stopped.get(timeout=WAIT)
    assert [message for _, message in letters(system)] == list(range(200, 1200))
    assert system._dead_letters is not None
    assert system._dead_letters.count == 1200


def test_the_ring_keeps_the_newest_and_tells_them_all(caplog: pytest.LogCaptureFixture) -> None:
    told: list[DeadLetter] = []
    ring = DeadLetters(told.append, kept=3)
    with caplog.at_level(logging.INFO, "everact.dead_letters"):
        for number in range(5):
            ring.add(DeadLetter(number, "shop/stock", number, "why"))
    assert [letter.message for letter in ring.last()] == [2, 3, 4]
    assert ring.count == len(told) == 5
    assert caplog.messages[-1] == "dead letter for shop/stock: 4 (why)"


def test_letters_from_many_threads_at_once_are_all_counted() -> None:
    ring, begun = DeadLetters(lambda letter: None), threading.Barrier(8)

    def add() -> None:
        begun.wait(WAIT)
        for number in range(500):
            ring.add(DeadLetter(number, "a", number, "b"))
            ring.last()

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert ring.count == 4000
    assert len(ring.last()) == 1000
