"""Subscribing to events: order, failures of subscribers, drops."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from everact import RestartsExhausted, SystemNotRunning, TaskContext
from everact import events as ev
from tests.engine.conftest import WAIT, Facts, Job, Lab, Next, make_handler, until


def nothing(task: Any, ctx: TaskContext) -> None:
    return None


def test_a_raising_subscriber_is_logged_and_kept_and_others_are_told(lab: Lab, kind: str, caplog: Any) -> None:
    def raising(event: ev.Event) -> None:
        calls.append(event)
        raise SystemExit("subscriber")

    calls: list[ev.Event] = []
    system = lab.system(make_handler(kind, Job, nothing))
    system.events.subscribe(raising)
    facts = Facts(system)
    for _ in range(3):
        system.dispatch(Job()).wait(WAIT)
    until(lambda: len(facts.of(ev.TaskCompleted)) == 3)
    assert calls == facts.seen
    assert "subscriber" in caplog.text
    assert system.health().healthy


def test_a_subscription_ends(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, nothing))
    first: list[ev.Event] = []
    end = system.events.subscribe(first.append)
    facts = Facts(system)
    system.dispatch(Job()).wait(WAIT)
    facts.first(ev.TaskCompleted)
    until(lambda: len(first) == 2)
    end()
    end()
    system.dispatch(Job()).wait(WAIT)
    until(lambda: len(facts.of(ev.TaskCompleted)) == 2)
    assert len(first) == 2


def test_events_are_told_after_the_commit_that_they_tell_of(lab: Lab, kind: str) -> None:
    def subscriber(event: ev.Event) -> None:
        if isinstance(event, ev.TaskCompleted):
            seen.append(system.get(event.task_id).status.name)

    seen: list[str] = []
    system = lab.system(make_handler(kind, Job, nothing))
    system.events.subscribe(subscriber)
    for _ in range(10):
        system.dispatch(Job())
    until(lambda: len(seen) == 10)
    assert set(seen) == {"COMPLETED"}


def test_a_slow_subscriber_misses_events_which_are_counted(lab: Lab) -> None:
    def slow(event: ev.Event) -> None:
        inside.set()
        go.wait(WAIT)
        seen.append(event)

    inside, go = threading.Event(), lab.gate()
    seen: list[ev.Event] = []
    system = lab.system(make_handler("sync", Job, nothing), make_handler("sync", Next, nothing))
    system.events.subscribe(slow)
    system.dispatch(Next())
    assert inside.wait(WAIT)
    total = 12_000
    system.dispatch_many([Job(n) for n in range(total)], delay=3600)
    until(lambda: system.health().dropped_events > 0)
    dropped = system.health().dropped_events
    go.set()
    until(lambda: any(isinstance(event, ev.EventsDropped) for event in seen))
    told = sum(event.count for event in seen if isinstance(event, ev.EventsDropped))
    assert told == dropped == system.health().dropped_events
    until(lambda: sum(isinstance(event, ev.TaskDispatched) for event in seen) + dropped >= total)


def test_who_subscribes_before_the_start_is_told_of_types_without_a_handler(lab: Lab, kind: str) -> None:
    old = lab.system(make_handler(kind, Next, nothing))
    old.dispatch_many([Next(), Next()], delay=3600)
    lab.crash(old)
    system = lab.build(make_handler(kind, Job, nothing))
    facts = Facts(system)
    system.start()
    unhandled = facts.first(ev.TypeUnhandled)
    assert (unhandled.type, unhandled.count) == ("tests.engine.conftest.Next", 2)


def test_an_internal_actor_that_fails_in_a_turn_goes_on_and_says_so(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, nothing))
    facts = Facts(system)

    def broken() -> None:
        raise SystemExit("bug")

    system._engine.node.timer.call_after(0.0, broken)  # type: ignore[union-attr]
    until(lambda: system.health().restarts == 1)
    assert "bug" in facts.first(ev.ActorRestarted, timeout=WAIT).error
    system.dispatch(Job(), delay=0.01).wait(WAIT)


def test_internal_actors_that_fail_again_and_again_stop_the_system_which_says_why(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, nothing))
    facts = Facts(system)

    def broken() -> None:
        raise ValueError("bug")

    for _ in range(11):  # one more than is tolerated
        system._engine.node.timer.call_after(0.0, broken)  # type: ignore[union-attr]
    until(lambda: system.state == "stopped")
    assert isinstance(system.stop_cause, RestartsExhausted)
    assert "/timer failed (ValueError: bug)" in str(system.stop_cause)
    assert "bug" in facts.first(ev.SystemStopping).cause
    with pytest.raises(SystemNotRunning, match="a failure was escalated to it .RestartsExhausted"):
        system.dispatch(Job())
