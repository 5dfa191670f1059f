"""A failure is told as a story: what is broken, what led to it, the faults as code, a replay and a diagram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from everact import Retry, task
from everact.testing import Faults, History, PromiseBroken, Simulation, What, after, attempt, between
from everact.testing.evidence import Violation
from everact.testing.mermaid import diagram
from everact.testing.past import causal_past, tasks_in
from everact.testing.plan_code import faults_of, plan_code
from everact.testing.report import Report, told_by
from everact.testing.schedule import Schedule
from everact.testing.space_time import table


class Declined(Exception):
    """Of a module that must be imported to name it."""


class Told:
    """A history that is written by hand, an event a step."""

    def __init__(self) -> None:
        self.step = 0
        self.history = History(lambda: (self.step, self.step / 10))

    def task(self, name: str) -> str:
        return self.history.name(name.encode(), name.partition("#")[0])

    def add(self, node: str, what: What, task: str = "", **more: Any) -> None:
        self.step += 1
        self.history.add(node, what, task and self.task(task), **more)


def two_charges() -> History:
    """Two that have nothing to do with each other; the node of the first one dies."""
    told = Told()
    for name in ("Charge#1", "Charge#2"):
        told.add("client", What.DISPATCHED, name)
        told.add("node-1.1", What.STORED, name, commit=told.step)
    told.add("node-1.1", What.STARTED, "Charge#1", attempt=1)
    told.add("node-2.1", What.STARTED, "Charge#2", attempt=1)
    told.add("node-1.1", What.CRASHED, detail="before commit 5")
    told.add("node-1.2", What.NODE_STARTED)
    told.add("node-2.1", What.COMPLETED, "Charge#2", commit=5)
    told.add("node-1.2", What.STARTED, "Charge#1", attempt=2)
    told.add("node-1.2", What.COMPLETED, "Charge#1", commit=6)
    told.add("node-1.2", What.CANCELLED, "Charge#1", commit=7)
    return told.history


def texts(history: History, *tasks: str, event: int = -1) -> list[str]:
    return [f"{each.node} {each.text}".rstrip() for each in causal_past(history, tasks, event)]


def test_the_past_of_a_task_is_what_happened_to_it_and_to_its_nodes() -> None:
    assert texts(two_charges(), "Charge#1") == [
        "client dispatched Charge#1",
        "node-1.1 stored Charge#1",
        "node-1.1 started Charge#1 (attempt 1)",
        "node-1.1 crashed : before commit 5",
        "node-1.2 node started",
        "node-1.2 started Charge#1 (attempt 2)",
        "node-1.2 completed Charge#1",
        "node-1.2 cancelled Charge#1",
    ]


def test_what_has_no_part_in_it_is_no_past() -> None:
    assert not any("Charge#1" in text or "crashed" in text for text in texts(two_charges(), "Charge#2"))


def test_without_a_task_and_an_event_everything_is_the_past_but_for_news() -> None:
    told = Told()
    told.add("node-1.1", What.STORED, "Charge#1", commit=1)
    told.add("node-1.1", What.TOLD, "Charge#1", detail="TaskDispatched")
    assert texts(told.history) == ["node-1.1 stored Charge#1"]
    assert texts(told.history, event=1) == ["node-1.1 stored Charge#1", "node-1.1 told Charge#1: TaskDispatched"]


def test_the_past_of_a_step_is_that_of_its_workflow_and_not_of_others_in_its_commits() -> None:
    told = Told()
    told.add("node-1.1", What.STORED, "Order#1", commit=1)
    told.add("node-1.1", What.STORED, "Other#1", commit=1)
    told.add("node-1.1", What.STORED, "Charge#1", about="Order#1", commit=2)
    told.add("node-1.1", What.COMPLETED, "Other#1", commit=3)
    told.add("node-1.1", What.COMPLETED, "Charge#1", commit=3)
    told.add("node-1.1", What.WORKFLOW, "Order#1", detail="completed", commit=3)
    assert texts(told.history, "Charge#1") == texts(told.history, "Order#1")
    assert len(texts(told.history, "Order#1")) == 4
    assert not any("Other" in text for text in texts(told.history, "Charge#1"))


def test_faults_are_in_the_past_of_what_their_node_did_later() -> None:
    told = Told()
    told.add("node-1.1", What.FAULT, detail="its clock is set by +5 s")
    told.add("node-1.1", What.STORED, "Charge#1", commit=1)
    told.add("node-1.1", What.FAULT, detail="commit 2 finds the database locked")
    assert texts(told.history, "Charge#1") == ["node-1.1 fault : its clock is set by +5 s", "node-1.1 stored Charge#1"]


def test_tasks_are_found_by_their_whole_name() -> None:
    told = Told()
    for name in ("Charge#1", "Charge#12", "Recharge#1"):
        told.task(name)
    told.history.name(b"12th", "Charge")
    assert tasks_in("Charge#12: no; Recharge#1 neither", told.history) == ["Recharge#1"]
    assert tasks_in("Charge#1 and Charge#2", told.history) == ["Charge#1", "Charge#2"]


TABLE = """\
   step       time  client  node-1  Charge
      1      0.100    ●       │       │     dispatched Charge#1
      2      0.200    │       ●       │     commit 1: stored Charge#1
                    (+2 unrelated steps)
      5      0.500    │       │       ●     started Charge#1 (attempt 1)
                    (+1 unrelated step)
      7      0.700    │       ×             crashed: before commit 5
      8      0.800    │       ●       │     node started
                    (+1 unrelated step)
     10      1.000    │       │       ●     started Charge#1 (attempt 2)
     11      1.100    │       ●       │     commit 6: completed Charge#1
     12      1.200    │       ◆       │     commit 7: cancelled Charge#1   <- here it shows"""


