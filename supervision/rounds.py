"""Playing rounds: a supervisor that stops and starts its children one by one, and waits for none of them for ever."""

from __future__ import annotations

import logging
from abc import abstractmethod
from dataclasses import dataclass

from everact.actors.actor import Actor
from everact.actors.cell import Cell
from everact.actors.lifecycle import Down, Report, Start, Started, StartFailed, TakeDown
from everact.supervision.child_spec import Restart
from everact.supervision.round import Child, Round
from everact.tasks.events import ActorAbandoned

logger = logging.getLogger("everact.supervision")


@dataclass(frozen=True, slots=True)
class Tick:
    """Look whether something is due."""


class RoundPlayer(Actor):
    """The half of a `Supervisor` that carries its decisions out.

    Rounds that have to do with different children go on side by side: a child that waits out its backoff keeps no
    other one waiting. A step ends with the child's report, or when its time is over: then the child is left behind.
    """

    def __init__(self) -> None:
        super().__init__()
        self._runtime = self._cell.environment.runtime
        self._rounds: dict[Round, None] = {}
        self._calls: list[float] = []  # when the timer calls, the next one last

    @property
    def _cell(self) -> Cell:
        return self._actor_cell

    @abstractmethod
    def _start_failed(self, playing: Round, error: BaseException) -> None:
        """The child at hand could not start."""

    @abstractmethod
    def _remove(self, child: Child) -> None:
        """Let a child go for good."""

    @abstractmethod
    def _all_played(self) -> None:
        """No round is under way any more."""

    def _hear_of_a_step(self, child: Child, report: Report) -> None:
        playing = child.playing
        if playing is None or playing.at_hand is not child:
            return
        if isinstance(report, Down) and playing.stopping:
            self._stopped(playing)
        elif isinstance(report, Started) and not playing.stopping:
            self._started(playing)
        elif isinstance(report, StartFailed) and not playing.stopping:
            self._start_failed(playing, report.error)

    def _play(self, playing: Round) -> None:
        self._rounds[playing] = None
        for child in playing.members:
            child.playing = playing
        self._go_on(playing)

    def _call_off(self, playing: Round) -> None:
        self._rounds.pop(playing, None)
        for child in playing.members:
            child.playing = None

    def _go_on(self, playing: Round) -> None:
        if playing.told or playing not in self._rounds:
            return
        if playing.stopping:
            child = playing.stopping[0]
            self._order(playing, child, TakeDown(final=child.leaving), shutdown_seconds(child))
        elif playing.starting and playing.delay > 0:
            playing.due = self._runtime.monotonic() + playing.delay
            self._arm(playing.due)
        elif playing.starting:
            child = playing.starting[0]
            self._order(playing, child, Start(), child.spec.start_timeout)
        else:
            self._finish(playing)

    def _order(self, playing: Round, child: Child, order: object, seconds: float) -> None:
        playing.told = True
        playing.due = self._runtime.monotonic() + seconds
        self._arm(playing.due)
        child.cell.tell_order(order)

    def _stopped(self, playing: Round) -> None:
        playing.told, playing.due = False, None
        child = playing.stopping.popleft()
        if child not in playing.starting:
            child.playing = None
        if child.leaving or child.spec.restart is Restart.TEMPORARY:
            self._remove(child)
        self._go_on(playing)

    def _started(self, playing: Round) -> None:
        playing.told, playing.due = False, None
        child = playing.starting.popleft()
        child.playing = None
        child.started = self._runtime.monotonic()
        spawned, child.spawned = child.spawned, None
        if spawned is not None:
            spawned.settle(child.cell.ref)
        self._go_on(playing)

    def _finish(self, playing: Round) -> None:
        del self._rounds[playing]
        playing.done()
        if not self._rounds:
            self._all_played()

    def _arm(self, due: float) -> None:
        """Have the timer call in time. Calls that are under way already are waited for, never doubled."""
        if not self._calls or self._calls[-1] > due:
            self._calls.append(due)
            cell = self._cell  # a supervisor that has been replaced is not kept by its calls
            cell.environment.call_after(max(due - self._runtime.monotonic(), 0.0), lambda: cell.tell_order(Tick()))

    def _called(self) -> None:
        if self._calls:  # else it was for the instance before this one
            self._calls.pop()
        self._see_what_is_due()

    def _see_what_is_due(self) -> None:
        now = self._runtime.monotonic()
        for playing in list(self._rounds):
            if playing in self._rounds and playing.due is not None and playing.due <= now:
                self._overdue(playing)
        dues = [each.due for each in self._rounds if each.due is not None]
        if dues:
            self._arm(min(dues))

    def _overdue(self, playing: Round) -> None:
        child, playing.due = playing.at_hand, None
        if child is None:
            playing.delay = 0.0
            self._go_on(playing)
            return
        seconds = shutdown_seconds(child) if playing.stopping else child.spec.start_timeout
        where = "stopping" if playing.stopping else "starting"
        self._leave_behind(child, where, seconds)
        if playing.stopping:
            self._stopped(playing)
        else:
            self._start_failed(playing, TimeoutError(f"{child.cell.path} did not start within {seconds:g} s"))

    def _leave_behind(self, child: Child, where: str, seconds: float) -> None:
        instance = child.cell.instance
        if isinstance(instance, RoundPlayer):
            # It waits itself, for somebody whose time is over as well and whom nobody else would report.
            for playing in list(instance._rounds):
                if playing.at_hand is not None:
                    self._leave_behind(playing.at_hand, where, seconds)
        if child.cell.abandon(final=False):
            logger.error("%s was still %s after %g s; its thread is left behind", child.cell.path, where, seconds)
            self._cell.environment.publish(ActorAbandoned(self._runtime.now(), child.cell.path, where))


def shutdown_seconds(child: Child) -> float:
    """A supervisor has the time of those below it on top of its own."""
    instance = child.cell.instance
    return child.spec.shutdown + (instance._actor_shutdown_seconds if instance is not None else 0.0)
