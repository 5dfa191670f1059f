"""Keys, ids, priorities, due times: which task is stored, and which is first."""

from __future__ import annotations

import threading
from collections.abc import Generator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest

from everact import Retry, TaskContext, TaskStatus
from everact import events as ev
from tests.engine.conftest import WAIT, Bang, Diary, Facts, Job, Lab, Next, make_handler, until


def nothing(task: Any, ctx: TaskContext) -> None:
    return None


def number(task: Any, ctx: TaskContext) -> int:
    return int(task.n)


def in_one_batch(lab: Lab, system: Any, *calls: Any) -> list[Any]:
    """Make calls from threads of their own whose messages the journal takes in one batch, in this order."""
    probe, journal = lab.probe(system), system._engine.node.journal
    hold = probe.hold()
    first = threading.Thread(target=system.dispatch, args=(Next(99),), kwargs={"delay": 3600})
    first.start()
    probe.wait_until_held()
    answers: list[Any] = [None] * len(calls)

    def run(place: int, call: Any) -> None:
        try:
            answers[place] = call()
        except Exception as error:
            answers[place] = error

    threads = []
    for place, call in enumerate(calls):
        before = journal.actor_inbox.qsize()
        threads.append(threading.Thread(target=run, args=(place, call), daemon=True))
        threads[-1].start()
        until(lambda before=before: journal.actor_inbox.qsize() > before, "the message")
    hold.set()
    for thread in (first, *threads):
        thread.join(WAIT)
    return answers


def test_a_taken_key_answers_with_its_holder_until_that_has_finished(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, int]:
        inside.set()
        yield go
        return task.n

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle), make_handler(kind, Next, number))
    first = system.dispatch(Job(1), key="k")
    inside.pass_through()
    assert system.dispatch(Job(2), key="k") == first
    assert system.dispatch(Job(2), key="other") != first
    assert system.dispatch(Next(2), key="k") != first, "a key is unique per type"
    assert len(system.tasks()) == 3
    go.set()
    assert first.result(WAIT) == 1
    assert system.dispatch(Job(2), key="k").result(WAIT) == 2


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_key_is_free_after_any_end(lab: Lab, kind: str, end: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> int:
        if task.n == 1:
            raise Bang
        return task.n

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=1)))
    if end == "failed":
        system.dispatch(Job(1), key="k").wait(WAIT)
    else:
        system.dispatch(Job(1), key="k", delay=3600).cancel()
    assert system.dispatch(Job(2), key="k").result(WAIT) == 2


