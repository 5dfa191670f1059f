"""Makes a world that fails smaller, as long as it fails in the same way: fewer things done, faults, surprises."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from everact.testing import PromiseBroken
from everact.testing.choices import Policy
from everact.testing.guided import Guided
from everact.testing.run import Run, Scenario
from everact.testing.shrink import Shrink
from tests.testing.programs.worlds import World, act, anywhere, policy_of, simulation, without_action

PATIENCE, MORE = 200.0, 40.0
"""Virtual seconds in which a world must come to its end, and for each call of its client more."""


@dataclass(frozen=True)
class Failure:
    """How a world fails.

    Attributes:
        world: With all faults that happened in its plan.
        run: Which has failed.
    """

    world: World
    run: Run

    @property
    def told(self) -> tuple[str, str]:
        """The first promise that was broken, or the kind of the error, and what was said."""
        error = self.run.error
        if isinstance(error, PromiseBroken):
            return error.violations[0].promise, error.violations[0].text
        return type(error).__name__, str(error).split("\n", 1)[0]

    @property
    def calls(self) -> int:
        """How many calls the client makes."""
        return calls_of(self.world)

    @property
    def faults(self) -> int:
        """How many faults there are."""
        return self.world.faults.count

    @property
    def surprises(self) -> int:
        """How many choices are not the calm one."""
        return self.run.surprises

    @property
    def steps(self) -> int:
        """Of the scheduler, in all."""
        return self.run.sim.steps

    @property
    def size(self) -> tuple[int, ...]:
        """What is to become smaller, first things first."""
        world = self.world
        plain = world.nodes + (world.storage == "sqlite") + world.events + (world.high_water < 100)
        return (self.calls, self.faults, plain, self.surprises, self.steps)


def calls_of(world: World) -> int:
    """How many calls the client makes."""
    return sum(action[2] if action[0] == "many" else 1 for action in world.actions)


def failure_of(world: World, policy: Policy | None = None) -> Failure | None:
    """Play a world; None if nothing is wrong."""
    run = _scenario(world).run(policy or policy_of(world), world.faults, world.max_faults)
    return None if run.error is None else _failure(world, run)


def _failure(world: World, run: Run) -> Failure:
    return Failure(replace(world, faults=run.sim.faults, max_faults=0), run)


def _scenario(world: World) -> Scenario:
    return Scenario(partial(simulation, world), lambda sim: act(sim, world, PATIENCE + MORE * calls_of(world)))


def smallest(failure: Failure, runs: int = 200) -> Failure:
    """Leave out whatever is not needed for it to fail in this way.

    Args:
        failure: What was found.
        runs: How many worlds to try at the most, about.
    """
    search = _Search(failure, runs)
    size: tuple[int, ...] = ()
    while search.left > 0 and search.best.size != size:
        size = search.best.size
        search.drop_actions()
        search.drop_faults_and_surprises()
        search.make_plain()
    return search.best


class _Search:
    def __init__(self, failure: Failure, runs: int) -> None:
        self.best, self.left = failure, runs

    def drop_actions(self) -> None:
        """Few of a kind in the place of many; one thing less that the client does."""
        for number, action in enumerate(self.best.world.actions):
            if action[0] == "many":
                counts = sorted({1, 2, 4, action[2] // 2})
                any(self._settles(_fewer(self.best.world, number, count)) for count in counts if count < action[2])
        number = len(self.best.world.actions) - 1
        while number >= 0:
            self._settles(without_action(self.best.world, number))
            number = min(number, len(self.best.world.actions)) - 1

    def drop_faults_and_surprises(self) -> None:
        """As a user's failing run is made smaller."""
        if self.left > 0:
            shrink = Shrink(_scenario(self.best.world).run, self.best.run, self.left)
            run = shrink.search()
            self.left -= shrink.runs
            self.best = _failure(self.best.world, run)

    def make_plain(self) -> None:
        """One node, in memory, to which nobody listens."""
        world = self.best.world
        if world.nodes > 1 and not world.faults.node_names() - {"node-1"}:
            self._settles(_on_one_node(world))
        if self.best.world.nodes == 1 and self.best.world.storage == "sqlite":
            self._settles(replace(self.best.world, storage="memory"))
        self._settles(replace(self.best.world, events=False))
        self._settles(replace(self.best.world, high_water=10_000))

    def _settles(self, world: World) -> bool:
        """Whether it fails in the same way and is smaller, by no choices but calm ones, or by those that were made."""
        choices = self.best.run.choices
        return self._tries(world, ()) or (bool(choices) and self._tries(world, choices))

    def _tries(self, world: World, choices: tuple[int, ...]) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        found = failure_of(world, Guided(choices, world.seed))
        if found is None or not found.run.fails_as(self.best.run) or found.size >= self.best.size:
            return False
        self.best = found
        return True


def _fewer(world: World, number: int, count: int) -> World:
    actions = [*world.actions]
    actions[number] = ("many", actions[number][1], count)
    return replace(world, actions=tuple(actions))


def _on_one_node(world: World) -> World:
    return replace(world, nodes=1, actions=tuple(map(anywhere, world.actions)))
