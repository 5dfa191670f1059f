"""The supervisor of a user's actors: it starts them, and decides what follows when one of them fails."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from everact.actors.actor import Actor
from everact.actors.cell import Cell
from everact.actors.future import Future
from everact.actors.lifecycle import Carry, CellState, Ended, Failed, GaveUp, Gone, Report, Request
from everact.supervision.child_spec import ChildSpec, Directive
from everact.supervision.intensity import Intensity
from everact.supervision.round import Child, Round
from everact.supervision.rounds import RoundPlayer, Tick, shutdown_seconds
from everact.supervision.strategy import Strategy
from everact.tasks.errors import ActorStartFailed, ConfigurationError, RestartsExhausted
from everact.tasks.events import ChildFailed
from everact.tasks.failure import error_name, error_text

logger = logging.getLogger("everact.supervision")


@dataclass(frozen=True, slots=True)
class AddChild(Request):
    """Start one more child, and answer with its reference."""

    spec: ChildSpec
    reply: Future[Any]

    def refuse(self, path: str) -> None:
        """See `Request.refuse`."""
        self.reply.fail(_unstartable(f"{path}/{self.spec.name or _stem(self.spec)}"))


class Supervisor(RoundPlayer):
    """An actor that starts children and keeps them going. Supervisors nest.

    Children start in order, each after the one before it is up, and stop in reverse. One that fails is suspended,
    its messages wait, and its spec says what follows; a restart takes along whom the strategy names. More restarts
    than the intensity allows, an ESCALATE, and a child that cannot start at first are failures of the supervisor
    itself: it stops its children and leaves the decision to its own supervisor, at the top to the system. When it
    is restarted, the children of its list keep address and mailbox.

    Use it as it is, or derive from it and set the class attributes. It never runs the children's code, and nothing
    of its own blocks it. The rules are OTP's `supervisor`, with a backoff between restarts.

    Args:
        children: Who is started at first, in this order; the class attribute if None.
        strategy: Whom a restart takes along; the class attribute if None.
        intensity: How many restarts in how long are tolerated, counted together; the class attribute if None.

    Raises:
        ConfigurationError: A child has no factory, or two have one name.
    """

    pinned: ClassVar[bool | None] = False
    children: ClassVar[Sequence[ChildSpec]] = ()
    strategy: ClassVar[Strategy] = Strategy.ONE_FOR_ONE
    intensity: ClassVar[Intensity] = Intensity()

    def __init__(
        self,
        children: Iterable[ChildSpec] | None = None,
        *,
        strategy: Strategy | None = None,
        intensity: Intensity | None = None,
    ) -> None:
        super().__init__()
        self._specs = _named(type(self).children if children is None else children)
        self._strategy = strategy or type(self).strategy
        self._intensity = intensity or type(self).intensity
        self._history: tuple[float, ...] = ()
        self._children: dict[str, Child] = {}
        self._by_cell: dict[Cell, Child] = {}
        self._numbers = itertools.count(1)
        self._ready: Callable[..., object] | None = None
        self._closing = False

    # -- up and down ---------------------------------------------------------------------------------------

    def _actor_set_up(self, done: Callable[..., object]) -> None:
        kept, self._cell.children = self._cell.children, {}
        for name, spec in self._specs.items():
            self._enter(name, spec, kept.pop(name, None))
        for cell in kept.values():
            cell.close()
        self._ready = done
        self._play(Round(starting=deque(self._children.values())))

    def _enter(self, name: str, spec: ChildSpec, cell: Cell | None = None) -> Child:
        factory = spec.factory
        assert factory is not None  # noqa: S101 - _named has seen to it
        if cell is not None and cell.state is not CellState.STOPPED:
            cell.factory = factory  # what the supervisor before this one has made of its specs is not to come back
        else:
            made = factory.func if isinstance(factory, partial) else factory
            known = made if isinstance(made, type) and issubclass(made, Actor) else None
            path = f"{self._cell.path}/{name}"
            cell = Cell(self._cell.environment, factory, path=path, parent=self._cell, actor_class=known)
        child = self._children[name] = self._by_cell[cell] = Child(name, spec, cell)
        self._cell.children[name] = cell
        return child

    def _remove(self, child: Child) -> None:
        if self._children.get(child.name) is not child:
            return
        del self._children[child.name], self._by_cell[child.cell]
        self._cell.children.pop(child.name, None)
        child.cell.close()  # after it has left the tree: who sees that it has ended looks there
        playing, child.playing = child.playing, None
        child.let_down(f"{self._cell.path} has let it go")
        if playing is not None:
            playing.drop(child)
            self._go_on(playing)

    async def _actor_unwind(self, done: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._unwound, self._ready = done, None
        self._stop_all(lambda: self._cell.tell_order(_Unwound()))

    def _stop_all(self, done: Callable[[], object]) -> None:
        self._closing = True
        for playing in list(self._rounds):
            self._call_off(playing)
        for child in self._children.values():
            if child.spawned is not None:
                child.leaving = True
                child.spawned.fail(_unstartable(child.cell.path))
        self._play(Round(stopping=deque(reversed(self._children.values())), done=done))

    @property
    def _actor_shutdown_seconds(self) -> float:
        return sum(shutdown_seconds(child) for child in list(self._children.values()))

    # -- what it is told -----------------------------------------------------------------------------------

    async def _actor_on_order(self, order: Any, fence: int) -> None:
        if isinstance(order, Report):
            self._hear(order)
        elif isinstance(order, Tick):
            self._called()
        elif isinstance(order, AddChild):
            self._add(order)
        elif isinstance(order, _Unwound):
            await self._unwound()
        elif isinstance(order, _GaveUp):
            await self._cell.fail(order.error, fence, GaveUp)

    def _hear(self, report: Report) -> None:
        child = self._by_cell.get(report.cell)
        if child is None or report.generation != report.cell.generation:
            return
        if isinstance(report, Failed | Ended):
            # One that is in a round is stopped anyhow, and started again or let go, by that round.
            if child.playing is None:
                error = report.error if isinstance(report, Failed) else None
                self._decide(child, error, can_resume=not isinstance(report, GaveUp))
        elif isinstance(report, Gone):
            self._remove(child)
        else:
            self._hear_of_a_step(child, report)

    # -- decisions -----------------------------------------------------------------------------------------

    def _decide(self, child: Child, error: BaseException | None, *, can_resume: bool) -> None:
        directive = child.spec.judge(error, can_resume=can_resume)
        if directive is Directive.RESTART:
            self._restart(child, error)
        elif directive is Directive.ESCALATE and error is not None:
            self._tell(child, error, "escalate")
            self._give_up(error)
        elif directive is Directive.RESUME:
            self._tell(child, error, "resume")
            child.cell.tell_order(Carry(child.cell.generation))
        else:
            self._tell(child, error, "stop")
            child.leaving = True
            self._play(Round(stopping=deque((child,))))

    def _restart(self, child: Child, error: BaseException | None) -> None:
        now = self._runtime.monotonic()
        history = self._intensity.admit(now, self._history)
        if history is None:
            self._tell(child, error, "give up")
            self._give_up(self._exhausted(child, error))
            return
        self._history = history
        if child.started is not None and now - child.started > child.spec.backoff.most:
            child.failures = 0
        delay = child.spec.backoff.delay(child.failures, self._runtime.random())
        child.failures += 1
        self._tell(child, error, f"restart in {delay:.3g} s")
        self._play(self._round_for(child, delay))

    def _round_for(self, child: Child, delay: float) -> Round:
        """The round that restarts a child and whom it takes along; it absorbs the rounds that these are in."""
        members = {child}
        if self._strategy is not Strategy.ONE_FOR_ONE:  # which need not look at 20,000 siblings
            members = {self._children[name] for name in self._strategy.group(list(self._children), child.name)}
        for playing in {each.playing: None for each in members if each.playing is not None}:
            members.update(playing.members)
            self._call_off(playing)
        group = [each for each in self._children.values() if each in members] if len(members) > 1 else [child]
        return Round(stopping=deque(reversed(group)), delay=delay, starting=deque(group))

    def _exhausted(self, child: Child, error: BaseException | None) -> RestartsExhausted:
        limit = self._intensity
        gives_up = RestartsExhausted(self._cell.path, child.cell.path, _told(error), limit.restarts, limit.within)
        gives_up.__cause__ = error
        return gives_up

    def _give_up(self, error: BaseException) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            self._stop_all(partial(ready, error))
        else:
            self._stop_all(lambda: self._cell.tell_order(_GaveUp(error)))

    def _tell(self, child: Child, error: BaseException | None, decision: str) -> None:
        if error is None:
            logger.info("%s: %s has stopped itself; decision: %s", self._cell.path, child.cell.path, decision)
            return
        logger.error(
            "%s: %s failed (%s); decision: %s",
            self._cell.path,
            child.cell.path,
            _told(error),
            decision,
            exc_info=error,
        )
        event = ChildFailed(
            self._runtime.now(), self._cell.path, child.cell.path, child.cell.generation, _told(error), decision
        )
        self._cell.environment.publish(event)

    def _start_failed(self, playing: Round, error: BaseException) -> None:
        child = playing.starting[0]
        failure = ActorStartFailed(child.cell.path, _told(error))
        failure.__cause__ = error
        spawned, child.spawned = child.spawned, None
        if spawned is not None:
            self._remove(child)
            spawned.fail(failure)  # at last, so that nothing is left when the one who waits sees it
        elif self._ready is not None:
            self._tell(child, error, "give up")
            self._give_up(failure)
        else:
            self._restart(child, error)

    def _add(self, order: AddChild) -> None:
        if self._closing:
            order.refuse(self._cell.path)
            return
        name = order.spec.name or self._unused_name(order.spec)
        taken = self._children.get(name)
        if taken is not None and taken.cell.state is CellState.STOPPED:
            self._remove(taken)  # its report is on its way
        if name in self._children:
            msg = f"{self._cell.path} has a child {name!r} already; give this one another name"
            order.reply.fail(ConfigurationError(msg))
            return
        child = self._enter(name, order.spec)
        child.spawned = order.reply
        self._play(Round(starting=deque((child,))))

    def _unused_name(self, spec: ChildSpec) -> str:
        while (name := f"{_stem(spec)}-{next(self._numbers)}") in self._children:
            pass
        return name

    def _all_played(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready()


@dataclass(frozen=True, slots=True)
class _Unwound:
    """All children are down; the supervisor may end as well."""


@dataclass(frozen=True, slots=True)
class _GaveUp:
    """All children are down; the supervisor fails."""

    error: BaseException


def _named(specs: Iterable[ChildSpec]) -> dict[str, ChildSpec]:
    named: dict[str, ChildSpec] = {}
    for spec in specs:
        if spec.factory is None:
            msg = f"{spec!r} has no factory; a supervisor's children are made by theirs"
            raise ConfigurationError(msg)
        name = spec.name or f"{_stem(spec)}-{len(named) + 1}"
        if name in named:
            msg = f"two children are called {name!r}; names below one supervisor must differ"
            raise ConfigurationError(msg)
        named[name] = replace(spec, name=name)
    return named


def _unstartable(path: str) -> ActorStartFailed:
    return ActorStartFailed(path, "its supervisor is stopping or being started again")


def _stem(spec: ChildSpec) -> str:
    return str(getattr(spec.factory, "__name__", "actor")).strip("<>").lower()


def _told(error: BaseException | None) -> str:
    return "it has stopped itself" if error is None else f"{error_name(error)}: {error_text(error)}"