def test_a_key_is_held_between_attempts(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        raise Bang

    system = lab.system(make_handler(kind, Job, handle, retry=Retry(attempts=2, delay=300)))
    task = system.dispatch(Job(1), key="k")
    until(lambda: task.status() is TaskStatus.SCHEDULED)
    assert system.dispatch(Job(2), key="k") == task


def test_a_handler_may_dispatch_its_own_key_again(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        diary.note(task.n)
        if task.n:
            ctx.dispatch(Job(task.n - 1), key="loop")

    system = lab.system(make_handler(kind, Job, handle))
    system.dispatch(Job(3), key="loop")
    system.wait_idle(WAIT)
    assert diary == [3, 2, 1, 0]
    assert {task.status for task in system.tasks()} == {TaskStatus.COMPLETED}


def test_a_follow_up_that_meets_a_taken_key_is_not_stored_and_its_parent_says_so(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        first = ctx.dispatch(Next(1), key="k")
        ctx.dispatch(Next(2), key="other")
        ctx.dispatch(Next(3), key="other")
        ids.append(first)

    ids: list[UUID] = []
    system = lab.system(make_handler(kind, Job, handle), make_handler("sync", Next, number))
    facts = Facts(system)
    holder = system.dispatch(Next(0), key="k", delay=3600)
    parent = system.dispatch(Job())
    parent.wait(WAIT)
    system.wait_idle(WAIT)
    stored = system.tasks(type=Next)
    assert [task.result for task in stored] == [None, 2], "follow-ups are stored in the order of their calls"
    rows = [entry for entry in system.history(parent.id) if entry.event == "key_taken"]
    assert len(rows) == 2
    assert str(holder.id) in rows[0].detail
    assert str(stored[1].id) in rows[1].detail
    taken = facts.first(ev.KeyTaken)
    assert (taken.task_id, taken.key, taken.holder) == (parent.id, "k", holder.id)
    until(lambda: len(facts.of(ev.TaskCompleted)) == 2)
    told = {event.task_id for event in facts.of(ev.TaskDispatched)}
    assert told == {holder.id, parent.id, stored[1].id}, "a follow-up that was not stored was announced"


def test_two_follow_ups_with_one_id_are_one_task(lab: Lab, kind: str) -> None:
    def handle(task: Job, ctx: TaskContext) -> None:
        ctx.dispatch(Next(1), id=chosen)
        ctx.dispatch(Next(1), id=chosen)

    chosen = uuid4()
    system = lab.system(make_handler(kind, Job, handle), make_handler("sync", Next, number))
    system.dispatch(Job()).wait(WAIT)
    assert system.wait(chosen, WAIT).result == 1
    assert len(system.tasks()) == 2


def test_the_same_id_is_the_same_task(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number), make_handler(kind, Next, number))
    chosen = uuid4()
    task = system.dispatch(Job(1), id=chosen)
    assert task.id == chosen
    assert system.dispatch(Job(1), id=str(chosen)) == task
    assert task.result(WAIT) == 1
    assert system.dispatch(Job(1), id=chosen).result(WAIT) == 1
    with pytest.raises(ValueError, match="another payload"):
        system.dispatch(Job(2), id=chosen)
    with pytest.raises(ValueError, match="another payload"):
        system.dispatch(Next(1), id=chosen)
    assert len(system.tasks()) == 1
    assert system.get(chosen).result == 1


def test_the_same_id_from_many_threads_is_one_task_that_runs_once(lab: Lab, kind: str, diary: Diary) -> None:
    def dispatch() -> None:
        barrier.wait(WAIT)
        handles.extend(system.dispatch(Job(1), id=chosen) for chosen in ids)

    system = lab.system(make_handler(kind, Job, lambda task, ctx: diary.note(str(ctx.task_id))))
    ids = [uuid4() for _ in range(20)]
    handles: list[Any] = []
    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=dispatch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    for chosen in ids:
        assert system.wait(chosen, WAIT).status is TaskStatus.COMPLETED
    assert len(handles) == 120
    assert sorted(diary.lines) == sorted(map(str, ids))


def test_the_same_id_twice_in_one_commit_is_stored_and_run(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number), make_handler(kind, Next, number))
    chosen = uuid4()
    first, second, third = in_one_batch(
        lab,
        system,
        lambda: system.dispatch(Job(1), id=chosen),
        lambda: system.dispatch(Job(1), id=chosen),
        lambda: system.dispatch(Job(2), id=chosen),
    )
    assert first.id == second.id == chosen
    assert isinstance(third, ValueError)
    assert first.result(WAIT) == 1
    system.wait_idle(WAIT)


def test_the_same_key_twice_in_one_commit_is_stored_and_run_once(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number), make_handler(kind, Next, number))
    first, second = in_one_batch(
        lab, system, lambda: system.dispatch(Job(1), key="k"), lambda: system.dispatch(Job(2), key="k")
    )
    assert first == second
    assert first.result(WAIT) == 1
    system.wait_idle(WAIT)
    assert len(system.tasks(type=Job)) == 1


