"""Random messages, crashes and stops over random trees: nothing is lost, doubled or out of order.

Some threads tell and ask the actors of a tree at once, supervisors included; actors fail, stop themselves, are stopped,
cannot start again, and whole branches give up. Then the system stops, and every message must have had exactly one
fate: handled, a dead letter, failed to the one who asked, or not taken, which its sender was told.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from everact import (
    Actor,
    ActorDead,
    ActorRef,
    ActorSystem,
    AskTimeout,
    Backoff,
    ChildSpec,
    Directive,
    Future,
    Intensity,
    MailboxFull,
    Overflow,
    Restart,
    Strategy,
    Supervisor,
)
from everact.actors.cell import Cell
from everact.actors.cell_life import CellLife
from everact.actors.lifecycle import CellState, Failed
from everact.actors.mailbox import Mailbox
from tests.supervision.conftest import WAIT, Crash


class Kind(enum.Enum):
    """What a message has its receiver do."""

    WORK = "work"
    HOLD = "hold"
    """Wait until all senders are done, so that messages pile up behind."""
    CRASH = "crash"
    LEAVE = "leave"
    """Stop itself."""


@dataclass(frozen=True)
class Message:
    sender: int
    number: int
    kind: Kind


class Way(enum.Enum):
    """How a sender turns to an actor."""

    TELL = "tell"
    ASK = "ask"
    STOP = "stop"


@dataclass(frozen=True)
class Step:
    """What a sender does next; `place` counts the actors of the tree, round and round."""

    place: int
    kind: Kind = Kind.WORK
    way: Way = Way.TELL


@dataclass(frozen=True)
class Leaf:
    """An actor with nothing below it."""

    worker: str = "shared"
    restart: Restart = Restart.PERMANENT
    on_crash: Directive = Directive.RESTART
    backoff: float = 0.0
    failing_starts: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Branch:
    """A supervisor."""

    children: tuple[Leaf | Branch, ...]
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int = 1000
    restart: Restart = Restart.PERMANENT
    on_crash: Directive = Directive.RESTART
    backoff: float = 0.0


@dataclass(frozen=True)
class Plan:
    """All that is drawn for one run."""

    tree: Branch
    senders: tuple[tuple[Step, ...], ...]
    drained: bool = False
    """Whether what is in the mailboxes is worked off before the system stops."""
    patience: float = WAIT
    """Seconds after which an actor that does not come to its messages is stuck."""


class Yard:
    """Where the actors of a run say what they do, and are found."""

    def __init__(self) -> None:
        self.refs: dict[int, ActorRef[Any]] = {}
        self.instances: Counter[int] = Counter()
        self.handled: dict[str, list[Message]] = defaultdict(list)
        self.busy: Counter[str] = Counter()
        self.overlaps = 0
        self.threads: dict[str, set[int]] = defaultdict(set)
        self.released = threading.Event()

    def work(self, actor: Actor, message: Message) -> None:
        """What every actor here does with a message, except to wait."""
        urn = actor.actor_urn
        self.busy[urn] += 1
        self.overlaps += self.busy[urn] != 1
        try:
            if message.kind is Kind.CRASH:
                raise Crash(message)
            if message.kind is Kind.LEAVE:
                actor.stop()
            self.handled[urn].append(message)
        finally:
            self.busy[urn] -= 1


class Worker(Actor):
    """A leaf at work; the classes below differ in where they run and how much their mailbox holds."""

    pinned = False

    def __init__(self, yard: Yard, place: int, leaf: Leaf) -> None:
        super().__init__()
        self.yard, self.place, self.leaf = yard, place, leaf

    def on_start(self) -> None:
        self.yard.instances[self.place] += 1
        if self.yard.instances[self.place] in self.leaf.failing_starts:
            raise Crash(self.place)
        self.yard.refs[self.place] = self.actor_ref

    def on_receive(self, message: Any) -> Any:
        if message.kind is Kind.HOLD:
            assert self.yard.released.wait(WAIT)
        return self.yard.work(self, message)


class Pinned(Worker):
    pinned = True

    def on_receive(self, message: Any) -> Any:
        self.yard.threads[self.actor_urn].add(threading.get_ident())
        return super().on_receive(message)


class Looped(Worker):
    async def on_receive(self, message: Any) -> Any:
        if message.kind is Kind.HOLD:
            await asyncio.to_thread(self.yard.released.wait, WAIT)
        await asyncio.sleep(0)
        return self.yard.work(self, message)


class DropNew(Worker):
    mailbox_bound = 2
    overflow = Overflow.DROP_NEW


class DropOld(Worker):
    mailbox_bound = 2
    overflow = Overflow.DROP_OLD


class Fail(Worker):
    mailbox_bound = 2
    overflow = Overflow.FAIL


WORKERS = {
    "shared": Worker,
    "pinned": Pinned,
    "looped": Looped,
    "drop new": DropNew,
    "drop old": DropOld,
    "fail": Fail,
}


class Overseer(Supervisor):
    """A branch at work. It gets messages as everybody does."""

    def __init__(self, yard: Yard, place: int, branch: Branch, places: dict[int, int]) -> None:
        specs = [spec_for(child, yard, places) for child in branch.children]
        super().__init__(specs, strategy=branch.strategy, intensity=Intensity(branch.intensity, within=600))
        self.yard = yard
        yard.refs[place] = self.actor_ref

    def on_receive(self, message: Any) -> Any:
        if message.kind is Kind.HOLD:
            assert self.yard.released.wait(WAIT)
        return self.yard.work(self, message)


def spec_for(node: Leaf | Branch, yard: Yard, places: dict[int, int]) -> ChildSpec:
    place = places[id(node)]
    factory: Callable[[], Actor]
    if isinstance(node, Leaf):
        factory = lambda: WORKERS[node.worker](yard, place, node)  # noqa: E731
    else:
        factory = lambda: Overseer(yard, place, node, places)  # noqa: E731
    return ChildSpec(
        factory,
        name=f"place-{place}",
        restart=node.restart,
        backoff=Backoff(node.backoff, most=node.backoff, jitter=0),
        on={Crash: node.on_crash},
    )


def nodes(node: Leaf | Branch) -> list[Leaf | Branch]:
    below = [each for child in getattr(node, "children", ()) for each in nodes(child)]
    return [node, *below]


# -- one run -----------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What has become of the messages of a run."""

    sent: set[Message] = field(default_factory=set)
    refused: list[Message] = field(default_factory=list)
    asked: list[tuple[Message, Future[Any]]] = field(default_factory=list)
    failed_to_asker: list[Message] = field(default_factory=list)
    unanswered: list[Message] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    dead: list[Any] = field(default_factory=list)
    handled: dict[str, list[Message]] = field(default_factory=dict)
    overlaps: int = 0
    threads: dict[str, set[int]] = field(default_factory=dict)

    def faults(self) -> list[str]:
        """What is wrong; nothing, that is the claim."""
        fates = Counter(
            [*self.refused, *self.failed_to_asker, *self.dead, *itertools.chain.from_iterable(self.handled.values())]
        )
        found = [f"{message} had {fates[message]} fates" for message in self.sent if fates[message] != 1]
        found += [f"{message} came from nowhere" for message in fates if message not in self.sent]
        found += [f"{message} was asked and never answered" for message in self.unanswered]
        found += [f"{path} came to its messages no more" for path in self.stuck]
        for urn, messages in self.handled.items():
            for sender in {message.sender for message in messages}:
                numbers = [message.number for message in messages if message.sender == sender]
                if numbers != sorted(numbers):
                    found.append(f"{urn} handled the messages of sender {sender} in the order {numbers}")
        found += [
            f"{urn} has a thread of its own, and ran on {len(ids)}" for urn, ids in self.threads.items() if len(ids) > 1
        ]
        return found + ["an actor handled two messages at once"] * self.overlaps


