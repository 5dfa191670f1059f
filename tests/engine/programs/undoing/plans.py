"""Which steps a workflow has, how each ends, and what is done to it from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Doing:
    """What one step does.

    Attributes:
        undo: How it is undone, in any combination: by its handler's `compensate` ("own"), by `compensate_with`
            ("promise"), and, as a step of a saga, by the step's undo ("saga").
        ends: "well", "raises", "flaky" (the first attempt raises), "hangs" (it is out of time, and deaf), "listens"
            (it waits until it is told to stop), "aborts".
        failures: How many attempts at undoing it fail; there are two in each round.
        children: Tasks that it dispatches.
    """

    undo: frozenset[str] = frozenset()
    critical: bool = True
    ends: str = "well"
    nap: float = 0.0
    failures: int = 0
    children: tuple[Doing, ...] = ()
    pivot: bool = False


Stages = tuple[tuple["Doing | Stages", ...], ...]


@dataclass(frozen=True)
class Plan:
    """A workflow, what is done to it from outside, and when its node dies."""

    root: Doing | Stages
    seed: int
    crashes: tuple[int, ...]
    cancel_at: float | None = None
    redeploy_at: float | None = None
    in_file: bool = False


UNDOS = st.sampled_from([frozenset(), frozenset({"own"}), frozenset({"promise"}), frozenset({"own", "promise"})])
ENDS = st.sampled_from(["well"] * 8 + ["raises", "raises", "flaky", "hangs", "hangs", "listens", "aborts", "aborts"])
NAPS = st.sampled_from([0.0, 0.0, 0.3, 2.0])
FAILURES = st.sampled_from([0, 0, 0, 1, 2, 4])


def doings(children: st.SearchStrategy[tuple[Doing, ...]]) -> st.SearchStrategy[Doing]:
    critical = st.sampled_from([True, True, True, False])
    return st.builds(Doing, undo=UNDOS, critical=critical, ends=ENDS, nap=NAPS, failures=FAILURES, children=children)


def some(doing: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(doing, max_size=most).map(tuple)


trees = st.recursive(doings(st.just(())), lambda inner: doings(some(inner, 3)), max_leaves=8)


@st.composite
def saga_stages(draw: st.DrawFn, depth: int = 0) -> Stages:
    pivot_after = draw(st.sampled_from([None, None, None, 0, 1, 2])) if depth == 0 else None
    stages: list[tuple[Doing | Stages, ...]] = []
    for number in range(draw(st.integers(1, 4))):
        nested = depth == 0 and draw(st.integers(0, 5)) == 0
        width = draw(st.sampled_from([1, 1, 1, 2, 3]))
        past = pivot_after is not None and number > pivot_after
        stages.append(
            (draw(saga_stages(depth=1)),) if nested and not past else tuple(draw(saga_step(past)) for _ in range(width))
        )
        if number == pivot_after:
            ends = draw(st.sampled_from(["well", "well", "well", "raises", "flaky"]))
            stages.append((Doing(ends=ends, nap=draw(NAPS), pivot=True),))
    return tuple(stages)


@st.composite
def saga_step(draw: st.DrawFn, past_pivot: bool) -> Doing:
    doing = draw(doings(st.just(()) if draw(st.integers(0, 3)) else some(doings(st.just(())), 2)))
    undo = doing.undo if past_pivot or draw(st.booleans()) else doing.undo | {"saga"}
    return Doing(undo, doing.critical, doing.ends, doing.nap, doing.failures, doing.children)


plans = st.builds(
    Plan,
    root=trees | saga_stages(),
    seed=st.integers(0, 1000),
    crashes=st.sampled_from([(), ()]) | st.lists(st.integers(1, 25), min_size=1, max_size=2).map(tuple),
    cancel_at=st.sampled_from([None, None, None, 0.0, 0.1, 1.0, 4.0]),
    redeploy_at=st.sampled_from([None] * 5 + [0.2, 3.0]),
    in_file=st.sampled_from([False, False, False, True]),
)