@pytest.mark.parametrize("delay", [0, 3600])
def test_a_dispatch_and_its_cancel_in_one_commit(lab: Lab, kind: str, diary: Diary, delay: float) -> None:
    system = lab.system(make_handler(kind, Job, lambda task, ctx: diary.note(1)), make_handler(kind, Next, number))
    chosen = uuid4()
    task, answer = in_one_batch(
        lab, system, lambda: system.dispatch(Job(1), id=chosen, delay=delay), lambda: system.cancel(chosen)
    )
    assert (task.id, answer.value) == (chosen, "cancelled")
    assert task.status() is TaskStatus.CANCELLED
    system.wait_idle(WAIT)
    system.dispatch(Job(2)).wait(WAIT)
    system.wait_idle(WAIT)
    assert diary == [1]


def test_asking_again_for_a_finished_id_does_not_hide_its_end_from_those_who_wait(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number), make_handler(kind, Next, number))
    task = system.dispatch(Job(1))
    task.wait(WAIT)
    probe = lab.probe(system)
    hold = probe.hold()
    again = threading.Thread(target=system.dispatch, args=(Job(1),), kwargs={"id": task.id})
    again.start()
    probe.wait_until_held()
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(task.result(WAIT / 2)), daemon=True)
    waiting.start()
    waiting.join(0.1)
    hold.set()
    again.join(WAIT)
    waiting.join(WAIT)
    assert results == [1]


def test_higher_priorities_come_first_and_equals_in_order(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        if task.n < 0:
            inside.set()
            yield go
        diary.note(task.n)

    inside, go = lab.gate(), lab.gate()
    system = lab.system(make_handler(kind, Job, handle))
    system.dispatch(Job(-1))
    inside.pass_through()
    for n, priority in enumerate([0, 5, -100, 100, 5, 0, -1]):
        system.dispatch(Job(n), priority=priority)
    system.dispatch_many([Job(10), Job(11), Job(12)], priority=5)
    go.set()
    system.wait_idle(WAIT)
    assert diary == [-1, 3, 1, 4, 10, 11, 12, 0, 5, 6, 2]


def test_priorities_hold_for_adopted_and_for_due_tasks(lab: Lab, kind: str, diary: Diary) -> None:
    def handle(task: Job, ctx: TaskContext) -> Generator[Any, None, None]:
        if task.n < 0:
            inside.set()
            yield go
        diary.note(task.n)

    inside, go = lab.gate(), lab.gate()
    handler = make_handler(kind, Job, handle)
    system = lab.system(handler)
    system.dispatch(Job(-1))
    inside.pass_through()
    later = [system.dispatch(Job(n), priority=n, delay=0.02) for n in (1, 3, 2)]
    until(lambda: all(task.status() is TaskStatus.QUEUED for task in later))
    pool = system._engine.node.pools[0]  # type: ignore[union-attr]
    until(lambda: len(pool.mailbox) == 3)
    go.set()
    system.wait_idle(WAIT)
    assert diary == [-1, 3, 2, 1]


def test_adopted_tasks_run_in_order_of_priority_and_due_time(lab: Lab, kind: str, diary: Diary) -> None:
    handler = make_handler(kind, Job, lambda task, ctx: diary.note(task.n))
    old = lab.idle_system(handler)
    options = [(0, 0.03), (0, 0.01), (9, 0.02), (-9, 0.001)]
    tasks = [old.dispatch(Job(n), priority=options[n][0], delay=options[n][1]) for n in range(4)]
    until(lambda: all(task.status() is TaskStatus.QUEUED for task in tasks))
    lab.crash(old)
    system = lab.system(handler)
    system.wait_idle(WAIT)
    assert [priority for priority, _ in options] == [0, 0, 9, -9]
    assert diary == [2, 1, 0, 3]


def test_delay_and_at(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number))
    now = datetime.now(UTC)
    assert system.dispatch(Job(1), delay=-5).result(WAIT) == 1
    assert system.dispatch(Job(2), delay=timedelta(seconds=-5)).result(WAIT) == 2
    assert system.dispatch(Job(3), at=now - timedelta(days=1)).result(WAIT) == 3
    far = system.dispatch(Job(4), at=(now + timedelta(hours=2)).astimezone(timezone(timedelta(hours=5))))
    record = far.record()
    assert record.status is TaskStatus.SCHEDULED
    assert abs(record.due - now - timedelta(hours=2)) < timedelta(seconds=1)
    assert record.due.utcoffset() == timedelta(0)
    near = system.dispatch(Job(5), delay=timedelta(hours=1)).record()
    assert timedelta(minutes=59) < near.due - now < timedelta(minutes=61)
    assert system.dispatch(Job(6), delay=0.05).result(WAIT) == 6
    system.wait_idle(WAIT)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"at": datetime(2030, 1, 1)}, ValueError, "timezone"),  # noqa: DTZ001 - that is what is refused
        ({"at": datetime(2030, 1, 1, tzinfo=UTC), "delay": 1}, ValueError, "not both"),
        ({"delay": float("nan")}, ValueError, "finite"),
        ({"delay": float("inf")}, ValueError, "finite"),
        ({"delay": 1e18}, ValueError, "9999"),
        ({"delay": "soon"}, TypeError, "delay"),
        ({"delay": True}, TypeError, "delay"),
        ({"at": 7}, TypeError, "datetime"),
        ({"priority": 101}, ValueError, "priority"),
        ({"priority": -101}, ValueError, "priority"),
        ({"priority": 1.5}, ValueError, "priority"),
        ({"key": ""}, ValueError, "key"),
        ({"key": 7}, TypeError, "key"),
        ({"key": "\ud800"}, ValueError, "surrogates"),
        ({"tags": "one"}, TypeError, "tags"),
        ({"tags": [1]}, TypeError, "tag"),
        ({"headers": [("a", "b")]}, TypeError, "headers"),
        ({"headers": {"a": 1}}, TypeError, "header"),
        ({"id": "no uuid"}, ValueError, "task id"),
        ({"id": 7}, TypeError, "task id"),
        ({"dealy": 5}, TypeError, "dealy"),
    ],
)
def test_options_without_a_meaning_are_refused_and_nothing_is_stored(
    lab: Lab, options: dict[str, Any], error: type[Exception], word: str
) -> None:
    system = lab.system(make_handler("sync", Job, number))
    with pytest.raises(error, match=word):
        system.dispatch(Job(), **options)
    assert system.tasks() == []


