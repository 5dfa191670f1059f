"""A fault plan is data: equal when it says the same, and its text is the code that writes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from everact import ConfigurationError, StorageError
from everact.testing import Faults, Simulation, after, at, attempt, before, between, commit, every
from tests.testing.programs.orders import HANDLERS

EVERYTHING = Faults(
    fail=[("Charge", attempt(1), TimeoutError), ("Ship", every(2), StorageError)],
    fail_after=[("Ship", attempt(1), ConnectionError)],
    delay=[("Ship", 30)],
    duplicate=["Refund"],
    crash_at=[12, after(13)],
    crash=[("node-1", at(5))],
    pause=[("node-1", at(5), 40)],
    jump=[("node-2", at(5.5), -3600)],
    busy=[between(1, 3), commit(4)],
    disk_full=between(20, 60),
    commit_unknown=every(9),
    commit_lost=commit(7),
    cancel=[("Order", 40)],
    cancel_workflow=[("Order", 41)],
)


def test_its_text_is_the_code_that_writes_it() -> None:
    assert eval(repr(EVERYTHING)) == EVERYTHING  # noqa: S307 - that is the claim
    assert repr(Faults()) == "Faults()"


def test_it_survives_json() -> None:
    assert Faults.from_data(json.loads(json.dumps(EVERYTHING.to_data()))) == EVERYTHING


def test_plans_that_say_the_same_are_equal() -> None:
    assert Faults(crash_at=[before(12)]) == Faults(crash_at=(12,))
    assert Faults(disk_full=between(1, 2)) == Faults(disk_full=[between(1, 2)])
    assert hash(Faults(delay=[("Ship", 3)])) == hash(Faults(delay=(("Ship", 3),)))
    assert Faults(crash_at=[12]) != Faults(crash_at=[after(12)])


def test_each_of_its_faults_can_be_left_out() -> None:
    plans = [EVERYTHING.without(number) for number in range(EVERYTHING.count)]
    assert EVERYTHING.count == 17
    assert {plan.count for plan in plans} == {16}
    assert len(set(map(repr, plans))) == 17


@pytest.mark.parametrize(
    "plan",
    [
        {"fail": [("Charge", 1, TimeoutError)]},
        {"fail": [("Charge", attempt(1), "TimeoutError")]},
        {"fail": "Charge"},
        {"crash_at": [0]},
        {"crash_at": [True]},
        {"pause": [("node-1", 5, 40)]},
        {"duplicate": [7]},
        {"disk_full": [20]},
        {"cancel": ["Order"]},
    ],
)
def test_what_has_no_meaning_is_refused_with_its_name(plan: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"Faults\\({next(iter(plan))}="):
        Faults(**plan)


@pytest.mark.parametrize("make", [lambda: attempt(0), lambda: between(3, 3), lambda: every(0), lambda: at(-1)])
def test_moments_that_never_come_are_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="has no meaning"):
        make()


@pytest.mark.parametrize("data", [{"fail": [["Charge", {"attempt": [1]}, {"error": ["nowhere", "X"]}]]}, {"x": []}])
def test_what_is_no_plan_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="no fault plan"):
        Faults.from_data(data)


def test_a_plan_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'Chrage', but no handler .* Charge"):
        Simulation(HANDLERS, faults=Faults(delay=[("Chrage", 3)]))
    with pytest.raises(ConfigurationError, match="node-3; there are node-1 to node-2"):
        Simulation(HANDLERS, nodes=2, faults=Faults(crash=[("node-3", at(1))]))
