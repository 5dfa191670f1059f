"""The graph of who waits for whom: an ask that could never end raises, at once, and no other ask does."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everact import Actor, ActorRef, ActorSystem, AskCycle, AskTimeout, ChildSpec, Directive, PoolRouter, Routing
from everact.actors.wait_for import Wait, current_actor, cycle, waiting_for

AT_ONCE = 5.0
"""Far less than the 30 s after which an ask gives up, and enough for a busy machine."""


class Linked(Actor):
    """Asks on, to the next actor; answers with what came back, and with its own name before that."""

    ask_timeout = 30.0

    def __init__(self) -> None:
        super().__init__()
        self.next: Any = None
        self.handled = 0

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.handled += 1
        if self.next is None:
            return [message]
        return [message, *self.next.ask(message)]


class AsyncLinked(Linked):
    """The same on the event loop."""

    async def on_receive(self, message: Any) -> Any:
        if callable(message):
            answer = message(self)
            return await answer if asyncio.iscoroutine(answer) else answer
        self.handled += 1
        if self.next is None:
            return [message]
        return [message, *await self.next.ask(message, block=False)]


class Own(Linked):
    """With a thread of its own."""

    pinned = True


KINDS = {"pooled": Linked, "pinned": Own, "async": AsyncLinked}


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("ring") as running:
        yield running


def link(refs: list[ActorRef[Any]]) -> None:
    """Make a ring of them."""
    for ref, following in zip(refs, [*refs[1:], refs[0]], strict=True):
        ref.ask(lambda actor, following=following: setattr(actor, "next", following))


def spawned(system: ActorSystem, *kinds: type[Linked]) -> list[ActorRef[Any]]:
    """Actors whose failures are none of their supervisor's business, so that they keep what they know."""
    spec = ChildSpec(on={AskCycle: Directive.RESUME})
    return [system.spawn(kind, name=name, spec=spec) for name, kind in zip("abcdefgh", kinds, strict=False)]


# -- rings of actors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_ring_of_three_raises_at_once_and_names_the_path(system: ActorSystem, kind: str) -> None:
    refs = spawned(system, *[KINDS[kind]] * 3)
    link(refs)
    with pytest.raises(AskCycle) as raised:
        refs[0].ask("hello", timeout=AT_ONCE)
    # Whoever is last to wait finds it, which need not be the one who is last to ask.
    rings = [tuple(f"ring/user/{name}" for name in names) for names in ("abca", "bcab", "cabc")]
    assert raised.value.path in rings
    assert " -> ".join(raised.value.path) in str(raised.value)


@pytest.mark.parametrize("kinds", [("pooled", "async", "pinned"), ("async", "pinned", "async")], ids="-".join)
def test_a_ring_of_actors_of_different_kinds_is_found(system: ActorSystem, kinds: tuple[str, ...]) -> None:
    refs = spawned(system, *[KINDS[kind] for kind in kinds])
    link(refs)
    with pytest.raises(AskCycle):
        refs[0].ask("hello", timeout=AT_ONCE)


def test_a_ring_through_actors_that_stand_alone_is_found(system: ActorSystem) -> None:
    alone, loop = Linked.start(), AsyncLinked.start()
    try:
        refs = [*spawned(system, Linked), alone, loop]
        link(refs)
        with pytest.raises(AskCycle) as raised:
            refs[0].ask("hello", timeout=AT_ONCE)
        assert len(raised.value.path) == 4
        assert alone.path in raised.value.path
    finally:
        alone.stop(timeout=AT_ONCE)
        loop.stop(timeout=AT_ONCE)


@pytest.mark.parametrize("kind", KINDS)
def test_an_actor_that_asks_itself_is_told_so(system: ActorSystem, kind: str) -> None:
    (ref,) = spawned(system, KINDS[kind])
    link([ref])
    with pytest.raises(AskCycle) as raised:
        ref.ask("hello", timeout=AT_ONCE)
    assert raised.value.path == ("ring/user/a", "ring/user/a")


