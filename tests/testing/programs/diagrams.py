"""Diagrams of failures of all kinds, by name.

    python -m tests.testing.programs.diagrams FOLDER

writes them there as files, to try them with other programs.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from pathlib import Path

from everact import EverActError
from everact.testing import Faults, History, Simulation, What, after, at, attempt, between, commit, drained
from everact.testing.mermaid import diagram
from everact.testing.report import report
from tests.testing.programs.orders import HANDLERS, order

PLANS = {
    "calm": Faults(),
    "crashes": Faults(crash_at=[2, after(5)], duplicate=["Charge"]),
    "undone": Faults(fail=[("Ship", attempt(1), OSError), ("Ship", attempt(2), ConnectionError)]),
    "unknown": Faults(commit_unknown=[commit(2)], commit_lost=[commit(4)], busy=[commit(1)]),
    "nodes": Faults(crash=[("node-1", at(1))], pause=[("node-2", at(2), 40)], jump=[("node-1", at(3), 100)]),
    "full": Faults(disk_full=[between(0, 3)]),
    "cancelled": Faults(cancel=[("Charge", 60)], cancel_workflow=[("Order", 80)]),
}


@cache
def diagrams() -> dict[str, str]:
    """All of them; of each plan one of all that happened, and one of a task's past."""
    found: dict[str, str] = {}
    for name, plan in PLANS.items():
        with Simulation(HANDLERS, nodes=2, seed=3, faults=plan) as sim:
            try:
                placed = sim.dispatch(order(1))
                sim.run(until=drained)
                told = placed.name
            except EverActError as error:
                told = str(error)
        for title in ("all of it", f"{told}: what became of it; and why #1?"):
            found[f"{name}, {title[:5]}"] = report(sim, AssertionError(title)).diagram
    found["strange names"] = diagram(list(_strange()), "end; #1")
    return found


def _strange() -> History:
    """Types that are called like words of the language, or like each other."""
    history = History(lambda: (1, 0.0))
    for kind in ("end", "Note", "a;b", "a#b", "a-b", "a_b", "größe"):
        history.add("node-1.1", What.STARTED, history.name(kind.encode(), kind), attempt=1)
    return history


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for place, text in enumerate(diagrams().values()):
        (Path(sys.argv[1]) / f"{place}.mmd").write_text(text + "\n", encoding="utf-8")
