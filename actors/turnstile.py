"""Lets one turn of a cell pass at a time, until the cell is given another one and this turn is left behind."""

from __future__ import annotations


class Turnstile:
    """One token; taking it is the right to start a turn.

    Nothing here locks: taking the token out of a list is one step. A turn that has been left behind gives it back to
    the turnstile it came through, where nobody waits for it any more.

    Attributes:
        fence: The number of this turnstile in the life of its cell. What a turn does under another one is void.
    """

    __slots__ = ("_tokens", "fence")

    def __init__(self, fence: int) -> None:
        self.fence = fence
        self._tokens = [None]

    def take(self) -> bool:
        """Take the token; False while a turn is under way."""
        try:
            self._tokens.pop()
        except IndexError:
            return False
        return True

    def give_back(self) -> None:
        """Let the next turn pass."""
        self._tokens.append(None)
