"""A storm: threads that tell, ask, stop and spawn all at once, children that fail, hang and are left behind.

Threads are switched every microsecond. Afterwards each message must be accounted for, each reply be there, and nobody
may stand still: the invariants that a race would break, whatever the history was.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from everact import (
    Actor,
    ActorDead,
    ActorRef,
    ActorStartFailed,
    ActorSystem,
    AskTimeout,
    Backoff,
    ChildSpec,
    Intensity,
    MailboxFull,
    Overflow,
    PoolRouter,
    Restart,
    Settings,
    Strategy,
    Supervisor,
    SystemNotRunning,
)
from everact.actors.cell import Cell
from everact.actors.lifecycle import CellState
from everact.tasks.events import DeadLetter
from tests.supervision.conftest import WAIT, Crash, until

SECONDS = 1.5
SENDERS = 4
BACKOFF = Backoff(0, most=0.001, jitter=0)
ENDLESS = Intensity(None)


@pytest.fixture(autouse=True)
def switching(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Have threads take turns every microsecond, and log nothing: there are thousands of failures."""
    caplog.set_level(logging.CRITICAL, "everact")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Book:
    """What became of each message. A deque takes an entry in one step."""

    def __init__(self) -> None:
        self.told: deque[int] = deque()
        self.handled: deque[int] = deque()
        self.dead: deque[int] = deque()
        self.asked: deque[tuple[ActorRef[Any], Any]] = deque()
        self.surprises: deque[str] = deque()

    def bury(self, letter: DeadLetter) -> None:
        if isinstance(letter.message, tuple):
            self.dead.append(letter.message[1])

    def lost(self) -> list[int]:
        return sorted(set(self.told) - set(self.handled) - set(self.dead))

    def twice(self) -> list[int]:
        return [number for number, times in Counter(self.handled).items() if times > 1]

    def unanswered(self, within: float = WAIT) -> list[str]:
        """Who owes a reply, some time after everything has come to rest."""
        deadline = time.monotonic() + within
        owing = []
        for ref, reply in self.asked:
            try:
                reply.get(timeout=max(deadline - time.monotonic(), 0.0))
            except AskTimeout:
                owing.append(f"{ref} ({ref._cell.state.value})")
            except (Crash, ActorDead, MailboxFull):
                pass
        return owing