def test_dispatch_many_is_one_commit_in_order_and_refuses_what_names_one_task(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number), make_handler(kind, Next, number))
    before = lab.probe(system).batches
    tasks = system.dispatch_many([Job(1), Next(2), Job(3)], delay=3600, priority=4, tags=["t"], headers={"h": "1"})
    assert lab.probe(system).batches == before + 1
    records = [task.record() for task in tasks]
    assert records == system.tasks()
    assert {(r.priority, r.tags, r.headers["h"], r.status) for r in records} == {(4, ("t",), "1", TaskStatus.SCHEDULED)}
    assert len({record.workflow_id for record in records}) == 3
    for options in ({"id": uuid4()}, {"key": "k"}, {"dealy": 5}):
        with pytest.raises(TypeError):
            system.dispatch_many([Job(1)], **options)
    assert system.dispatch_many([]) == []
    assert system.dispatch_many(iter([Job(5)]))[0].result(WAIT) == 5


def test_a_bad_task_among_many_stores_none(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number))
    with pytest.raises(LookupError):
        system.dispatch_many([Job(1), Next(2)])
    with pytest.raises(ValueError, match="decode"):
        system.dispatch_many([Job(1), Job("x")])  # type: ignore[arg-type]
    assert system.tasks() == []


def test_tags_and_headers_are_copies(lab: Lab, kind: str) -> None:
    system = lab.system(make_handler(kind, Job, number))
    tags, headers = ["a"], {"h": "1"}
    task = system.dispatch(Job(), delay=3600, tags=tags, headers=headers)
    tags.append("b")
    headers["h"] = "2"
    assert (task.record().tags, task.record().headers) == (("a",), {"h": "1"})
    task.record().headers["h"] = "3"
    assert task.record().headers == {"h": "1"}
