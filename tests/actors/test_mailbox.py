"""Mailboxes: order, an optional bound with four rules for more, and an end that neither loses nor doubles."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import everact.actors.mailbox as mailbox_module
from everact import Actor, ActorDead, EverActError, MailboxFull, Overflow
from everact.actors.envelope import Envelope, StopOrder
from everact.actors.mailbox import BoundedMailbox, Mailbox
from everact.actors.runtime import ThreadRuntime

WAIT = 10.0


class Owner:
    """A cell as its mailbox sees it: it counts who wakes it, and keeps what is refused."""

    path = "shop/user/stock"
    is_current = False

    def __init__(self) -> None:
        self.woken = 0
        self.refused: list[tuple[Any, EverActError]] = []

    def wake(self) -> bool:
        self.woken += 1
        return True

    def refuse(self, envelope: Envelope, error: EverActError) -> None:
        self.refused.append((envelope.message, error))


def bounded(overflow: Overflow, bound: int = 2, owner: Owner | None = None) -> tuple[BoundedMailbox, Owner]:
    owner = owner or Owner()
    return BoundedMailbox(owner, ThreadRuntime(), bound, overflow), owner


def messages(mailbox: Mailbox) -> list[Any]:
    taken = iter(mailbox.take, None)
    return [envelope.message for envelope in taken if envelope is not None]


def fill(mailbox: Mailbox, *told: Any) -> None:
    for message in told:
        mailbox.put(Envelope(message))


def test_messages_come_out_in_the_order_of_arrival_and_each_wakes_the_actor() -> None:
    owner = Owner()
    mailbox = Mailbox(owner)
    assert mailbox.empty()
    fill(mailbox, "one", "two", "three")
    assert (len(mailbox), owner.woken) == (3, 3)
    assert messages(mailbox) == ["one", "two", "three"]
    assert mailbox.take() is None


def test_get_takes_as_pykkas_inboxes_do_but_never_blocks() -> None:
    mailbox = Mailbox(Owner())
    fill(mailbox, "one")
    assert mailbox.get().message == "one"
    with pytest.raises(IndexError, match="the mailbox of shop/user/stock is empty"):
        mailbox.get()


# The four rules


def test_fail_tells_the_sender_that_the_mailbox_is_full() -> None:
    mailbox, owner = bounded(Overflow.FAIL)
    fill(mailbox, 1, 2)
    with pytest.raises(MailboxFull, match="holds 2 messages and is full; this message was not taken") as caught:
        fill(mailbox, 3)
    assert (caught.value.actor, caught.value.bound) == ("shop/user/stock", 2)
    assert (messages(mailbox), owner.refused) == ([1, 2], [])


def test_drop_new_refuses_the_new_message() -> None:
    mailbox, owner = bounded(Overflow.DROP_NEW)
    fill(mailbox, 1, 2, 3, 4)
    assert [message for message, _ in owner.refused] == [3, 4]
    assert "this message was dropped" in str(owner.refused[0][1])
    assert messages(mailbox) == [1, 2]


def test_drop_old_refuses_the_oldest_message_and_takes_the_new_one() -> None:
    mailbox, owner = bounded(Overflow.DROP_OLD)
    fill(mailbox, 1, 2, 3, 4)
    assert [message for message, _ in owner.refused] == [1, 2]
    assert "a newer message took the place" in str(owner.refused[0][1])
    assert messages(mailbox) == [3, 4]


class Sender:
    """A thread that tells something to a mailbox, and keeps what was raised."""

    def __init__(self, mailbox: Mailbox, message: Any) -> None:
        self.raised: BaseException | None = None
        self._thread = threading.Thread(target=self._send, args=(mailbox, Envelope(message)), daemon=True)
        self._thread.start()

    def _send(self, mailbox: Mailbox, envelope: Envelope) -> None:
        try:
            mailbox.put(envelope)
        except BaseException as error:
            self.raised = error

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(WAIT)
        assert self.is_done


def wait_until(condition: Callable[[], bool]) -> None:
    """For what no event tells: that a thread has gone to sleep."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def blocked(mailbox: BoundedMailbox, *told: Any) -> list[Sender]:
    """Senders that wait for room, in this order."""
    senders = []
    for message in told:
        senders.append(Sender(mailbox, message))
        wait_until(lambda: len(mailbox._senders) == len(senders))
    return senders


def test_block_lets_a_sender_in_for_each_message_that_is_taken() -> None:
    mailbox, owner = bounded(Overflow.BLOCK)
    fill(mailbox, 1, 2)
    first, second = blocked(mailbox, 3, 4)
    assert mailbox.get().message == 1
    first.join()
    assert not second.is_done
    assert mailbox.get().message == 2
    second.join()
    assert (messages(mailbox), owner.refused) == ([3, 4], [])


