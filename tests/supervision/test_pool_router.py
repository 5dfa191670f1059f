"""One address for a pool of equal actors: who gets a message, and what a restart changes about that."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everact import (
    Actor,
    ActorDead,
    ActorRef,
    ActorSystem,
    AskCycle,
    Backoff,
    ChildSpec,
    ConfigurationError,
    Intensity,
    MailboxFull,
    Overflow,
    PoolRouter,
    Restart,
    Routing,
)
from everact.actors.executor import Executor, Turn

AT_ONCE = ChildSpec(backoff=Backoff(0, most=0, jitter=0))
ENDLESS = Intensity(1_000_000, within=60)


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("pools") as running:
        yield running


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.003)


class Hold:
    """Holds a worker at its message until it is let go."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()


class Worker(Actor):
    """Answers with its own number in the pool."""

    def on_receive(self, message: object) -> object:
        if message == "fail":
            raise ValueError(message)
        if isinstance(message, Hold):
            message.begun.set()
            assert message.end.wait(10)
        return self.actor_ref.path.rpartition("/")[2]


def test_a_message_goes_to_an_idle_child_and_waits_behind_no_slow_one(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=2))
    hold = Hold()
    slow = pool.ask(hold, block=False)
    assert hold.begun.wait(10)
    answers = {pool.ask(number) for number in range(20)}
    hold.end.set()
    assert answers | {slow.get()} == {"0", "1"}
    assert len(answers) == 1


def test_all_children_work_at_once(system: ActorSystem) -> None:
    met = threading.Barrier(4)

    class Meeting(Actor):
        def on_receive(self, message: object) -> object:
            return met.wait(10)

    pool = system.spawn(lambda: PoolRouter(Meeting, size=4))
    assert sorted(future.get() for future in [pool.ask(0, block=False) for _ in range(4)]) == [0, 1, 2, 3]


def test_what_waits_for_a_balanced_pool_shows_as_the_routers_mailbox(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=1), name="pool")
    hold = Hold()
    held = pool.ask(hold, block=False)
    assert hold.begun.wait(10)
    replies = [pool.ask(number, block=False) for number in range(3)]
    assert next(info.depth for info in system.actors() if info.name == "pool") == 3
    hold.end.set()
    assert [held.get(), *(reply.get() for reply in replies)] == ["0"] * 4


def test_a_failing_child_of_a_balanced_pool_leaves_the_others_working(system: ActorSystem) -> None:
    slow = ChildSpec(backoff=Backoff(60, most=60))
    pool = system.spawn(lambda: PoolRouter(Worker, size=2, spec=slow))
    with pytest.raises(ValueError, match="fail"):
        pool.ask("fail")
    assert len({pool.ask(number) for number in range(20)}) == 1


