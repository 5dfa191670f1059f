"""A supervisor that is restarted itself: what its children keep, and what they do not."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from everact import Actor, ActorRef, ActorSystem, Backoff, ChildSpec, Directive, Supervisor

WAIT = 10.0
AT_ONCE = Backoff(0, most=0, jitter=0)


@pytest.fixture
def system() -> Iterator[ActorSystem]:
    with ActorSystem("nested") as running:
        yield running


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.003)


class Numbered(Actor):
    """Answers with the number it was made with; what it is asked as an exception it raises."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def on_receive(self, message: Any) -> int:
        if isinstance(message, Exception):
            raise message
        return self.number


ESCALATE: dict[type[BaseException], Directive] = {ValueError: Directive.ESCALATE}


def child_of(boss: ActorRef[Any]) -> ActorRef[Any]:
    return boss._cell.children["child"].ref


def test_a_restarted_supervisor_starts_its_children_by_its_new_list_at_their_old_addresses(
    system: ActorSystem,
) -> None:
    numbers = itertools.count(1)

    def make() -> Supervisor:
        number = next(numbers)
        return Supervisor([ChildSpec(lambda: Numbered(number), name="child", on=ESCALATE)])

    boss = system.spawn(make, spec=ChildSpec(backoff=AT_ONCE))
    child = child_of(boss)
    assert child.ask("number") == 1
    with pytest.raises(ValueError, match="x"):
        child.ask(ValueError("x"))
    assert child.ask("number") == 2
    assert child_of(boss) is child


def test_a_child_that_was_gone_when_its_supervisor_came_back_is_made_anew(system: ActorSystem) -> None:
    boss = system.spawn(
        lambda: Supervisor([ChildSpec(lambda: Numbered(1), name="child", on=ESCALATE, start_timeout=600)]),
        spec=ChildSpec(backoff=Backoff(0.2, most=0.2, jitter=0)),
    )
    child = child_of(boss)
    child.tell(ValueError("x"))
    until(lambda: boss._cell.state.value == "down")
    child._cell.close()
    until(lambda: boss._cell.state.value == "running")
    assert not child.is_alive()
    assert child_of(boss).ask("number") == 1


def test_a_supervisor_that_has_given_up_cannot_be_resumed_and_is_restarted(system: ActorSystem) -> None:
    spec = ChildSpec(backoff=AT_ONCE, on={ValueError: Directive.RESUME})
    child_spec = ChildSpec(lambda: Numbered(1), name="child", on=ESCALATE)
    boss = system.spawn(lambda: Supervisor([child_spec]), spec=spec)
    with pytest.raises(ValueError, match="x"):
        child_of(boss).ask(ValueError("x"))
    assert child_of(boss).ask("number") == 1
    assert boss._cell.generation == 2


def test_a_supervisor_whose_own_message_failed_is_resumed_with_its_children_as_they_are(system: ActorSystem) -> None:
    class Boss(Supervisor):
        children = (ChildSpec(lambda: Numbered(1), name="child"),)

        def on_receive(self, message: Exception) -> None:
            raise message

    boss = system.spawn(Boss, spec=ChildSpec(on={ValueError: Directive.RESUME}))
    with pytest.raises(ValueError, match="x"):
        boss.ask(ValueError("x"))
    assert child_of(boss).ask("number") == 1
    assert (boss._cell.generation, child_of(boss)._cell.generation) == (1, 1)