def test_a_blocked_sender_is_told_in_time_that_there_was_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "BLOCK_SECONDS", 0.05)
    mailbox, _ = bounded(Overflow.BLOCK, bound=1)
    fill(mailbox, 1)
    with pytest.raises(MailboxFull, match=r"there was no room in 0\.05 s"):
        fill(mailbox, 2)
    assert not mailbox._senders
    assert messages(mailbox) == [1]


def test_a_sender_that_gives_up_passes_its_room_on_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox, _ = bounded(Overflow.BLOCK, bound=1)
    fill(mailbox, 1)
    (waiting,) = blocked(mailbox, 2)
    gate = mailbox._make_gate()
    mailbox._senders.appendleft(gate)  # a sender before it, which gives up just as it is let in
    assert mailbox.get().message == 1
    assert not waiting.is_done
    mailbox._leave(gate)
    waiting.join()
    assert messages(mailbox) == [2]


def test_blocked_senders_from_many_threads_lose_nothing_and_never_pass_the_bound() -> None:
    mailbox, owner = bounded(Overflow.BLOCK, bound=3)
    senders = [Sender(mailbox, number) for number in range(60)]
    taken: list[Any] = []
    longest = 0
    while len(taken) < 60:
        longest = max(longest, len(mailbox))
        envelope = mailbox.take()
        if envelope is None:
            time.sleep(0)
        else:
            taken.append(envelope.message)
    for sender in senders:
        sender.join()
    assert sorted(taken) == list(range(60))
    assert longest <= 3
    assert owner.refused == []


def test_an_actor_never_waits_for_room_in_its_own_mailbox() -> None:
    class Eager(Actor):
        mailbox_bound = 1

        def on_receive(self, message: Any) -> str:
            self.actor_ref.tell("later")
            try:
                self.actor_ref.tell("one too many")
            except MailboxFull as error:
                return str(error)
            return "told"

    eager = Eager.start()
    assert "an actor cannot wait for room in its own mailbox" in eager.ask("go", timeout=WAIT)
    eager.stop(timeout=WAIT)


def test_an_actor_with_room_tells_itself_what_comes_after_its_other_messages() -> None:
    seen: list[Any] = []

    class Counter(Actor):
        mailbox_bound = 5

        def on_receive(self, message: Any) -> None:
            seen.append(message)
            if message == "go":
                self.actor_ref.tell("told itself")

    counter = Counter.start()
    counter.ask("go", timeout=WAIT)
    counter.stop(timeout=WAIT)
    assert seen == ["go", "told itself"]


def test_everacts_event_loop_never_waits_for_room() -> None:
    class Slow(Actor):
        mailbox_bound = 1

        async def on_receive(self, message: Any) -> None:
            """It could not take anything while the loop waits."""

    class Fast(Actor):
        async def on_receive(self, ref: Any) -> str:
            try:
                for number in range(3):
                    ref.tell(number)
            except MailboxFull as error:
                return str(error)
            return "told"

    slow, fast = Slow.start(), Fast.start()
    assert "everact's event loop thread cannot wait for room" in fast.ask(slow, timeout=WAIT)


def test_an_ask_of_a_full_mailbox_gets_the_error_as_its_reply() -> None:
    started, go = threading.Event(), threading.Event()

    class Busy(Actor):
        mailbox_bound = 1
        overflow = Overflow.FAIL

        def on_receive(self, message: Any) -> Any:
            started.set()
            assert go.wait(WAIT)
            return message

    busy = Busy.start()
    first = busy.ask(1, block=False)
    assert started.wait(WAIT)
    second, third = busy.ask(2, block=False), busy.ask(3, block=False)
    with pytest.raises(MailboxFull):
        third.get(timeout=WAIT)
    go.set()
    assert (first.get(timeout=WAIT), second.get(timeout=WAIT)) == (1, 2)
    busy.stop(timeout=WAIT)


# Orders


@pytest.mark.parametrize("overflow", list(Overflow))
def test_a_stop_keeps_its_place_in_a_full_mailbox_and_takes_up_no_room(overflow: Overflow) -> None:
    mailbox, owner = bounded(overflow, bound=1)
    fill(mailbox, 1, StopOrder())
    assert mailbox.get().message == 1
    fill(mailbox, 2)
    assert messages(mailbox) == [StopOrder(), 2]
    assert owner.refused == []