def run(plan: Plan) -> Outcome:
    """Play a plan with real threads, stop the system, and say what has become of everything."""
    yard, outcome = Yard(), Outcome()
    actors = nodes(plan.tree)
    places = {id(node): place for place, node in enumerate(actors)}
    system = ActorSystem("random")
    system.start()
    try:
        top = spec_for(plan.tree, yard, places)
        system.spawn(top.factory, name="top", spec=top)  # type: ignore[arg-type]
        _send_all(plan, yard, outcome, len(actors))
        yard.released.set()
        if plan.drained:
            _drain(yard, outcome, len(plan.senders), plan.patience)
    finally:
        yard.released.set()
        system.stop()
    assert system.state == "stopped"
    _settle(outcome)
    outcome.dead = [letter.message for letter in system.dead_letters()]
    outcome.handled, outcome.overlaps = dict(yard.handled), yard.overlaps
    outcome.threads = dict(yard.threads)
    return outcome


def _send_all(plan: Plan, yard: Yard, outcome: Outcome, actors: int) -> None:
    barrier = threading.Barrier(max(len(plan.senders), 1))

    def send(sender: int, steps: tuple[Step, ...]) -> None:
        barrier.wait(WAIT)
        for number, step in enumerate(steps):
            _send(yard.refs[step.place % actors], Message(sender, number, step.kind), step.way, outcome)

    threads = [threading.Thread(target=send, args=each) for each in enumerate(plan.senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
        assert not thread.is_alive()


def _send(ref: ActorRef[Any], message: Message, way: Way, outcome: Outcome) -> None:
    if way is Way.STOP:
        ref.stop(block=False)
        return
    outcome.sent.add(message)
    if way is Way.ASK:
        outcome.asked.append((message, ref.ask(message, block=False)))
        return
    try:
        ref.tell(message)
    except (ActorDead, MailboxFull):
        outcome.refused.append(message)


def _drain(yard: Yard, outcome: Outcome, sender: int, patience: float) -> None:
    """Wait for the answer to one more question to each."""
    for number, ref in enumerate(list(yard.refs.values())):
        message = Message(sender, number, Kind.WORK)
        _send(ref, message, Way.ASK, outcome)
        try:
            outcome.asked[-1][1].get(timeout=patience)
        except AskTimeout:
            outcome.stuck.append(ref.path)
            return
        except (ActorDead, MailboxFull):
            continue


def _settle(outcome: Outcome) -> None:
    """Sort the answers: of a refusal the asker is told either way, but only one makes a dead letter."""
    for message, reply in outcome.asked:
        if not reply.opened:
            outcome.unanswered.append(message)
            continue
        try:
            reply.get(timeout=0)
        except Crash:
            outcome.failed_to_asker.append(message)
        except MailboxFull as error:
            if "was not taken" in str(error):
                outcome.refused.append(message)
        except ActorDead as error:
            if "start or spawn it again" in str(error):
                outcome.refused.append(message)


# -- what is drawn -----------------------------------------------------------------------------------------------

RESTARTS = st.sampled_from([Restart.PERMANENT] * 3 + [Restart.TRANSIENT, Restart.TEMPORARY])
DIRECTIVES = st.sampled_from([Directive.RESTART] * 5 + [Directive.RESUME, Directive.STOP, Directive.ESCALATE])
BACKOFFS = st.sampled_from([0.0, 0.0, 0.002])
LEAVES = st.builds(
    Leaf,
    worker=st.sampled_from(["shared", *WORKERS]),
    restart=RESTARTS,
    on_crash=DIRECTIVES,
    backoff=BACKOFFS,
    failing_starts=st.frozensets(st.integers(2, 5), max_size=2),
)


def branches(depth: int) -> st.SearchStrategy[Branch]:
    child: st.SearchStrategy[Any] = LEAVES if depth == 1 else LEAVES | branches(depth - 1)
    return st.builds(
        Branch,
        children=st.lists(child, min_size=1, max_size=3).map(tuple),
        strategy=st.sampled_from(Strategy),
        intensity=st.sampled_from([0, 1, 3, 1000, 1000]),
        restart=RESTARTS,
        on_crash=DIRECTIVES,
        backoff=BACKOFFS,
    )


KINDS = st.sampled_from([Kind.WORK] * 8 + [Kind.CRASH] * 3 + [Kind.HOLD, Kind.LEAVE])
WAYS = st.sampled_from([Way.TELL] * 12 + [Way.ASK] * 6 + [Way.STOP])
STEPS = st.builds(Step, place=st.integers(0, 12), kind=KINDS, way=WAYS)
PLANS = st.builds(
    Plan,
    tree=branches(3),
    senders=st.lists(st.lists(STEPS, min_size=5, max_size=40).map(tuple), min_size=1, max_size=4).map(tuple),
    drained=st.booleans(),
)


EXAMPLES = 150 if "EVERACT_LONG_TESTS" in os.environ else 60  # make long


@given(PLANS)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_every_message_has_one_fate_and_each_senders_order_is_kept(plan: Plan) -> None:
    outcome = run(plan)
    event(f"dead letters: {min(len(outcome.dead), 3)} or more")
    event(f"refused: {min(len(outcome.refused), 3)} or more")
    assert outcome.faults() == []


# -- would it notice? --------------------------------------------------------------------------------------------

BACKLOG = Plan(
    Branch((Leaf(restart=Restart.TEMPORARY), Leaf())),
    senders=((Step(1, Kind.HOLD), Step(1, Kind.CRASH), *(Step(1) for _ in range(10))),),
)
"""Messages wait while their receiver fails for good."""

RESTARTED = Plan(
    Branch((Leaf(), Leaf())),
    senders=((Step(1, Kind.HOLD), Step(1, Kind.CRASH), *(Step(1) for _ in range(10))),),
    drained=True,
    patience=1.0,
)
"""Messages wait while their receiver is restarted."""


TWICE = Plan(
    Branch((Leaf(), Leaf())),
    senders=((Step(1, Kind.CRASH), Step(1, Kind.CRASH), Step(1)),),
    drained=True,
    patience=1.0,
)
"""A receiver is restarted twice."""


def _drop_what_is_inside(self: Mailbox) -> None:
    self._closed = True
    self._lane.clear()


def _take_the_newest(self: Mailbox) -> Any:
    return self._lane.pop() if self._lane else None


def _bury_twice(self: Cell, message: object, reason: str, bury: Any = Cell._bury) -> None:
    bury(self, message, reason)
    bury(self, message, reason)


async def _fail_once(
    self: CellLife, error: BaseException, fence: int, report: Any = Failed, fail: Any = CellLife.fail
) -> None:
    if self.generation < 2:
        await fail(self, error, fence, report)
    else:
        self.state = CellState.SUSPENDED


async def _start_with_a_new_mailbox(self: CellLife, fence: int, start: Any = CellLife._start) -> None:
    self.mailbox = self._make_mailbox()
    await start(self, fence)


PLANTED: dict[str, tuple[Any, str, Any, Plan, str]] = {
    "a mailbox drops what is inside when it closes": (Mailbox, "close", _drop_what_is_inside, BACKLOG, "had 0 fates"),
    "a mailbox gives the newest message first": (Mailbox, "take", _take_the_newest, RESTARTED, "in the order"),
    "a dead letter is told twice": (Cell, "_bury", _bury_twice, BACKLOG, "had 2 fates"),
    "a second failure is not reported": (CellLife, "fail", _fail_once, TWICE, "came to its messages no more"),
    "a restart begins with a new mailbox": (CellLife, "_start", _start_with_a_new_mailbox, RESTARTED, "had 0 fates"),
}


@pytest.mark.parametrize("plan", [BACKLOG, RESTARTED, TWICE], ids=["stopped", "restarted", "twice"])
def test_the_plans_of_the_positive_controls_are_right_without_a_bug(plan: Plan) -> None:
    assert run(replace(plan, patience=WAIT)).faults() == []


@pytest.mark.parametrize("bug", PLANTED)
def test_positive_control_the_same_run_reports_a_planted_bug(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, planted, plan, report = PLANTED[bug]
    monkeypatch.setattr(where, name, planted)
    assert any(report in fault for fault in run(plan).faults())
