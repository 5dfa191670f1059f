"""Whether an actor has ended: what pykka keeps in a `threading.Event`, at a fifth of its memory."""

from __future__ import annotations

from everact.actors.latch import Latch
from everact.actors.runtime import process_runtime


class StopFlag(Latch):
    """Set once, when an actor has ended for good."""

    __slots__ = ()

    def is_set(self) -> bool:
        """Whether it has ended."""
        return self._opened

    def set(self) -> None:
        """Say so. Setting it does not stop anybody; use `stop` for that."""
        self.open()

    def wait(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Block until it has ended; False when `timeout` seconds have passed before."""
        return Latch.wait(self, process_runtime().gate, timeout)