def test_the_table_has_a_column_for_each_actor_marks_faults_and_folds_the_rest() -> None:
    history = two_charges()
    assert [line.rstrip() for line in table(history, causal_past(history, ["Charge#1"]), 11).splitlines()] == [
        line.rstrip() for line in TABLE.splitlines()
    ]


def test_news_to_subscribers_are_no_steps_that_are_left_out() -> None:
    told = Told()
    told.add("node-1.1", What.STORED, "Charge#1", commit=1)
    told.add("node-1.1", What.TOLD, "Charge#1", detail="TaskDispatched")
    told.add("node-1.1", What.STARTED, "Charge#1", attempt=1)
    assert "unrelated" not in table(told.history, causal_past(told.history, ["Charge#1"]))


def test_of_several_nodes_each_has_columns_for_its_handlers() -> None:
    history = two_charges()
    assert table(history, list(history)).splitlines()[0].split() == [
        *("step", "time", "client"),
        *("node-1", "Charge@1", "node-2", "Charge@2"),
    ]


def test_where_there_would_be_too_many_columns_nodes_have_one_each() -> None:
    told = Told()
    for number in range(12):
        told.add("node-1.1", What.STARTED, f"Kind{number}#1", attempt=1)
    assert table(told.history, list(told.history)).splitlines()[0].split() == ["step", "time", "node-1"]


def test_the_diagram_names_everybody_and_colours_faults() -> None:
    drawn = diagram(causal_past(two_charges(), ["Charge#1"]), "Charge#1; twice", 11).splitlines()
    assert drawn[:5] == [
        "sequenceDiagram",
        "    title Charge#35;1#59; twice",
        *("    participant client as client", "    participant node_1 as node-1", "    participant Charge as Charge"),
    ]
    assert "    client->>node_1: dispatched Charge#35;1" in drawn
    assert "    node_1->>Charge: started Charge#35;1 (attempt 1)" in drawn
    crash = drawn.index("        Note over node_1: crashed: before commit 5")
    assert drawn[crash - 1].startswith("    rect rgb(")
    assert drawn[crash + 1] == "    end"


PLAN = Faults(
    fail=[("Charge", attempt(1), Declined), ("Charge", attempt(2), TimeoutError)],
    crash_at=[2, after(3)],
    disk_full=between(20, 60),
    pause=[],
)


def test_a_plan_is_code_that_can_be_pasted() -> None:
    names: dict[str, Any] = {}
    code = plan_code(PLAN)
    exec(code, names)  # noqa: S102 - that is what it is for
    assert names["faults"] == PLAN
    assert names["Declined"] is Declined


def test_faults_are_listed_in_the_order_in_which_a_plan_is_made_without_them() -> None:
    assert len(faults_of(PLAN)) == PLAN.count == 5
    for number, fault in enumerate(faults_of(PLAN)):
        assert [left for left in faults_of(PLAN) if left != fault] == faults_of(PLAN.without(number))


def test_a_report_tells_all_of_it_and_writes_its_diagram(tmp_path: Path) -> None:
    report = Report(
        broken="P2: Charge#1 ended twice", history=two_charges(), faults=PLAN, schedule="ev1:0:0:", event=11
    )
    file = report.write(tmp_path / "reports", "tests/test_shop.py::test_it[a/b]")
    assert file.name == "tests-test_shop.py-test_it-a-b.mmd"
    assert file.read_text() == report.diagram + "\n"
    text = str(report)
    assert text.startswith("P2: Charge#1 ended twice\n\n   step")
    for part in ("faults = Faults(", "Replay it with Simulation(..., schedule='ev1:0:0:')", "<- here it shows"):
        assert part in text


def test_an_error_is_told_in_one_line_and_broken_promises_in_one_each() -> None:
    promises = PromiseBroken([Violation("P2", "ended twice"), Violation("P4", "a lie")], "ev1:0:0:", "Faults()")
    assert told_by(promises) == ["P2: ended twice", "P4: a lie"]
    assert told_by(ValueError("one\ntwo")) == ["ValueError: one"]


def test_an_expectation_that_is_broken_in_a_simulation_is_reported_with_it() -> None:
    @task(name="Charge", retry=Retry(attempts=1))
    def charge() -> None:
        """The plan lets it fail."""

    plan = Faults(fail=[("Charge", attempt(1), TimeoutError)])
    with pytest.raises(AssertionError) as caught, Simulation([charge], storage="memory", faults=plan) as sim:
        bystander = sim.dispatch(charge.task(), delay=60)
        charged = sim.dispatch(charge.task())
        sim.run()
        assert bystander.name == "Charge#1"
        sim.expect(charged).completed()
    (note,) = caught.value.__notes__
    assert note.lstrip().startswith("Charge#2: it is failed (TimeoutError")
    assert "×" in note
    assert "Charge#1" not in note.partition("faults =")[0]
    assert repr(plan) in note
    assert sim.replay() in note
    assert Schedule.parse(sim.replay()).choices == Schedule.parse(sim.schedule).choices
