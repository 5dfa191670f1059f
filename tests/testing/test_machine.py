"""`EverActMachine` finds what is wrong in an application by rules, and shrinks it to the rules that it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from everact import Retry, TaskContext, task
from everact.testing import EverActMachine, PromiseBroken
from everact.testing.until import idle

FEW = settings(
    max_examples=20,
    stateful_step_count=10,
    phases=(Phase.generate, Phase.shrink),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Till:
    charged: list[int]


@task(name="Charge", retry=Retry(attempts=3, delay=1))
def charge(ctx: TaskContext, n: int) -> int:
    ctx.cancellation.wait(1)
    Till.charged.append(n)
    return n


class ShopMachine(EverActMachine):
    app = (charge,)

    def set_up(self) -> None:
        Till.charged = []

    @rule(target=EverActMachine.tasks, n=st.integers(1, 9))
    def order(self, n: int) -> Any:
        return self.dispatch(charge.task(n))


def smallest(machine: type[EverActMachine], kind: type[BaseException] = AssertionError) -> BaseException:
    with pytest.raises(kind) as caught:
        run_state_machine_as_test(machine, settings=settings(FEW, max_examples=300, stateful_step_count=5))
    return caught.value


def notes(error: BaseException) -> str:
    return "\n".join(error.__notes__)


@pytest.mark.parametrize(("nodes", "faults"), [(1, 0), (1, 3), (2, 2)])
def test_an_application_without_a_bug_passes(nodes: int, faults: int) -> None:
    machine = type("Shop", (ShopMachine,), {"nodes": nodes, "max_faults": faults})
    run_state_machine_as_test(machine, settings=FEW)


def test_a_bug_in_an_application_is_shrunk_to_the_rules_that_it_takes_and_reported() -> None:
    class OneCustomer(ShopMachine):
        cancels = False
        max_faults = 2

        def at_the_end(self) -> None:
            assert len(set(Till.charged)) == len(Till.charged), "somebody was charged twice"

    error = smallest(OneCustomer)
    told = notes(error)
    assert told.count("state.order(") in (1, 2)
    assert told.count("state.kill(") <= 1
    assert "policy=calm_but_for([])" in told
    assert told.lstrip().startswith("somebody was charged twice\n\n   step")
    assert "promises" not in told, "what is looked at after each step is no step"


def test_a_bug_in_the_engine_breaks_an_invariant_after_some_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "decide", lambda policy, attempt, error, **_: 0.0 if attempt < 4 else None)

    @task(name="Charge", retry=Retry(attempts=2, delay=0))
    def failing() -> None:
        raise OSError("no")

    class Failing(EverActMachine):
        app = (failing,)
        cancels = kills = False

        @rule(target=EverActMachine.tasks)
        def order(self) -> Any:
            return self.dispatch(failing.task())

    error = smallest(Failing, PromiseBroken)
    assert "C5" in str(error)


def test_what_a_run_ends_with_can_be_looked_at() -> None:
    seen: list[tuple[bool, int]] = []

    class Looks(ShopMachine):
        def at_the_end(self) -> None:
            seen.append((idle(self.sim), len(self.sim.system.tasks())))

    run_state_machine_as_test(Looks, settings=FEW)
    assert {rest for rest, _ in seen} == {True}
    assert max(number for _, number in seen) > 1
