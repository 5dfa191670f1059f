"""Random worlds: what a client does, on which nodes, and what goes wrong; as data, so that they can be made smaller."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from everact import CancelOutcome, EverActError, Settings, StorageError, WorkflowState
from everact.testing import (
    Faults,
    NotAtRest,
    Pct,
    RandomWalk,
    Simulation,
    after,
    at,
    attempt,
    before,
    between,
    commit,
    drained,
)
from everact.testing.choices import Policy
from tests.testing.programs.shop import HANDLERS, KINDS

ROUNDS = 12
STEPS = 60_000
"""More than any sound world takes."""
Action = tuple[Any, ...]
"""`("dispatch", "Plain", 3, {...})`, `("many", "Plain", 20)`, `("advance", 1.5)`, `("cancel", 0)`, ..."""
SAGAS = ("Trip", "Order")
UNDOS = ("UndoRoom", "UndoCar", "FreeSeat", "Refund")
STEPS_OF_SAGAS = ("Room", "Seat", "Car", "Pay", "Mail", "Ride")
ERRORS = (TimeoutError, OSError, SystemExit, ConnectionError)


@dataclass(frozen=True)
class World:
    """One world.

    Attributes:
        seed: Decides who runs when.
        nodes, storage, events: As for `Simulation`.
        depth: Of the search for an order of events, see `Pct`; 0 for a random walk.
        max_faults: How many faults the seed may add.
        high_water: As in `Settings`.
        actions: What the client does.
        faults: What goes wrong.
    """

    seed: int
    nodes: int = 1
    storage: str = "memory"
    events: bool = True
    depth: int = 0
    max_faults: int = 0
    high_water: int = 10_000
    actions: tuple[Action, ...] = ()
    faults: Faults = field(default_factory=Faults)


def world_of(seed: int) -> World:
    """The world of a seed; every fifth one is on `memory://`."""
    return drawn(seed) if seed % 5 else in_memory(drawn(seed))


def drawn(seed: int) -> World:
    """A world on a storage that outlives its nodes."""
    chance = random.Random(seed)
    nodes = chance.choice([1, 1, 1, 2, 3])
    storage = "sqlite" if nodes > 1 or chance.random() < 0.3 else "memory"
    return World(
        seed=seed,
        nodes=nodes,
        storage=storage,
        events=chance.random() < 0.6,
        depth=chance.choice([0, 0, 0, 2, 3, 5]),
        max_faults=chance.choice([0, 0, 1, 3]),
        high_water=chance.choice([10_000, 10_000, 10]),
        actions=tuple(_actions(chance, nodes)),
        faults=_faults(chance, nodes),
    )


def in_memory(world: World) -> World:
    """The same on `memory://`, where nothing dies and no commit fails, and nobody listens."""
    kept = ("fail", "fail_after", "delay", "cancel", "cancel_workflow")
    faults = Faults(**{name: getattr(world.faults, name) for name in kept})
    actions = tuple(anywhere(action) for action in world.actions if action[0] not in ("kill", "stop", "restart"))
    return replace(world, nodes=1, storage="memory://", events=False, max_faults=0, actions=actions, faults=faults)


def anywhere(action: Action) -> Action:
    """The same call, at no certain node."""
    if action[0] != "dispatch":
        return action
    return (*action[:3], {name: value for name, value in action[3].items() if name != "node"})


def _actions(chance: random.Random, nodes: int) -> list[Action]:
    actions: list[Action] = []
    names = chance.sample(sorted(KINDS), chance.randint(1, 3))
    for _ in range(chance.randint(1, 6)):
        actions.append(_dispatch(chance, name := chance.choice(names), nodes))
        if name == "Order" and chance.random() < 0.3:  # before its pivot, or after it
            actions += [("advance", chance.choice([0.7, 1.7, 2.0])), ("cancel_workflow", -1)]
        if chance.random() < 0.3:
            actions.append(("advance", chance.choice([0.0, 0.1, 0.5, 1, 3])))
        if chance.random() < 0.15:
            actions.append((chance.choice(["cancel", "cancel_workflow"]), chance.randrange(8)))
        if chance.random() < 0.12:
            actions.append((chance.choice(["kill", "stop", "restart"]), chance.randint(1, nodes)))
    return actions


def _dispatch(chance: random.Random, name: str, nodes: int) -> Action:
    if chance.random() < 0.1:
        return ("many", name, chance.choice([3, 15]))
    options: dict[str, Any] = {}
    if chance.random() < 0.15:
        options["delay"] = chance.choice([0.5, 2, 30])
    if chance.random() < 0.15:
        options["key"] = chance.choice(["one", "other"])
    if chance.random() < 0.2:
        options["priority"] = chance.choice([-5, 5])
    if nodes > 1:
        options["node"] = f"node-{chance.randint(1, nodes)}"
    return ("dispatch", name, chance.randint(0, 11), options)


def _faults(chance: random.Random, nodes: int) -> Faults:
    def some(share: float, make: Any) -> list[Any]:
        return [make() for _ in range(2) if chance.random() < share]

    def node() -> str:
        return f"node-{chance.randint(1, nodes)}"

    def moment() -> at:
        return at(chance.choice([0.05, 0.3, 0.8, 1.5, 3, 6]))

    def name() -> str:
        return chance.choice([*sorted(KINDS), *STEPS_OF_SAGAS, *UNDOS])

    def failing() -> tuple[Any, ...]:
        return (name(), attempt(chance.choice([1, 1, 2])), chance.choice(ERRORS))

    def some_commit() -> commit:
        return commit(chance.randint(1, 25))

    if chance.random() < 0.15:
        return Faults()
    return Faults(
        fail=some(0.25, failing),
        fail_after=some(0.15, failing),
        delay=some(0.06, lambda: (name(), chance.choice([1, 9]))),
        duplicate=some(0.05, name),
        crash_at=some(0.2, lambda: chance.choice([before, after])(chance.randint(1, 30))),
        crash=some(0.15, lambda: (node(), moment())),
        pause=some(0.05, lambda: (node(), moment(), chance.choice([1, 10]))),
        jump=some(0.05, lambda: (node(), moment(), chance.choice([-100, 5, 100]))),
        busy=some(0.1, some_commit),
        disk_full=[between(0.3, chance.choice([1, 5]))] if chance.random() < 0.06 else [],
        commit_unknown=some(0.12, some_commit),
        commit_lost=some(0.08, some_commit),
        cancel=some(0.12, lambda: (name_of_task(chance), chance.randint(1, 250))),
        cancel_workflow=some(
            0.15, lambda: (chance.choice(SAGAS), chance.choice([30, 100, 300, 600]) + chance.randint(0, 100))
        ),
    )


def name_of_task(chance: random.Random) -> str:
    """A task that can be cancelled by its name."""
    return chance.choice([*sorted(KINDS), *STEPS_OF_SAGAS, "FreeSeat", "Refund"])


def policy_of(world: World) -> Policy:
    """What decides who runs."""
    return Pct(world.seed, world.depth) if world.depth else RandomWalk(world.seed)


def simulation(
    world: World, policy: Policy | None = None, faults: Faults | None = None, max_faults: int | None = None
) -> Simulation:
    """The simulation of a world, not begun; perhaps with other faults."""
    return Simulation(
        HANDLERS,
        nodes=world.nodes,
        seed=world.seed,
        policy=policy or policy_of(world),
        faults=world.faults if faults is None else faults,
        max_faults=world.max_faults if max_faults is None else max_faults,
        storage=world.storage,
        settings=Settings(grace=1.0, high_water=world.high_water, max_crashes=2),
        events=world.events,
    )


def act(sim: Simulation, world: World, patience: float) -> None:
    """What the client does, to the end; what happened is held to the promises.

    Raises:
        PromiseBroken: Something was broken.
        NotAtRest, Deadlock, Endless: It does not come to an end.
    """
    sim._world.scheduler.most_steps = STEPS
    client = Client(sim)
    for action in world.actions:
        getattr(client, action[0])(*action[1:])
    try:
        see_to_the_end(sim, patience)
    except NotAtRest:
        sim.check_all()  # it says more
        raise
    sim.check_all()


def see_to_the_end(sim: Simulation, patience: float) -> None:
    for number in range(ROUNDS):
        sim.run(until=drained, timeout=patience)
        stuck = sim.system.workflows(state=WorkflowState.STUCK)
        if not stuck:
            return
        for workflow in stuck:
            try:
                sim.resume(workflow.id, skip=number > 1)
            except StorageError:
                sim.advance(10)  # until there is room again
            except EverActError as error:
                if "stuck" not in str(error):
                    raise
    raise AssertionError("a workflow is stuck again and again")


class Client:
    """Does what an action says; what is refused is refused."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.ids: list[Any] = []

    def dispatch(self, name: str, n: int, options: dict[str, Any]) -> None:
        try:
            self.ids.append(self.sim.dispatch(KINDS[name](n), **options))
        except StorageError:
            return  # there was no room

    def many(self, name: str, count: int) -> None:
        for n in range(count):
            self.dispatch(name, n, {})

    def advance(self, seconds: float) -> None:
        self.sim.advance(seconds)

    def cancel(self, which: int) -> None:
        if self.ids:
            self._ask(self.sim.cancel, self.ids[which % len(self.ids)])

    def cancel_workflow(self, which: int) -> None:
        if self.ids:
            self._ask(self.sim.cancel_workflow, self.ids[which % len(self.ids)])

    def _ask(self, cancel: Any, id: Any) -> CancelOutcome | None:
        try:
            return cancel(id)  # type: ignore[no-any-return]
        except EverActError:
            return None  # another node has it, or there was no room

    def kill(self, node: int) -> None:
        self.sim.kill(f"node-{node}")

    def stop(self, node: int) -> None:
        if self.sim.nodes[f"node-{node}"].alive:
            self.sim.stop(f"node-{node}", timeout=1.0)

    def restart(self, node: int) -> None:
        self.sim.restart(f"node-{node}")


def without_action(world: World, number: int) -> World:
    """The same world, but for one thing that its client does."""
    return replace(world, actions=world.actions[:number] + world.actions[number + 1 :])