@pytest.mark.parametrize("kind", KINDS)
def test_the_actors_of_a_ring_go_on_after_it_was_found(system: ActorSystem, kind: str) -> None:
    refs = spawned(system, *[KINDS[kind]] * 3)
    link(refs)
    for _ in range(3):
        with pytest.raises(AskCycle):
            refs[0].ask("hello", timeout=AT_ONCE)
    refs[2].ask(lambda actor: setattr(actor, "next", None))
    assert refs[0].ask("hello", timeout=AT_ONCE) == ["hello"] * 3
    assert all(ref._cell.waits_for == [] for ref in refs)


@pytest.mark.parametrize("kind", KINDS)
def test_an_ask_that_was_found_in_a_ring_is_not_handled_later(system: ActorSystem, kind: str) -> None:
    refs = spawned(system, *[KINDS[kind]] * 2)
    link(refs)
    with pytest.raises(AskCycle):
        refs[0].ask("hello", timeout=AT_ONCE)
    # It would have been asked on, found to be in a ring, and left in the next mailbox, for ever.
    assert [ref.ask(lambda actor: actor.handled, timeout=AT_ONCE) for ref in refs] == [1, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_that_ask_each_other_at_once_one_raises_and_none_hangs(system: ActorSystem, kind: str) -> None:
    one, other = spawned(system, *[KINDS[kind]] * 2)
    link([one, other])
    for _ in range(50):
        answers = [one.ask("x", block=False), other.ask("x", block=False)]
        errors = []
        for answer in answers:
            with pytest.raises(AskCycle) as raised:
                answer.get(timeout=AT_ONCE)
            errors.append(raised.value)
        assert errors


def test_a_proxy_call_that_comes_back_is_found(system: ActorSystem) -> None:
    class Caller(Actor):
        def call(self, other: Any, back: Any) -> Any:
            return other.proxy().call_back(back).get()

        def call_back(self, back: Any) -> Any:
            return back.proxy().answer().get()

        def answer(self) -> str:
            return "here"

    one, other = system.spawn(Caller), system.spawn(Caller)
    with pytest.raises(AskCycle):
        one.proxy().call(other, one).get(timeout=AT_ONCE)


def test_waiting_for_the_stop_of_an_actor_that_waits_for_this_one_is_a_ring_too(system: ActorSystem) -> None:
    one, other = spawned(system, Linked, Linked)
    other.ask(lambda actor: setattr(actor, "next", one))

    def stop_the_other(_: Any) -> Any:
        return other.stop()

    one.tell(lambda _: other.tell("hello"))
    waiting = other.ask(lambda actor: actor.next.ask(stop_the_other), block=False)
    with pytest.raises(AskCycle):
        waiting.get(timeout=AT_ONCE)


# -- what a wait leads through ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "derive", [lambda f: f.map(len), lambda f: f.join(f), lambda f: f.reduce(max)], ids=["map", "join", "reduce"]
)
def test_a_wait_for_a_future_made_of_others_counts_as_a_wait_for_these(
    system: ActorSystem, derive: Callable[[Any], Any]
) -> None:
    one, other = spawned(system, Linked, Linked)
    other.ask(lambda actor: setattr(actor, "next", one))
    asked = one.ask(lambda _: derive(other.ask("hello", block=False)).get(), block=False)
    with pytest.raises(AskCycle):
        asked.get(timeout=AT_ONCE)


def test_an_async_actor_that_awaits_several_at_once_is_found_through_each_of_them(system: ActorSystem) -> None:
    hub, quick, back = spawned(system, AsyncLinked, Linked, Linked)
    back.ask(lambda actor: setattr(actor, "next", hub))

    async def gather(_: Any) -> Any:
        both = [asyncio.ensure_future(other.ask("x", block=False)) for other in (back, quick)]
        try:
            return await asyncio.gather(*both)
        finally:
            await asyncio.wait(both)  # else the second one may still wait when the first has failed

    with pytest.raises(AskCycle):
        hub.ask(gather, timeout=AT_ONCE)
    assert hub._cell.waits_for == []


