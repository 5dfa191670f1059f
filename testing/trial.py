"""One call of a simulated test: it is run again and again, and what fails is made small."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from everact import Settings
from everact.testing import options, test_log
from everact.testing.faults import Faults
from everact.testing.guided import Guided
from everact.testing.report import BY_PYTEST, Report
from everact.testing.run import Run, Scenario
from everact.testing.schedule import Schedule
from everact.testing.shrink import MOST_SECONDS
from everact.testing.simulation import Simulation
from everact.testing.sweep import explain, policy_of
from everact.testing.until import idle

if TYPE_CHECKING:
    from everact.testing.arguments import Drawing

App = Iterable[object] | Callable[[], Iterable[object]]
Strategies = Mapping[str, Any]
TRIES_FOR_ARGUMENTS = 4
"""With smaller arguments the choices that fail may be others: how many seeds are tried for them."""


@dataclass(frozen=True)
class Setup:
    """What is the same in all runs of a test."""

    app: App
    nodes: tuple[int, int]
    storage: str | None
    max_faults: int
    settings: Settings | None
    middleware: Sequence[Any]
    seeds: int

    def nodes_of(self, seed: int) -> int:
        """How many nodes the run of a seed has."""
        return random.Random(f"nodes of {seed}").randint(*self.nodes)

    def make(self, nodes: int, **chosen: Any) -> Simulation:
        """Make a simulation."""
        handlers = self.app() if callable(self.app) else self.app
        storage = self.storage or ("memory" if nodes == 1 else "sqlite")
        return Simulation(
            handlers, nodes=nodes, storage=storage, settings=self.settings, middleware=self.middleware, **chosen
        )


class Failed(Exception):
    """Some arguments have failed."""


class Unstable(BaseException):
    """They did not fail when they were tried again."""


@dataclass
class Trial:
    """One call of a test."""

    setup: Setup
    faults: Faults
    strategies: Strategies
    plans: Strategies
    name: str
    test: Callable[..., object]
    nodes: int = 0
    """Of the run that has failed; 0 before there is one."""
    first: Run | None = None
    """The first run that has failed, as it was found."""
    small: Run | None = None
    found: Drawing | None = None
    """Those arguments that fail, of all that have been tried the last ones."""
    tried: dict[str, Run | None] = field(default_factory=dict)
    end: float = 0.0
    """When the search for smaller arguments ends, by the real clock."""

    def run(self) -> None:
        """Run it as often as it is to be run.

        Raises:
            Whatever the smallest run that fails has raised, with the report.
        """
        __tracebackhide__ = True
        asked = options.current()
        if asked.schedule is not None:
            self._replay(asked.schedule)
        elif self.strategies or self.plans:
            self._search(asked.seeds_of(self.setup.seeds), asked.seed)
        else:
            self._sweep(asked.seeds_of(self.setup.seeds))

    def _scenario(self, nodes: int, values: Mapping[str, Any]) -> Scenario:
        given = {name: value for name, value in values.items() if name in self.strategies}

        def act(sim: Simulation) -> None:
            self.test(sim=sim, **given)
            if idle(sim):
                sim.run()  # whoever subscribes is still to be told
            sim.check_all()

        return Scenario(functools.partial(self.setup.make, nodes), act)

    def _plan(self, values: Mapping[str, Any]) -> Faults:
        return values["faults"] if self.plans else self.faults

    # -- without arguments ---------------------------------------------------------------------------------

    def _sweep(self, seeds: Iterable[int]) -> None:
        __tracebackhide__ = True
        for seed in seeds:
            nodes = self.setup.nodes_of(seed)
            run = self._scenario(nodes, {}).run(policy_of(seed), self.faults, self.setup.max_faults)
            if run.error is not None:
                self.first = run
                self._explain(*self._fewer_nodes(nodes, run, {}), None)

    def _fewer_nodes(self, nodes: int, first: Run, values: Mapping[str, Any]) -> tuple[int, Run]:
        """The same with fewer nodes, if it fails there as well."""
        for fewer in range(self.setup.nodes[0], nodes):
            if first.sim.faults.node_names() <= {f"node-{number + 1}" for number in range(fewer)}:
                run = self._scenario(fewer, values).run(Guided((), first.seed), first.sim.faults)
                if run.fails_as(first):
                    return fewer, run
        return nodes, first

    # -- with arguments ------------------------------------------------------------------------------------

    def _search(self, seeds: range, first: int | None) -> None:
        __tracebackhide__ = True
        from everact.testing.arguments import search

        try:
            search({**self.strategies, **self.plans}, self._attempt, len(seeds), first)
        except (Failed, Unstable):
            pass  # what has failed is explained below
        except Exception:
            if self.found is None:
                raise
        if self.small is not None and self.found is not None:
            self._explain(self.nodes, self.small, self.found)

    def _attempt(self, drawing: Drawing) -> None:
        if self.small is None:
            self._first_try(drawing)
        elif drawing.key not in self.tried:
            self.tried[drawing.key] = self._try_again(drawing) if time.monotonic() < self.end else None
        run = self.tried.get(drawing.key)
        if run is not None:
            self.small, self.found = run, drawing
            raise Failed

    def _first_try(self, drawing: Drawing) -> None:
        nodes = self.setup.nodes_of(drawing.seed)
        scenario = self._scenario(nodes, drawing.values)
        first = scenario.run(policy_of(drawing.seed), self._plan(drawing.values), self.setup.max_faults)
        if first.error is None:
            return
        self.first = first
        self.nodes, first = self._fewer_nodes(nodes, first, drawing.values)
        self.found = drawing
        scenario = self._scenario(self.nodes, drawing.values)
        again = scenario.run(Guided(first.choices, first.seed), first.sim.faults)
        if not again.fails_as(first):
            self.small = first
            raise Unstable
        self.small, _ = explain(scenario, again, kept=self.faults)
        self.tried[drawing.key] = self.small
        self.end = time.monotonic() + MOST_SECONDS

    def _try_again(self, drawing: Drawing) -> Run | None:
        """Whether other arguments fail like the first ones: as those did, in calm, or from some seed."""
        assert self.small is not None  # noqa: S101 - something has failed before
        scenario = self._scenario(self.nodes, drawing.values)
        guides = [Guided(self.small.choices, self.small.seed), Guided((), self.small.seed)]
        for policy in [*guides, *map(policy_of, range(TRIES_FOR_ARGUMENTS))]:
            run = scenario.run(policy, self.small.sim.faults)
            if run.fails_as(self.small):
                return run
        return None

    # -- what comes of it ----------------------------------------------------------------------------------

    def _explain(self, nodes: int, run: Run, drawing: Drawing | None) -> NoReturn:
        __tracebackhide__ = True
        more: dict[str, Any] = {"faults": {}}  # none are needed, if the search leaves none
        if self.setup.nodes[0] != self.setup.nodes[1]:
            more["nodes"] = nodes
        if drawing is not None:
            more["arguments"] = drawing.text
        scenario = self._scenario(nodes, {} if drawing is None else drawing.values)
        small, report = explain(scenario, run, kept=self.faults, **more)
        arguments = "" if drawing is None else drawing.named(self.strategies)
        effort = "" if self.first is None else f"It was found with {self.first.size}."
        self._tell(small, replace(report, arguments=arguments, effort=effort))

    def _tell(self, run: Run, report: Report) -> NoReturn:
        __tracebackhide__ = True
        test_log.show(run.logs)
        report = replace(report, command=BY_PYTEST)
        if (folder := options.current().folder()) is not None:
            report = replace(report, file=report.write(folder, self.name))
        error = run.error or AssertionError(report.broken)
        error.add_note(f"\n{report}")
        raise error

    def _replay(self, text: str) -> None:
        """Raises what the recorded run has raised, if it still does; its report says what is known without a search."""
        __tracebackhide__ = True
        more = Schedule.parse(text).more
        values: Mapping[str, Any] = {}
        if (arguments := more.get("arguments")) is not None:
            from everact.testing.arguments import drawn_again

            values = drawn_again({**self.strategies, **self.plans}, arguments).values
        scenario = self._scenario(more.get("nodes", self.setup.nodes[0]), values)
        run = scenario.replay(text, Faults.from_data(more["faults"]) if "faults" in more else self.faults)
        if run.error is not None:
            self._tell(run, run.report(**more))