class Sailor(Actor):
    """Does what it is told: fails, dawdles, or leaves."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self.book = book

    def on_receive(self, message: Any) -> Any:
        return self.obey(message)

    def obey(self, message: tuple[str, int]) -> int:
        order, number = message
        self.book.handled.append(number)
        if order == "dawdle":
            time.sleep(0.005)
        if order == "fail":
            raise Crash(number)
        if order == "leave":
            self.stop()
        return number

    def on_stop(self) -> None:
        if id(self) % 16 == 0:
            time.sleep(0.005)


class Pinned(Sailor):
    pinned = True


class Bounded(Sailor):
    mailbox_bound = 5
    overflow = Overflow.DROP_OLD


class Async(Sailor):
    async def on_receive(self, message: Any) -> Any:
        return self.obey(message)


KINDS: list[type[Sailor]] = [Sailor, Pinned, Bounded, Async]
ORDERS = ["work"] * 40 + ["dawdle"] * 3 + ["fail"] * 4 + ["leave"]


class Storm:
    """A system with a fleet, and threads that are at it all at once."""

    def __init__(self, seed: int) -> None:
        self.book = Book()
        self.seed = seed
        self.chance = random.Random(seed)
        self.numbers = itertools.count()
        self.over = threading.Event()
        self.system = ActorSystem("storm", settings=Settings(grace=0.5))
        self.system.start()
        self.system._running().environment.on_dead_letter = self.book.bury
        self.ships = [self.system.spawn(self.ship(), spec=ChildSpec(backoff=BACKOFF)) for _ in range(3)]
        pooled = ChildSpec(backoff=BACKOFF)
        self.pool = self.system.spawn(
            lambda: PoolRouter(partial(Sailor, self.book), size=3, spec=pooled, intensity=ENDLESS)
        )

    def spec(self, chance: random.Random, **options: Any) -> ChildSpec:
        shutdown = chance.choice([0.0, 0.003, 5.0])
        return ChildSpec(backoff=BACKOFF, shutdown=shutdown, restart=chance.choice(list(Restart)), **options)

    def ship(self) -> Callable[[], Supervisor]:
        crew = [
            self.spec(self.chance, factory=partial(self.chance.choice(KINDS), self.book), name=f"sailor-{number}")
            for number in range(4)
        ]
        strategy = self.chance.choice(list(Strategy))
        return lambda: Supervisor(crew, strategy=strategy, intensity=ENDLESS)

    def cells(self) -> list[Cell]:
        above: list[Cell] = [*(ship._cell for ship in self.ships), self.pool._cell]
        return [self.pool._cell, *(cell for each in above for cell in list(each.children.values()))]

    def send(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        while not self.over.is_set():
            try:
                self.send_one(chance, chance.choice(self.cells()).ref)
            except SystemNotRunning:
                return
            except BaseException as error:
                self.book.surprises.append(repr(error))

    def send_one(self, chance: random.Random, ref: ActorRef[Any]) -> None:
        message = (chance.choice(ORDERS), next(self.numbers))
        draw = chance.random()
        if draw < 0.5:
            try:
                ref.tell(message)
                self.book.told.append(message[1])
            except ActorDead:
                return
        elif draw < 0.9:
            self.book.asked.append((ref, ref.ask(message, block=False)))
        elif draw < 0.93 and ref is not self.pool:
            ref.stop(block=False)
        elif draw < 0.96:
            kind = partial(chance.choice(KINDS), self.book)
            try:
                self.system.spawn(kind, under=chance.choice(self.ships), spec=self.spec(chance))
            except (ActorStartFailed, ActorDead):
                return
        else:
            time.sleep(0)

    def rage(self, *, stop_in_between: bool) -> None:
        senders = [threading.Thread(target=self.send, args=(number,)) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        self.over.wait(SECONDS)
        if stop_in_between:
            self.system.stop(timeout=1.0)
        self.over.set()
        for sender in senders:
            sender.join(WAIT)
            assert not sender.is_alive(), "a sender hangs"

    def standing_still(self) -> list[str]:
        """Who has something to do and does not do it."""
        return [
            f"{cell.path} ({cell.state.value})"
            for cell in self.cells()
            if cell._orders or not cell.mailbox.empty() or cell.state not in (CellState.RUNNING, CellState.STOPPED)
        ]


@pytest.mark.parametrize("seed", range(3))
def test_after_a_storm_every_message_is_accounted_for_and_nobody_stands_still(seed: int) -> None:
    storm = Storm(seed)
    try:
        storm.rage(stop_in_between=False)
        with contextlib.suppress(pytest.fail.Exception):  # so that what follows says who it is
            until(lambda: not storm.standing_still())
        assert storm.standing_still() == []
        assert storm.book.unanswered() == []
    finally:
        storm.system.stop(timeout=1.0)
    assert (storm.book.lost(), storm.book.twice(), list(storm.book.surprises)) == ([], [], [])


@pytest.mark.parametrize("seed", range(3))
def test_a_system_that_stops_in_a_storm_leaves_no_message_and_no_asker_behind(seed: int) -> None:
    storm = Storm(seed)
    storm.rage(stop_in_between=True)
    assert storm.book.unanswered() == []
    assert (storm.book.lost(), storm.book.twice(), list(storm.book.surprises)) == ([], [], [])
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("Pinned-")])


def test_the_storm_finds_a_cell_that_forgets_what_it_had_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cell, "_answer_for_what_is_in_hand", lambda cell: cell._in_hand.clear())
    assert any(unanswered_in_a_storm(seed) for seed in range(10))


def unanswered_in_a_storm(seed: int) -> list[str]:
    storm = Storm(seed)
    storm.rage(stop_in_between=True)
    return storm.book.unanswered(within=0.5)
