"""Something that happens once: a flag with callbacks and waits, without a lock."""

from __future__ import annotations

from collections.abc import Callable

from everact.tasks.cancellation import Gate


class Latch:
    """Opens once and stays open.

    Nothing here locks. A callback is in the list before the flag is read again, and whoever takes it out of the
    list calls it; taking one out is a single step, so it is called exactly once whoever comes first.
    """

    __slots__ = ("_callbacks", "_opened")

    def __init__(self) -> None:
        self._opened = False
        self._callbacks: list[Callable[[], object]] = []

    @property
    def opened(self) -> bool:
        """Whether it is open."""
        return self._opened

    def open(self) -> None:
        """Open it, and call in this thread whoever waits for that. Opening twice does no harm."""
        self._opened = True
        if self._callbacks:
            self._call_back()

    def on_open(self, fn: Callable[[], object]) -> None:
        """Call `fn` once it is open: in the thread that opens it, or now. It must return at once, and not raise."""
        self._callbacks.append(fn)
        if self._opened:
            self._call_back()

    def wait(self, make_gate: Callable[[], Gate], timeout: float | None = None) -> bool:
        """Block until it is open; False when `timeout` seconds have passed before."""
        if not self._opened:
            gate = make_gate()
            self.on_open(gate.open)
            if not gate.wait(timeout):
                self._forget(gate.open)
        return self._opened

    def _forget(self, fn: Callable[[], object]) -> None:
        try:
            self._callbacks.remove(fn)
        except ValueError:  # it is being called at this moment
            return

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                fn = self._callbacks.pop(0)
            except IndexError:  # somebody else was faster
                return
            fn()
