"""everact's plugin for pytest: the fixture `simulation`, and options for it and for `@everact.testing.simulate`.

It lies beside the package, as importing anything of that brings the engine along: a third of a second for each start of
pytest, wherever everact happens to be installed. Here only those tests that ask for a simulation pay it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from everact.testing.plugin import Simulations

asked: list[dict[str, Any]] = []
"""What the command line asks for, the innermost run of pytest last; `everact.testing.options` reads it."""
_MADE: pytest.StashKey[Simulations] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """See pytest."""
    group = parser.getgroup("everact", "simulations of everact")
    add = group.addoption
    add("--everact-seeds", type=_number, metavar="N", help="run each simulated test with N seeds")
    add("--everact-seed", type=int, metavar="SEED", help="run it with this seed, or with N from this one on")
    add("--everact-schedule", metavar="ev1:...", help="replay what a failing test has printed; select that test")
    add("--everact-report-dir", metavar="DIR", help="write diagrams of failures there instead of to pytest's cache")


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def pytest_configure(config: pytest.Config) -> None:
    """See pytest."""
    found = {name: config.getoption(f"everact_{name}") for name in ("seeds", "seed", "schedule")}
    asked.append({**found, "folder": partial(_folder, config)})


def pytest_unconfigure() -> None:
    """See pytest."""
    asked.pop()


def _folder(config: pytest.Config) -> Path | None:
    if (given := config.getoption("everact_report_dir")) is not None:
        return Path(given)
    cache = getattr(config, "cache", None)
    return None if cache is None else Path(cache.mkdir("everact"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test that uses the fixture one for each seed, where a number of seeds is asked for."""
    option = metafunc.config.getoption
    many, first = option("everact_seeds"), option("everact_seed") or 0
    if many is not None and option("everact_schedule") is None and "everact_seed" in metafunc.fixturenames:
        seeds = range(first, first + many)
        metafunc.parametrize("everact_seed", seeds, ids=[f"seed-{seed}" for seed in seeds])


@pytest.fixture
def everact_seed(request: pytest.FixtureRequest) -> int:
    """The seed that `simulation` uses: what `--everact-seed` and `--everact-seeds` say, else 0."""
    return int(request.config.getoption("everact_seed") or 0)


@pytest.fixture
def simulation(request: pytest.FixtureRequest, everact_seed: int) -> Iterator[Simulations]:
    """A maker of simulations: `sim = factory(handlers, nodes=2)`, as `everact.testing.Simulation` is called.

    They have begun when you get them, and end with the test. If that fails, its error tells what led to it.
    """
    from everact.testing.plugin import Simulations

    with Simulations(everact_seed) as made:
        request.node.stash[_MADE] = made
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Have an error tell what has happened in the simulations of its test, while they are still there."""
    outcome = yield
    made = item.stash.get(_MADE, None)
    if made is not None and outcome.excinfo is not None:
        made.tell(outcome.excinfo[1])