class Held:
    """An executor that keeps what it is given until it is let go."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._turns: list[Turn] = []

    def submit(self, turn: Turn) -> None:
        self._turns.append(turn)

    def close(self) -> None:
        self._executor.close()

    def let_go(self) -> Executor:
        for turn in self._turns:
            self._executor.submit(turn)
        return self._executor


def test_a_message_is_passed_on_by_a_child_that_was_woken_for_it_and_fails_first(system: ActorSystem) -> None:
    slow = ChildSpec(backoff=Backoff(60, most=60))
    pool = system.spawn(lambda: PoolRouter(Worker, size=2, spec=slow))
    until(lambda: all(cell._turnstile for cell in pool._cell.children.values()))
    first = pool._cell.children["0"]
    held = Held(first._executor)
    first._executor = held
    reply = pool.ask(1, block=False)
    first.ref.tell("fail")
    first._executor = held.let_go()
    assert reply.get(timeout=10) == "1"


def test_the_same_key_goes_to_the_same_child(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=4, routing=Routing.BY_KEY, key=lambda message: message))
    first = [pool.ask(number) for number in range(40)]
    assert [pool.ask(number) for number in range(40)] == first
    assert len(set(first)) == 4


class Log(Actor):
    """Writes down what it is told, by key, and fails where it is told to."""

    def __init__(self, seen: dict[int, list[int]]) -> None:
        super().__init__()
        self.seen = seen

    def on_receive(self, message: tuple[int, int, bool]) -> None:
        key, number, fails = message
        self.seen[key].append(number)
        if fails:
            raise ValueError(message)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_messages_with_one_key_keep_their_order_over_restarts(program: list[tuple[int, bool]]) -> None:
    seen: dict[int, list[int]] = defaultdict(list)
    with ActorSystem() as system:
        pool: ActorRef[PoolRouter] = system.spawn(
            lambda: PoolRouter(
                lambda: Log(seen),
                size=3,
                routing=Routing.BY_KEY,
                key=lambda message: message[0],
                spec=AT_ONCE,
                intensity=ENDLESS,
            )
        )
        sent: dict[int, list[int]] = defaultdict(list)
        for number, (key, fails) in enumerate(program):
            pool.tell((key, number, fails))
            sent[key].append(number)
        for key in range(6):
            pool.ask((key, -1, False))
            sent[key].append(-1)
    assert seen == sent


def test_what_the_key_function_raises_is_raised_to_the_sender(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=2, routing=Routing.BY_KEY, key=lambda message: message["id"]))
    with pytest.raises(KeyError, match="id"):
        pool.tell({"name": "x"})


def test_a_broadcast_is_answered_by_all_in_order(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=3, routing=Routing.BROADCAST))
    assert pool.ask("hello") == ["0", "1", "2"]


def test_a_broadcast_that_fails_somewhere_gives_the_first_error(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=3, routing=Routing.BROADCAST, spec=AT_ONCE))
    with pytest.raises(ValueError, match="fail"):
        pool.ask("fail")
    assert pool.ask("hello") == ["0", "1", "2"]


def test_a_told_broadcast_reaches_each_once(system: ActorSystem) -> None:
    seen: dict[int, list[int]] = defaultdict(list)
    pool = system.spawn(lambda: PoolRouter(lambda: Log(seen), size=3, routing=Routing.BROADCAST))
    pool.tell((1, 7, False))
    pool.ask((1, 8, False))
    assert sorted(seen[1]) == [7, 7, 7, 8, 8, 8]


def test_what_waits_when_a_pool_stops_becomes_dead_letters(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=1), name="pool")
    hold = Hold()
    held = pool.ask(hold, block=False)
    assert hold.begun.wait(10)
    late = pool.ask("late", block=False)
    stopped = pool.stop(block=False)
    pool.actor_stopped.wait(10)  # the router ends at once; its child after the message at hand
    hold.end.set()
    assert stopped.get() is True
    assert held.get() == "0"
    with pytest.raises(Exception, match="pools/user/pool stopped before it came to this message"):
        late.get()
    assert [letter.message for letter in system.dead_letters()] == ["late"]


def test_a_temporary_child_that_failed_leaves_its_keys_as_dead_letters(system: ActorSystem) -> None:
    spec = ChildSpec(restart=Restart.TEMPORARY)
    pool = system.spawn(lambda: PoolRouter(Worker, size=1, routing=Routing.BY_KEY, key=str, spec=spec))
    with pytest.raises(ValueError, match="fail"):
        pool.ask("fail")
    # Which of the two depends on whether the router has heard of it yet.
    with pytest.raises(Exception, match="stopped before it came to this message|have ended"):
        pool.ask("x", timeout=10)


def test_a_bound_on_the_router_class_bounds_what_the_pool_shares(system: ActorSystem) -> None:
    class Narrow(PoolRouter):
        mailbox_bound = 2
        overflow = Overflow.FAIL

    pool = system.spawn(lambda: Narrow(Worker, size=1))
    hold = Hold()
    held = pool.ask(hold, block=False)
    assert hold.begun.wait(10)
    waiting = [pool.ask(number, block=False) for number in range(2)]
    with pytest.raises(MailboxFull, match="holds 2 messages"):
        pool.tell("one too many")
    hold.end.set()
    assert [held.get(), *(each.get() for each in waiting)] == ["0"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0 must be a whole number from 1 on"),
        ({"size": 1, "routing": Routing.BY_KEY}, "BY_KEY needs a key function"),
        ({"size": 1, "key": str}, "no other rule takes one"),
    ],
)
def test_a_pool_that_makes_no_sense_is_refused(system: ActorSystem, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match="could not start") as caught:
        system.spawn(lambda: PoolRouter(Worker, **arguments))  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, ConfigurationError)
    assert message in str(caught.value.__cause__)


# -- children that are gone for good ---------------------------------------------------------------------------------

RULES: list[dict[str, Any]] = [
    {"routing": Routing.BALANCED},
    {"routing": Routing.BY_KEY, "key": str},
    {"routing": Routing.BROADCAST},
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["routing"].value)
def test_a_child_that_is_gone_for_good_gets_no_message_any_more(system: ActorSystem, rule: dict[str, Any]) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=3, **rule))
    pool._cell.children["1"].ref.stop()
    until(lambda: "1" not in pool._cell.children)
    answers = [pool.ask(number) for number in range(30)]
    flat = [each for answer in answers for each in (answer if isinstance(answer, list) else [answer])]
    assert set(flat) <= {"0", "2"}
    assert not system.dead_letters()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["routing"].value)
def test_a_pool_without_children_refuses_what_waits_and_what_comes(system: ActorSystem, rule: dict[str, Any]) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=2, **rule), name="pool")
    gate = threading.Event()
    children = [cell.ref for cell in pool._cell.children.values()]
    held = [child.ask(gate, block=False) for child in children]
    stops = [child.stop(block=False) for child in children]
    waits = pool.ask("waits", block=False)
    gate.set()
    assert [future.get() for future in (*held, *stops)] == ["0", "1", True, True]
    with pytest.raises(ActorDead):
        waits.get(timeout=10)
    until(lambda: not pool._cell.children)
    with pytest.raises(ActorDead, match="all actors of the pool pools/user/pool have ended"):
        pool.ask("comes")
    pool.tell("comes too")
    assert "comes too" in [letter.message for letter in system.dead_letters()]
    assert pool.stop() is True


def test_only_the_keys_of_a_child_that_is_gone_go_to_others_and_to_each_of_them_some(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Worker, size=4, routing=Routing.BY_KEY, key=lambda message: message))
    before = [pool.ask(number) for number in range(100)]
    for gone in ("1", "3"):
        pool._cell.children[gone].ref.stop()
        until(lambda gone=gone: gone not in pool._cell.children)  # type: ignore[misc]
        after = [pool.ask(number) for number in range(100)]
        moved = {new for old, new in zip(before, after, strict=True) if old == gone}
        assert moved == set(pool._cell.children)
        assert [new for old, new in zip(before, after, strict=True) if old not in {gone, new}] == []
        before = after


# -- asks that could never end ---------------------------------------------------------------------------------------


class Asks(Actor):
    """Passes a message on to whoever it is told to ask."""

    def on_receive(self, message: list[Any]) -> Any:
        return message[0].ask(message[1:], timeout=10) if message else "nobody"


def test_who_asks_all_of_a_pool_cannot_be_asked_by_one_of_them_meanwhile(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Asks, size=2, routing=Routing.BROADCAST), name="pool")
    asker = system.spawn(Asks, name="asker")
    with pytest.raises(AskCycle) as caught:
        asker.ask([pool, asker])
    ring = ["pools/user/asker", "pools/user/pool"]
    assert all(name in str(caught.value) for name in ring)


def test_one_of_a_pool_cannot_ask_all_of_it(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Asks, size=2, routing=Routing.BROADCAST), name="pool")
    with pytest.raises(AskCycle):
        pool.ask([pool])
    assert pool.ask([]) == ["nobody", "nobody"]


def test_one_of_a_pool_cannot_ask_with_its_own_key(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Asks, size=2, routing=Routing.BY_KEY, key=lambda message: "one"))
    with pytest.raises(AskCycle):
        pool.ask([pool])
    assert pool.ask([]) == "nobody"


def test_one_of_a_pool_may_ask_who_has_asked_the_pool_before_and_has_its_answer(system: ActorSystem) -> None:
    pool = system.spawn(lambda: PoolRouter(Asks, size=3, routing=Routing.BROADCAST))
    asker, other = system.spawn(Asks), system.spawn(Asks)
    assert asker.ask([pool]) == ["nobody"] * 3
    assert other.ask([pool, asker]) == ["nobody"] * 3
