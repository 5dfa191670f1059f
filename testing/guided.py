"""Choices that were recorded in one run, as a guide for another one that goes differently."""

from __future__ import annotations

from collections.abc import Sequence

from everact.testing.choices import Policy


class Guided:
    """Makes recorded choices as far as they fit: a place that is not there any more is the last one, the rest is calm.

    So a run can be repeated with a fault less, or a surprise less, and still be about the same.

    Args:
        choices: What was recorded.
        seed: Where ids and jitter come from.

    Example:
        >>> guided = Guided([1, 5, 2], seed=7)
        >>> [guided.choose(["a", "b", "c"], "who runs") for _ in range(5)]
        [1, 2, 2, 0, 0]
    """

    on_driver = False

    def __init__(self, choices: Sequence[int], seed: int = 0) -> None:
        self.seed = seed
        self._choices = tuple(choices)
        self._left = iter(self._choices)

    def choose(self, options: Sequence[str], what: str) -> int:  # noqa: ARG002 - the signature is that of a policy
        """See `Policy.choose`."""
        return min(next(self._left, 0), len(options) - 1)

    def __repr__(self) -> str:
        return f"Guided({self._choices!r}, seed={self.seed})"


class Recorded:
    """Another policy, with everything that it chooses: who runs, and what goes wrong.

    Attributes:
        choices: What was chosen.
    """

    def __init__(self, policy: Policy) -> None:
        self.seed, self.on_driver = policy.seed, policy.on_driver
        self.choices: list[int] = []
        self._policy = policy

    def choose(self, options: Sequence[str], what: str) -> int:
        """See `Policy.choose`."""
        choice = self._policy.choose(options, what)
        self.choices.append(choice)
        return choice