def test_a_wait_that_has_timed_out_is_no_edge_any_more(system: ActorSystem) -> None:
    hub, slow = spawned(system, AsyncLinked, Linked)
    release = threading.Event()

    async def give_up_on_one_of_two(_: Any) -> str:
        first = slow.ask(lambda _: release.wait(AT_ONCE), block=False)
        second = slow.ask("x", block=False)
        tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
        await asyncio.wait(tasks, timeout=0.01)
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait([task])
        return "gave up"

    assert hub.ask(give_up_on_one_of_two, timeout=AT_ONCE) == "gave up"
    assert hub._cell.waits_for == []
    release.set()
    slow.ask(lambda actor: setattr(actor, "next", hub))
    assert slow.ask("x", timeout=AT_ONCE) == ["x", "x"]


def test_a_task_that_outlives_its_message_keeps_nobody_from_asking_its_actor(system: ActorSystem) -> None:
    hub, friend = spawned(system, AsyncLinked, Linked)
    begun, asked_back = threading.Event(), []
    kept: list[Any] = []

    def ask_back(_: Any) -> Any:
        begun.wait(AT_ONCE)
        asked_back.append(hub.ask("from the friend", timeout=AT_ONCE))
        return "done"

    async def leave_a_task(_: Any) -> None:
        async def later() -> Any:
            return await friend.ask(ask_back, block=False)

        kept.append(asyncio.ensure_future(later()))
        await asyncio.sleep(0)

    hub.ask(leave_a_task, timeout=AT_ONCE)
    begun.set()
    assert friend.ask("x", timeout=AT_ONCE) == ["x"]
    assert asked_back == [["from the friend"]]


@pytest.mark.parametrize("options", [{}, {"routing": Routing.BY_KEY, "key": str}], ids=["balanced", "by_key"])
def test_a_ring_through_the_child_of_a_router_is_found(system: ActorSystem, options: dict[str, Any]) -> None:
    (outside,) = spawned(system, Linked)

    class Worker(Actor):
        def on_receive(self, _: Any) -> Any:
            return outside.ask("back")

    pool = system.spawn(lambda: PoolRouter(Worker, size=2, spec=ChildSpec(on={AskCycle: Directive.RESUME}), **options))
    outside.ask(lambda actor: setattr(actor, "next", pool))
    with pytest.raises(AskCycle):
        outside.ask("x", timeout=AT_ONCE)


# -- what is no ring -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_has_come_is_no_edge(system: ActorSystem, kind: str) -> None:
    one, other = spawned(system, KINDS[kind], Linked)
    replies: list[Any] = []
    one.ask(lambda _: replies.append(other.ask("x", block=False)))
    assert replies[0].get(timeout=AT_ONCE) == ["x"]
    # The edge of one whose reply is there, but who has not woken up yet.
    one._cell.waits_for.append(Wait(None, replies[0]))
    other.ask(lambda actor: setattr(actor, "next", one))
    assert other.ask("y", timeout=AT_ONCE) == ["y", "y"]


def test_an_ask_that_does_not_wait_is_no_edge(system: ActorSystem) -> None:
    one, other = spawned(system, Linked, Linked)
    other.ask(lambda actor: setattr(actor, "next", one))
    later: list[Any] = []
    one.ask(lambda _: later.append(other.ask("x", block=False)))
    assert later[0].get(timeout=AT_ONCE) == ["x", "x"]


def test_two_that_wait_for_the_same_third_are_no_ring(system: ActorSystem) -> None:
    one, other, third = spawned(system, Linked, Linked, Linked)
    for ref in (one, other):
        ref.ask(lambda actor: setattr(actor, "next", third))
    answers = [ref.ask("x", block=False) for ref in (one, other) * 50]
    assert [answer.get(timeout=AT_ONCE) for answer in answers] == [["x", "x"]] * 100