def test_drop_old_passes_over_orders() -> None:
    mailbox, owner = bounded(Overflow.DROP_OLD, bound=1)
    fill(mailbox, StopOrder(), 1, 2)
    assert [message for message, _ in owner.refused] == [1]
    assert messages(mailbox) == [StopOrder(), 2]


def test_an_order_that_is_taken_lets_no_sender_in() -> None:
    mailbox, _ = bounded(Overflow.BLOCK, bound=1)
    fill(mailbox, StopOrder(), 1)
    (sender,) = blocked(mailbox, 2)
    assert mailbox.get().message == StopOrder()
    assert (len(mailbox._senders), sender.is_done) == (1, False)
    assert mailbox.get().message == 1
    sender.join()


# The end


@pytest.mark.parametrize("overflow", [None, *Overflow])
def test_closing_refuses_what_is_inside_and_whatever_still_comes(overflow: Overflow | None) -> None:
    owner = Owner()
    mailbox = Mailbox(owner) if overflow is None else bounded(overflow, owner=owner)[0]
    fill(mailbox, 1, StopOrder())
    mailbox.close()
    fill(mailbox, 2, 3, 4)
    assert [message for message, _ in owner.refused] == [1, StopOrder(), 2, 3, 4]
    assert all(isinstance(error, ActorDead) for _, error in owner.refused)
    assert mailbox.empty()


def test_closing_lets_blocked_senders_go() -> None:
    mailbox, owner = bounded(Overflow.BLOCK, bound=1)
    fill(mailbox, 1)
    senders = blocked(mailbox, 2, 3)
    mailbox.close()
    for sender in senders:
        sender.join()
        assert sender.raised is None  # a message that the actor did not come to, as any other
    assert sorted(message for message, _ in owner.refused) == [1, 2, 3]


class Hasty(Mailbox):
    """A planted bug: it looks at the flag before it puts, as pykka's `ask` does."""

    def put(self, envelope: Envelope) -> None:
        closed = self._closed
        time.sleep(0.0005)  # lets others run here; without it this happens once in some hundred thousand times
        if closed:
            self._owner.refuse(envelope, ActorDead("too late"))
        else:
            self._lane.append(envelope)


class Careless(Mailbox):
    """A planted bug: it looks at a message before it takes it out."""

    def _refuse_all(self) -> None:
        while self._lane:
            envelope = self._lane[0]
            time.sleep(0.0005)
            self._owner.refuse(envelope, ActorDead("stopped"))
            self.take()


def race(make: Callable[[Owner], Mailbox], rounds: int) -> tuple[int, int]:
    """Put from three threads while the mailbox closes; how many messages were never refused, and how many twice."""
    lost = doubled = 0
    for _ in range(rounds):
        owner = Owner()
        mailbox = make(owner)
        ready = threading.Barrier(4)

        def send(first: int, mailbox: Mailbox = mailbox, ready: threading.Barrier = ready) -> None:
            ready.wait()
            fill(mailbox, *range(first, first + 10))

        threads = [threading.Thread(target=send, args=(first,)) for first in (0, 10, 20)]
        for thread in threads:
            thread.start()
        ready.wait()
        while mailbox.empty():
            time.sleep(0)
        mailbox.close()
        for thread in threads:
            thread.join()
        refused = [message for message, _ in owner.refused]
        lost += 30 - len(set(refused))
        doubled += len(refused) - len(set(refused))
    return lost, doubled


@pytest.fixture
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_switching_often")
def test_a_message_that_comes_while_the_mailbox_closes_is_refused_exactly_once() -> None:
    assert race(Mailbox, 200) == (0, 0)
    assert race(lambda owner: bounded(Overflow.BLOCK, bound=100, owner=owner)[0], 100) == (0, 0)
    assert race(lambda owner: bounded(Overflow.DROP_OLD, bound=4, owner=owner)[0], 100) == (0, 0)


@pytest.mark.usefixtures("_switching_often")
def test_the_race_for_the_end_finds_a_mailbox_that_loses_or_doubles_messages() -> None:
    assert race(Hasty, 20)[0] > 0
    assert race(Careless, 20)[1] > 0


def test_an_actor_can_stop_itself_though_its_mailbox_is_full() -> None:
    class Quitter(Actor):
        mailbox_bound = 1
        overflow = Overflow.FAIL

        def on_receive(self, message: Any) -> None:
            self.actor_ref.tell("last")
            self.stop()  # the mailbox is full, and yet

    quitter = Quitter.start()
    quitter.tell("go")
    assert quitter.actor_stopped.wait(WAIT)
