"""Two commits of sagas with sagas in them are said to be of unknown outcome, one shortly after the other."""

from __future__ import annotations

from everact.testing import Faults, Simulation, commit, drained
from tests.testing.programs.shop import HANDLERS, trip

COMMITS = 30


def test_a_nested_saga_comes_to_its_end_whatever_commits_are_unknown() -> None:
    """The look around that follows from the first finds what the second one has stored, before that is sent again.

    It has run and is parked then.
    """
    told = 0
    for number in range(6, COMMITS):
        plan = Faults(commit_lost=commit(number - 2), commit_unknown=commit(number))
        with Simulation(HANDLERS, storage="memory", faults=plan, seed=number) as sim:
            for n in (0, 2, 5, 6):
                sim.dispatch(trip(n))
                sim.advance(0.15)
            sim.run(until=drained, timeout=300)
            sim.check_all()
            told += len([event for event in sim.history if "unknown outcome" in event.detail])
    assert told > COMMITS
