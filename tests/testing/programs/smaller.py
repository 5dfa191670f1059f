"""Makes a world that fails smaller, as long as it fails in the same way: fewer things done, faults, surprises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from everact.testing import PromiseBroken
from everact.testing.schedule import Schedule
from tests.testing.programs.worlds import World, act, simulation, without_action

PATIENCE, MORE = 200.0, 40.0
"""Virtual seconds in which a world must come to its end, and for each task more."""


class Recorded:
    """Makes recorded choices, as far as there are options for them, and calm ones after their end."""

    on_driver = False

    def __init__(self, seed: int, choices: Sequence[int]) -> None:
        self.seed = seed
        self._left = iter(choices)

    def choose(self, options: Sequence[str], what: str) -> int:
        """See `Policy.choose`."""
        return min(next(self._left, 0), len(options) - 1)


@dataclass(frozen=True)
class Failure:
    """How a world fails.

    Attributes:
        world: With all faults that happened in its plan.
        choices: Who was chosen to run.
        promise: The first promise that was broken, or the kind of the error.
        text: What was said.
        steps: Of the scheduler, in all.
    """

    world: World
    choices: tuple[int, ...]
    promise: str
    text: str
    steps: int

    @property
    def surprises(self) -> int:
        """How many choices are not the calm one."""
        return sum(choice > 0 for choice in self.choices)

    @property
    def tasks(self) -> int:
        """How many calls the client makes."""
        return calls_of(self.world)

    @property
    def size(self) -> tuple[int, int, int, int]:
        """What is to become smaller, first things first."""
        world = self.world
        plain = world.nodes + (world.storage != "memory") + world.events
        return (self.tasks + world.faults.count, plain, self.surprises, self.steps)


def calls_of(world: World) -> int:
    """How many calls the client makes."""
    return sum(action[2] if action[0] == "many" else 1 for action in world.actions)


def failure_of(world: World, choices: Sequence[int] | None = None) -> Failure | None:
    """Play a world; None if nothing is wrong."""
    policy = None if choices is None else Recorded(world.seed, choices)
    sim = simulation(world, policy)
    try:
        with sim:
            act(sim, world, PATIENCE + MORE * calls_of(world))
    except Exception as error:
        found, text = _told(error)
        made = Schedule.parse(sim.schedule).choices
        return Failure(replace(world, faults=sim.faults, max_faults=0), made, found, text, sim.steps)
    return None


def _told(error: Exception) -> tuple[str, str]:
    if isinstance(error, PromiseBroken):
        return error.violations[0].promise, error.violations[0].text
    return type(error).__name__, str(error).split("\n", 1)[0]


def smallest(failure: Failure, runs: int = 200) -> Failure:
    """Leave out whatever is not needed for it to fail in this way.

    Args:
        failure: What was found.
        runs: How many worlds to try at the most.
    """
    search = _Search(failure, runs)
    size = None
    while search.left > 0 and search.best.size != size:
        size = search.best.size
        search.drop_choices()
        search.drop_actions()
        search.drop_faults()
        search.make_plain()
    return search.best


class _Search:
    def __init__(self, failure: Failure, runs: int) -> None:
        self.best, self.left = failure, runs

    def tries(self, world: World, choices: Sequence[int]) -> bool:
        """Whether this fails in the same way, and is smaller; it is the best one then."""
        if self.left <= 0:
            return False
        self.left -= 1
        found = failure_of(world, choices)
        if found is None or found.promise != self.best.promise or found.size >= self.best.size:
            return False
        self.best = found
        return True

    def drop_choices(self) -> None:
        """Cut them off, the more the better; then make pieces of them calm."""
        if self.tries(self.best.world, ()):
            return
        low, high = 0, len(self.best.choices)
        while high - low > max(high // 16, 1) and self.left > 0:
            middle = (low + high) // 2
            if self.tries(self.best.world, self.best.choices[:middle]):
                high = min(middle, len(self.best.choices))
            else:
                low = middle
        length = max(len(self.best.choices) // 2, 1)
        while length and self.left > 0:
            for start in range(0, len(self.best.choices), length):
                choices = list(self.best.choices)
                if any(choices[start : start + length]):
                    choices[start : start + length] = [0] * len(choices[start : start + length])
                    self.tries(self.best.world, choices)
            length //= 2

    def drop_actions(self) -> None:
        """One thing less that the client does; few of a kind in the place of many."""
        self._drop(lambda: len(self.best.world.actions), without_action)
        for number, action in enumerate(self.best.world.actions):
            if action[0] == "many":
                for fewer in (1, 2, action[2] // 2):
                    actions = [*self.best.world.actions]
                    actions[number] = ("many", action[1], fewer)
                    if fewer < action[2] and self._settles(replace(self.best.world, actions=tuple(actions))):
                        break

    def drop_faults(self) -> None:
        """One fault less."""
        self._drop(
            lambda: self.best.world.faults.count,
            lambda world, number: replace(world, faults=world.faults.without(number)),
        )

    def make_plain(self) -> None:
        """One node, in memory, to which nobody listens."""
        world = self.best.world
        if world.nodes > 1 and not world.faults.node_names() - {"node-1"}:
            actions = tuple(
                (*action[:3], {name: value for name, value in action[3].items() if name != "node"})
                if action[0] == "dispatch"
                else action
                for action in world.actions
            )
            self._settles(replace(world, nodes=1, actions=actions))
        if self.best.world.nodes == 1:
            self._settles(replace(self.best.world, storage="memory"))
        self._settles(replace(self.best.world, events=False))

    def _drop(self, count: Callable[[], int], without: Callable[[World, int], World]) -> None:
        number = count() - 1
        while number >= 0 and self.left > 0:
            self._settles(without(self.best.world, number))
            number = min(number, count()) - 1

    def _settles(self, world: World) -> bool:
        """With the choices that were made, with none, or with those of the seed."""
        choices = self.best.choices
        return self.tries(world, choices) or (bool(choices) and self.tries(world, ()))
