"""Cancellation: the token that a handler looks at, why it fired, and what `cancel` answers."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

import msgspec

from everact.tasks.errors import CancelRequested


class CancelReason(enum.Enum):
    """Why a token fired. The first reason wins, except that USER replaces SHUTDOWN."""

    USER = "user"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    WORKFLOW = "workflow"


class CancelOutcome(enum.Enum):
    """What `cancel` achieved, told after its commit."""

    CANCELLED = "cancelled"
    """It had not started, and never will."""
    SIGNALLED = "signalled"
    """It is running, or between attempts; it ends CANCELLED if it really stops, else COMPLETED."""
    ALREADY_FINISHED = "already_finished"
    """Its outcome had been committed before."""
    NOT_FOUND = "not_found"
    SHIELDED = "shielded"
    """A compensation; these are not cancelled."""


class WorkflowCancelOutcome(enum.Enum):
    """What `cancel_workflow` achieved, told after its commit."""

    COMPENSATING = "compensating"
    """It is being undone; `system.wait_workflow` tells when that is over."""
    CANCELLED = "cancelled"
    """Nothing of it had been done, so there was nothing to undo."""
    ALREADY_COMPENSATING = "already_compensating"
    PAST_PIVOT = "past_pivot"
    """It has passed the step after which it only goes on."""
    ALREADY_FINISHED = "already_finished"
    NOT_FOUND = "not_found"


class Gate(Protocol):
    """A one-way door between threads, made by the runtime."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is open; False when `timeout` seconds have passed before."""
        ...

    def open(self) -> None:
        """Let everybody through, now and later."""
        ...


class TokenRuntime(Protocol):
    """What a token needs from outside this package."""

    def gate(self) -> Gate:
        """Make a closed gate."""
        ...

    def call_back(self, fn: Callable[[], object], /) -> None:
        """Run `fn` on the callback thread, soon."""
        ...


def outranks(new: CancelReason, old: CancelReason | None) -> bool:
    """Whether a new reason replaces the one that fired before.

    Example:
        >>> outranks(CancelReason.USER, CancelReason.SHUTDOWN), outranks(CancelReason.USER, CancelReason.TIMEOUT)
        (True, False)
    """
    return old is None or (new is CancelReason.USER and old is CancelReason.SHUTDOWN)


class CancellationToken(msgspec.Struct, eq=False):
    """How a running handler learns that it should stop: `ctx.cancellation`.

    A sync handler asks `raise_if_cancelled()` now and then; in an async one `asyncio.CancelledError` arrives
    at the next `await` by itself. Its methods may be called from any thread.

    Example:
        >>> CancellationToken().cancelled
        False
    """

    _runtime: TokenRuntime | None = None
    _reason: CancelReason | None = None
    _gates: list[Gate] = msgspec.field(default_factory=list)
    # One byte each: for the first reason, and for USER in the place of SHUTDOWN. Popping it is one step.
    _first: bytearray = msgspec.field(default_factory=bytearray(1).copy)
    _promotion: bytearray = msgspec.field(default_factory=bytearray(1).copy)
    _callbacks: list[Callable[[], object]] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked this attempt to stop."""
        return self._reason is not None

    @property
    def reason(self) -> CancelReason | None:
        """Why, or None."""
        return self._reason

    def raise_if_cancelled(self) -> None:
        """Leave the handler if it was asked to stop.

        Raises:
            CancelRequested: It was. This is a BaseException, so that `except Exception` does not catch it;
                after your own clean-up let it pass.
        """
        if self._reason is not None:
            raise CancelRequested(self._reason.value)

    def wait(self, seconds: float) -> bool:
        """Sleep that ends early when the attempt is asked to stop. Blocks the calling thread.

        Returns:
            True if it was asked to stop, False if the time has passed.
        """
        if self._reason is None and self._runtime is not None:
            gate = self._runtime.gate()
            self._gates.append(gate)
            # Asked again after the gate is in its place: _fire sets the reason first and opens the gates it
            # then sees, so whichever comes second notices the other.
            try:
                if self._reason is None:
                    gate.wait(seconds)
            finally:
                self._gates.remove(gate)
        return self._reason is not None

    def on_cancel(self, fn: Callable[[], object]) -> None:
        """Call `fn` once when the attempt is asked to stop; at once if it already was.

        It runs on everact's callback thread; if it raises, that is logged.
        """
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(fn)
        if self._reason is not None:
            self._run_callbacks()

    def _fire(self, reason: CancelReason) -> bool:
        """Fire; returns whether this reason now stands. Called by the engine only."""
        try:
            self._first.pop()
        except IndexError:
            if self._reason is None or not outranks(reason, self._reason) or not self._promotion:
                return False
            self._promotion.clear()
        self._reason = reason
        for gate in list(self._gates):
            gate.open()
        self._run_callbacks()
        return True

    def _run_callbacks(self) -> None:
        while self._callbacks and self._runtime is not None:
            try:
                fn = self._callbacks.pop(0)
            except IndexError:  # another thread took the last one
                return
            self._runtime.call_back(fn)