def test_a_thread_outside_of_actors_may_wait_for_anybody(system: ActorSystem) -> None:
    (ref,) = spawned(system, Linked)
    with waiting_for(ref.ask("x", block=False)):
        assert current_actor.get() is None
    assert ref.ask("x") == ["x"]


def test_a_wait_that_ends_with_a_timeout_leaves_no_edge(system: ActorSystem) -> None:
    one, other = spawned(system, Linked, Linked)
    release = threading.Event()
    other.tell(lambda _: release.wait(AT_ONCE))

    def wait_a_little(_: Any) -> None:
        with pytest.raises(AskTimeout):
            other.ask("x", timeout=0.001)

    one.ask(wait_a_little, timeout=AT_ONCE)
    assert one._cell.waits_for == []
    release.set()


# -- the pure function -----------------------------------------------------------------------------------------------


class Node:
    """An actor in a drawn graph."""

    def __init__(self, number: int) -> None:
        self.path = f"n{number}"
        self.current: object = "now"
        self.waits_for: list[Wait] = []

    def step_aside(self) -> Callable[[], object]:
        """See `Asker`."""
        return lambda: None


class Answer:
    """A reply in a drawn graph."""

    def __init__(self, target: Node | None, *, opened: bool = False) -> None:
        self.target = target
        self.opened = opened

    def withdraw(self, error: AskCycle) -> None:
        """See `Reply`."""


Edge = tuple[int, int | None, bool, bool]
"""From whom, to whom, whether the reply is there, whether the message is the one at hand."""
nodes = st.integers(0, 5)
edges = st.lists(st.tuples(nodes, st.none() | nodes, st.booleans(), st.booleans()), max_size=14)


def graph(drawn: list[Edge]) -> list[Node]:
    """Build it."""
    found = [Node(number) for number in range(6)]
    for source, target, opened, at_hand in drawn:
        answer = Answer(None if target is None else found[target], opened=opened)
        found[source].waits_for.append(Wait("now" if at_hand else "before", answer))
    return found


def reaches(drawn: list[Edge], start: int, goal: int) -> bool:
    """Whether live edges lead there, by brute force: all that is reachable, grown until nothing is added."""
    live = {(source, target) for source, target, opened, at_hand in drawn if at_hand and not opened}
    reached = {start}
    while more := {to for source, to in live if to is not None and source in reached and to not in reached}:
        reached |= more
    return goal in reached


@given(edges, nodes, nodes)
@example([(1, 2, False, True), (2, 0, False, True)], 0, 1)
@example([(1, 2, False, True), (2, 1, False, True)], 0, 1)
@example([(1, 0, True, True)], 0, 1)
@example([(1, 0, False, False)], 0, 1)
def test_a_cycle_is_found_exactly_when_the_graph_has_one(drawn: list[Edge], asker: int, asked: int) -> None:
    found = graph(drawn)
    path = cycle(found[asker], Answer(found[asked]))
    assert (path is not None) == reaches(drawn, asked, asker)


@given(edges, nodes, nodes)
def test_the_path_that_is_named_is_one_of_live_edges_from_the_asker_to_itself(
    drawn: list[Edge], asker: int, asked: int
) -> None:
    found = graph(drawn)
    path = cycle(found[asker], Answer(found[asked]))
    if path is None:
        return
    steps = [int(name[1:]) for name in path]
    assert steps[0] == steps[-1] == asker
    assert steps[1] == asked
    live = {(source, target) for source, target, opened, at_hand in drawn if at_hand and not opened}
    assert all(step in live for step in itertools.pairwise(steps[1:]))
    assert len(set(steps[1:])) == len(steps) - 1


@given(edges, nodes, nodes)
def test_a_reply_that_is_there_or_comes_from_no_actor_closes_no_cycle(
    drawn: list[Edge], asker: int, asked: int
) -> None:
    found = graph(drawn)
    assert cycle(found[asker], Answer(found[asked], opened=True)) is None
    assert cycle(found[asker], Answer(None)) is None
