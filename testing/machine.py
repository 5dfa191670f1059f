"""A state machine for Hypothesis whose system under test is a simulation of the user's application."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, precondition, rule

from everact import Settings
from everact.tasks.errors import EverActError, StorageError
from everact.testing.checkers import check_all
from everact.testing.choices import Policy
from everact.testing.faults import Faults
from everact.testing.report import report
from everact.testing.sim_task import SimTask
from everact.testing.simulation import Simulation
from everact.testing.strategies import fault_plans, schedules
from everact.testing.until import drained


class EverActMachine(RuleBasedStateMachine):
    """Write rules that dispatch your tasks into the bundle `tasks`; what else may happen is here already.

    The rules that are here let time pass, cancel tasks and workflows, kill nodes and start them again; the order of
    steps and the fault plan are drawn in the beginning. After each step the history so far is held to everact's
    promises; in the end everything runs until nothing is left to do, and is held to all of them.

    What a run leaves in your application must be made anew: do that in `__init__`, and give `app` what was made.

    Attributes:
        app: The handlers.
        nodes: How many nodes there are.
        storage: As for `Simulation`; None for "memory" where there is one node.
        settings: As for `Simulation`.
        max_faults: How many faults the plan has at the most.
        cancels: Whether tasks and workflows are cancelled.
        kills: Whether nodes are killed.
        tasks: What was dispatched.
        sim: The simulation.

    Example:
        >>> from everact import task
        >>> @task(name="Charge")
        ... def charge(amount: int) -> int:
        ...     return amount
        >>> class Shop(EverActMachine):
        ...     app = [charge]
        ...
        ...     @rule(target=EverActMachine.tasks, amount=st.integers(1, 9))
        ...     def order(self, amount):
        ...         return self.dispatch(charge.task(amount))
        >>> TestShop = Shop.TestCase
    """

    app: ClassVar[Iterable[object]] = ()
    nodes: ClassVar[int] = 1
    storage: ClassVar[str | None] = None
    settings: ClassVar[Settings | None] = None
    max_faults: ClassVar[int] = 0
    cancels: ClassVar[bool] = True
    kills: ClassVar[bool] = True

    tasks: ClassVar[Bundle[SimTask]] = Bundle("tasks")
    sim: Simulation
    _begun = False

    # -- the beginning -------------------------------------------------------------------------------------

    @initialize(policy=schedules(), faults=st.runner().flatmap(lambda machine: machine._plans()))
    def begin(self, policy: Policy, faults: Faults) -> None:
        """Start the simulation."""
        storage = self.storage or ("memory" if self.nodes == 1 else "sqlite")
        self.sim = Simulation(
            self.app, nodes=self.nodes, policy=policy, faults=faults, storage=storage, settings=self.settings
        )
        self.sim.__enter__()
        self._begun = True
        self.set_up()

    def _plans(self) -> st.SearchStrategy[Faults]:
        if not self.max_faults:
            return st.just(Faults())
        return fault_plans(self.app, max_faults=self.max_faults, nodes=self.nodes)

    def set_up(self) -> None:
        """Called when the simulation has begun."""

    # -- what may happen -----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 10.0, 100.0]))
    def advance(self, seconds: float) -> None:
        """Let some virtual seconds pass, in which whatever can run does."""
        self.sim.advance(seconds)

    @precondition(lambda self: self.cancels)
    @rule(task=tasks)
    def cancel(self, task: SimTask) -> None:
        """Cancel a task."""
        self._ask(task, self.sim.cancel)

    @precondition(lambda self: self.cancels)
    @rule(task=tasks)
    def cancel_workflow(self, task: SimTask) -> None:
        """Cancel a workflow."""
        self._ask(task, self.sim.cancel_workflow)

    @precondition(lambda self: self.kills)
    @rule(number=st.integers(1, 9))
    def kill(self, number: int) -> None:
        """Kill a node, if it lives."""
        self.sim.kill(self._node(number))

    @precondition(lambda self: self.kills)
    @rule(number=st.integers(1, 9))
    def restart(self, number: int) -> None:
        """Start a node again; if it lives, it dies before that."""
        self.sim.restart(self._node(number))

    def dispatch(self, task: object, **options: Any) -> Any:
        """Dispatch a task, for rules that have `target=EverActMachine.tasks`; nothing, if there is no room for it."""
        try:
            return self.sim.dispatch(task, **options)
        except StorageError:
            return multiple()

    @staticmethod
    def _ask(task: SimTask, ask: Callable[[SimTask], object]) -> None:
        """Ask for a cancel; whoever is told that this can not be done is answered too."""
        with suppress(EverActError):
            ask(task)

    def _node(self, number: int) -> str:
        return f"node-{(number - 1) % self.nodes + 1}"

    # -- what must hold ------------------------------------------------------------------------------------

    def check_invariants(self, *args: Any, **kwargs: Any) -> None:
        """What you say holds, and what everact promises to hold at any time; the latter is not printed as a step."""
        super().check_invariants(*args, **kwargs)
        if self._begun and any(node.alive for node in self.sim.nodes.values()):
            check_all(self.sim, at_rest=False)

    def at_the_end(self) -> None:
        """Say what must be the case when nothing is left to do; called once at the end of each run."""

    def teardown(self) -> None:
        """Let everything come to its end, and look at it."""
        if not self._begun:
            return
        error = sys.exc_info()[1]
        try:
            if error is None:
                self.sim.run(until=drained)
                self.sim.check_all()
                self.at_the_end()
        except Exception as raised:
            error = raised
            raise
        finally:
            if isinstance(error, Exception):
                error.add_note(f"\n{replace(report(self.sim, error), schedule='')}")  # Hypothesis prints the rules
            self.sim.close()
