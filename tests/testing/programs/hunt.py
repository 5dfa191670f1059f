"""How long a sweep over random worlds takes to see a planted bug.

As a program it looks for all of them, makes what it finds smaller, and writes the table of the docs.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from everact.testing.guided import Guided
from tests.testing.programs.mutants import MUTANTS, Mutant, Plant
from tests.testing.programs.planting import planted
from tests.testing.programs.smaller import Failure, failure_of, smallest
from tests.testing.programs.worlds import world_of

RUNS = 2000
SHRINK = 120
SIZES = ("calls", "faults", "surprises", "steps")
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"


def hunt(plant: Plant, first: int = 0, runs: int = RUNS) -> tuple[int, Failure] | None:
    """Try the worlds of some seeds with a bug in the engine; returns the seed that shows it, and how it fails."""
    for seed in range(first, first + runs):
        with planted(plant):
            failure = failure_of(world_of(seed))
        if failure is not None:
            return seed, failure
    return None


def shrunk(plant: Plant, failure: Failure) -> Failure:
    """The smallest world that was found to show it."""
    with planted(plant):
        return smallest(failure, SHRINK)


@functools.cache
def passes(seed: int) -> bool:
    """Whether the engine as it is passes the world of a seed: the control."""
    return failure_of(world_of(seed)) is None


def is_the_bugs(failure: Failure) -> bool:
    """Whether the engine as it is passes that world with the same choices, as far as there are the same."""
    return failure_of(failure.world, Guided(failure.run.choices, failure.world.seed)) is None


def row_of(each: Mutant) -> tuple[str, ...]:
    """What the table says of a mutant."""
    found = hunt(each.plant)
    if found is None:
        return (each.name, "not found", "-", "", "", "", "")
    seed, failure = found
    small = shrunk(each.plant, failure)
    assert passes(seed), f"the engine itself does not pass the world of seed {seed}"
    assert is_the_bugs(small), f"the engine itself does not pass {small.world}"
    sizes = [f"{getattr(failure, name)} → {getattr(small, name)}" for name in SIZES]
    return (each.name, failure.told[0], f"{seed + 1}", *sizes)


def row_number(number: int) -> tuple[str, ...]:
    """As `row_of`, in a process of its own."""
    logging.disable(logging.CRITICAL)
    return row_of(MUTANTS[number])


def table(rows: list[tuple[str, ...]]) -> str:
    """The rows as Markdown."""
    head = ("the engine …", "broken", "runs to find", "client's calls", "faults", "surprises", "steps")
    lines = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
    return "\n".join([BEGIN, *lines, END])


def found_at(page: Path) -> dict[str, int]:
    """How many runs each mutant took, as the table says."""
    rows = [line.strip("| \n").split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")]
    return {row[0]: int(row[2]) for row in rows if row[2].isdigit()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page whose table is to be replaced")
    parser.add_argument("--only", default="", help="mutants with this in their names")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows: dict[int, tuple[str, ...]] = {}
    wanted = [number for number, each in enumerate(MUTANTS) if options.only in each.name]
    with ProcessPoolExecutor(options.jobs) as pool:
        numbers = {pool.submit(row_number, number): number for number in wanted}
        for done in as_completed(numbers):
            rows[numbers[done]] = done.result()
            print(" | ".join(done.result()), flush=True)
    if options.write is not None:
        text = options.write.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        options.write.write_text(before + table([rows[number] for number in wanted]) + after)
    return any(row[1] == "not found" for row in rows.values())


if __name__ == "__main__":
    sys.exit(main())
