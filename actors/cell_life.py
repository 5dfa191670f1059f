"""The life of a cell: its instance is made, started, ended and replaced, as its supervisor orders."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from everact.actors.birth import Birth, being_built, unfit
from everact.actors.cell_shell import CellShell
from everact.actors.lifecycle import (
    Begin,
    Carry,
    CellState,
    Down,
    Failed,
    Request,
    Start,
    Started,
    StartFailed,
    TakeDown,
)
from everact.tasks.errors import ConfigurationError

logger = logging.getLogger("everact.actor")


class CellLife(CellShell):
    """The part of a `Cell` that has to do with its instance.

    Everything here runs in a turn of the cell, for it runs user code. After user code comes back, the fence says
    whether the turn has been left behind meanwhile; then it changes nothing any more.
    """

    __slots__ = ()

    # -- orders ----------------------------------------------------------------------------------------------

    async def _obey(self, order: Any, fence: int) -> None:
        kind = type(order)
        if kind is Start:
            await self._start(fence)
        elif kind is Begin:
            await self._begin(fence)
        elif kind is Carry:
            self._carry_on(order, fence)
        elif kind is TakeDown:
            await self.end(fence, final=order.final, then=partial(self._report, Down))
        elif self.instance is not None and self._fence == fence:
            await self._pass_on(order, fence)
        elif isinstance(order, Request):
            order.refuse(self.path)

    async def _pass_on(self, order: Any, fence: int) -> None:
        try:
            await self.instance._actor_on_order(order, fence)  # type: ignore[union-attr]
        except BaseException as error:
            # A supervisor that cannot do its work fails as any actor does; unheard, it would be dead with no end.
            logger.exception("Unhandled exception in %s:", self.path, exc_info=error)
            await self.fail(error, fence)

    def _carry_on(self, order: Carry, fence: int) -> None:
        if self.instance is None or self.state is not CellState.SUSPENDED or order.generation != self.generation:
            return
        if self._move(fence, CellState.RUNNING):
            self.cause = None

    async def _answered(self, answer: Any) -> Any:
        return await answer if self.is_async and inspect.isawaitable(answer) else answer

    # -- the start -------------------------------------------------------------------------------------------

    def build(self, fence: int = 0) -> None:
        """Make an instance. Runs user code; raises what that raises.

        Args:
            fence: Of the turn that makes it. If that has been left behind meanwhile, the instance is let go.

        Raises:
            ConfigurationError: The factory made something that cannot live in this cell.
        """
        self.generation += 1
        token = being_built.set(Birth(self._self, fence))
        try:
            instance = self.factory() if self.factory is not None else None
        finally:
            being_built.reset(token)
        with self.environment.transitions:
            if self._fence != fence:
                return
            fits = getattr(instance, "_actor_cell", None) is self and self.instance is None
            if fits:
                self.instance = instance
        if not fits:
            raise ConfigurationError(unfit(instance))

    async def _start(self, fence: int) -> None:
        if not self._move(fence, CellState.STARTING):
            return
        self._final, self._after_end = False, []
        executor = self._executor
        try:
            self.build(fence)
        except BaseException as error:
            self._start_failed(fence, error)
            return
        if self._executor is executor:
            await self._begin(fence)
            return
        with self.environment.transitions:
            if self._fence == fence:
                self._orders.insert(0, Begin())  # on_start belongs on the thread that the class has asked for

    async def _begin(self, fence: int) -> None:
        instance = self.instance
        if instance is None or self._fence != fence:
            return
        try:
            await self._answered(instance.on_start())
        except BaseException as error:
            self._start_failed(fence, error)
            return
        # A supervisor starts its children first, and goes on when the last has reported.
        instance._actor_set_up(partial(self._set_up, fence))

    def _set_up(self, fence: int, error: BaseException | None = None) -> None:
        if error is not None:
            self._start_failed(fence, error)
        elif self.state is CellState.STARTING and self._move(fence, CellState.RUNNING):
            self.cause = None
            self._report(Started)

    def _start_failed(self, fence: int, error: BaseException) -> None:
        if not self._move(fence, CellState.DOWN):
            return
        self.instance, self.cause = None, error
        if self.parent is None:
            logger.error("Unhandled exception in %s:", self.path, exc_info=error)
            self.close()
        self._report(StartFailed, error)

    # -- the failure -----------------------------------------------------------------------------------------

    async def fail(self, error: BaseException, fence: int, report: type[Failed] = Failed) -> None:
        """The instance has failed: wait for the supervisor's decision; without one, end."""
        if self._fence != fence:
            return
        self.cause = error
        if self.parent is not None:
            # Not of one that is ending; but a supervisor that waits for a decision may find that it has to give up.
            if self.state in {CellState.RUNNING, CellState.SUSPENDED} and self._move(fence, CellState.SUSPENDED):
                self._report(report, error)
            return
        logger.error("Unhandled exception in %s:", self.path, exc_info=error)
        await self.end(fence, final=True, failed=True)

    # -- the end ---------------------------------------------------------------------------------------------

    async def end(
        self, fence: int, *, final: bool, failed: bool = False, then: Callable[[], object] = lambda: None
    ) -> bool:
        """End the instance, then call `then`; `final` ends the cell as well. An end under way takes both over.

        Returns:
            False if this turn has been left behind; then nothing comes of it.
        """
        with self.environment.transitions:
            if self._fence != fence:
                return False
            state, instance = self.state, self.instance
            if state is not CellState.STOPPED:
                self.state = CellState.STOPPING
                self._final = self._final or final
                self._after_end.append(then)
        if state is CellState.STOPPED:
            then()
            return True
        if self._final:
            self._mark_ended()
        if state is CellState.STOPPING:
            return True
        if instance is None:
            self._ended(fence)
        else:
            # A supervisor stops its children first, and goes on when the last has reported.
            await instance._actor_unwind(partial(self._end_instance, fence, failed or state is CellState.SUSPENDED))
        return True

    async def _end_instance(self, fence: int, failed: bool) -> None:
        instance = self.instance
        if instance is not None and self._fence == fence:
            try:
                if failed and self.cause is not None:
                    await self._answered(instance.on_failure(type(self.cause), self.cause, self.cause.__traceback__))
                else:
                    await self._answered(instance.on_stop())
            except BaseException as error:
                logger.exception("Unhandled exception in %s:", self.path, exc_info=error)
        self._ended(fence)

    def _ended(self, fence: int) -> None:
        with self.environment.transitions:
            if self._fence != fence:
                return
            self.instance = None
            final = self._final or self.state is CellState.STOPPED
            if not final:
                self.state = CellState.DOWN
            callbacks, self._after_end = self._after_end, []
        if final:
            self.close()
        for then in callbacks:
            then()
