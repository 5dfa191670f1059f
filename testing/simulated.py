"""`@simulate`: a test that is run in many simulations, and reports the smallest one in which it fails."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from everact import Settings
from everact.tasks.errors import ConfigurationError
from everact.testing import options
from everact.testing.faults import Faults
from everact.testing.trial import App, Setup, Strategies, Trial

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

SEEDS = 100


def simulate(
    app: App,
    *,
    seeds: int = SEEDS,
    nodes: int | tuple[int, int] = 1,
    max_faults: int = 0,
    faults: Faults | SearchStrategy[Faults] | None = None,
    storage: str | None = None,
    settings: Settings | None = None,
    middleware: Sequence[Any] = (),
    **strategies: SearchStrategy[Any],
) -> Callable[[Callable[..., object]], Callable[..., None]]:
    """Run a test function in many simulations; its parameter `sim` is a `Simulation`.

    In the end of each run it is held to everact's promises as well. A failure is made small, and the error of the
    smallest run is raised with a `Report` as its note.

    Args:
        app: The handlers, or a function that makes them anew for each run. What they share belongs in there: a run
            must not see what another one has left.
        seeds: With how many seeds it is run; `--everact-seeds` says otherwise.
        nodes: How many nodes there are, or from how many to how many.
        max_faults: How many faults each run may have.
        faults: What goes wrong in each run, besides. A plan belongs to the test and stays as it is when a failure is
            made small; of one that a strategy draws, what has no part in it is dropped.
        storage: As for `Simulation`; by default "memory" where there is one node.
        settings: As for `Simulation`.
        middleware: As for `Simulation`.
        **strategies: Hypothesis strategies for other parameters of the test; they may be its defaults as well.

    Raises:
        ConfigurationError: The function can not be run that way.

    Example:
        >>> from everact import task
        >>> @task(name="Charge")
        ... def charge(amount: int) -> int:
        ...     return amount
        >>> @simulate([charge], max_faults=2, seeds=3)
        ... def test_a_charge_comes_to_its_end(sim):
        ...     order = sim.dispatch(charge.task(5))
        ...     sim.run()
        ...     sim.expect(order).completed(5)
        >>> test_a_charge_comes_to_its_end()
    """
    range_of_nodes = (nodes, nodes) if isinstance(nodes, int) else nodes
    setup = Setup(app, range_of_nodes, storage, max_faults, settings, middleware, seeds)

    def decorate(test: Callable[..., object]) -> Callable[..., None]:
        parameters = inspect.signature(test).parameters
        _check(test, parameters, strategies, setup)
        defaults = {name: each.default for name, each in parameters.items() if _is_strategy(each.default)}
        drawn = {**defaults, **strategies}
        fixed = faults if isinstance(faults, Faults) else Faults()
        plans = {} if faults is None or isinstance(faults, Faults) else {"faults": faults}

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            name = options.test_name(test.__qualname__)
            Trial(setup, fixed, drawn, plans, name, functools.partial(test, *args, **kwargs)).run()

        left = [each for name, each in parameters.items() if name != "sim" and name not in drawn]
        run.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]  # what pytest has to provide
        return run

    return decorate


def _is_strategy(value: object) -> bool:
    """Without importing Hypothesis: nobody has a strategy who has not."""
    module = sys.modules.get("hypothesis.strategies")
    return module is not None and isinstance(value, module.SearchStrategy)


def _check(test: Callable[..., Any], parameters: Mapping[str, object], strategies: Strategies, setup: Setup) -> None:
    name = getattr(test, "__name__", "the test")
    low, high = setup.nodes
    if inspect.iscoroutinefunction(test) or inspect.isgeneratorfunction(test):
        msg = f"{name} is a coroutine or a generator; @simulate runs plain functions"
    elif "sim" not in parameters:
        msg = f"{name} has no parameter `sim`, which @simulate gives the simulation to"
    elif strangers := sorted(set(strategies) - set(parameters)):
        msg = f"@simulate has strategies for {', '.join(strangers)}, which {name} does not take"
    elif not 1 <= low <= high:
        msg = f"nodes={setup.nodes!r} has no meaning; it is a number from 1, or a pair of the least and the most"
    else:
        return
    raise ConfigurationError(msg)
