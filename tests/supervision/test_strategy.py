"""Whom a restart takes along."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact import Strategy


@st.composite
def families(draw: st.DrawFn) -> tuple[list[str], str]:
    """Draw the names of some children, and which one has failed."""
    names = draw(st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=8, unique=True))
    return names, draw(st.sampled_from(names))


@pytest.mark.parametrize(
    ("strategy", "group"),
    [
        (Strategy.ONE_FOR_ONE, ("b",)),
        (Strategy.ONE_FOR_ALL, ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, ("b", "c")),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_a_strategy_names_who_is_started_again_with_the_one_that_failed(
    strategy: Strategy, group: tuple[str, ...]
) -> None:
    assert strategy.group(["a", "b", "c"], "b") == group


@given(families(), st.sampled_from(Strategy))
def test_a_group_has_the_failed_one_and_keeps_the_order_of_the_list(
    family: tuple[list[str], str], strategy: Strategy
) -> None:
    names, failed = family
    group = strategy.group(names, failed)
    assert failed in group
    assert list(group) == [name for name in names if name in group]


@given(families())
def test_rest_for_one_takes_along_nobody_who_was_started_before(family: tuple[list[str], str]) -> None:
    names, failed = family
    before = names[: names.index(failed)]
    assert set(Strategy.REST_FOR_ONE.group(names, failed)) == set(names) - set(before)
    assert set(Strategy.ONE_FOR_ALL.group(names, failed)) == set(names)


def test_a_child_that_is_not_in_the_list_has_no_rest() -> None:
    with pytest.raises(ValueError, match="not in list"):
        Strategy.REST_FOR_ONE.group(["a"], "b")
