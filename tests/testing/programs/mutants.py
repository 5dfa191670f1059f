"""Bugs that are planted into the engine, each as one patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from everact import Retry
from everact.actors import attempt as attempt_module
from everact.actors import outcome_events
from everact.actors.agenda import Agenda
from everact.actors.attempt import Attempt
from everact.actors.backlog import Backlog, Page
from everact.actors.baton import release
from everact.actors.commit import Commit
from everact.actors.elastic_executor import ElasticExecutor
from everact.actors.journal import Journal
from everact.actors.messages import FinishDelivery, StoreTasks
from everact.actors.pool_mailbox import PoolMailbox
from everact.actors.router import Router
from everact.actors.settlement import Settlement
from everact.actors.spill import Spill
from everact.actors.ticket import CANCELLED, Ticket
from everact.storage import statements
from everact.storage.ledger import Ledger
from everact.storage.memory import MemoryStorage
from everact.storage.memory_workflows import MemoryWorkflows
from everact.storage.sqlite import SqliteStorage
from everact.storage.sqlite_workflows import SqliteWorkflows
from everact.supervision.handler_supervisor import HandlerSupervisor
from everact.tasks import status as st
from everact.tasks import unwinding
from tests.testing.programs.planting import Planting

Plant = Callable[[Planting], None]


@dataclass(frozen=True)
class Mutant:
    """A bug.

    Attributes:
        name: What the engine does wrong, in words.
        plant: Makes it do that.
    """

    name: str
    plant: Plant


MUTANTS: list[Mutant] = []


def mutant(name: str) -> Callable[[Plant], Plant]:
    """Have a function be the plant of a mutant."""

    def add(plant: Plant) -> Plant:
        MUTANTS.append(Mutant(name, plant))
        return plant

    return add


# -- dispatch and commits ----------------------------------------------------------------------------------


@mutant("acknowledges before the commit")
def acknowledges_early(patch: Planting) -> None:
    on_batch = Journal.on_batch

    def hasty(journal: Journal, messages: list[Any]) -> None:
        waiters = [each.waiter for each in messages if type(each) is StoreTasks and each.waiter is not None]
        for waiter in waiters:
            waiter.settle({})
        release(waiters)
        silent = [StoreTasks(m.tickets, None, m.history) if type(m) is StoreTasks else m for m in messages]
        on_batch(journal, silent)

    patch.setattr(Journal, "on_batch", hasty)


@mutant("does not send again what a doubtful commit had")
def never_tries_again(patch: Planting) -> None:
    patch.setattr("everact.actors.journal.tried_again", lambda message, storage: False)


@mutant("takes a doubtful commit for one that was not written")
def never_doubts(patch: Planting) -> None:
    patch.setattr("everact.actors.journal.may_be_written", lambda error: False)


@mutant("takes what it has written itself for a late outcome")
def trusts_what_was_lost(patch: Planting) -> None:
    patch.setattr("everact.actors.settlement.was_written", lambda outcome, record: False)


@mutant("keeps the ends of deliveries back, and forgets them")
def forgets_what_has_gathered(patch: Planting) -> None:
    batch = Journal._guarded_batch

    def forgetful(journal: Journal, messages: list[Any]) -> None:
        journal.gathered.clear()
        batch(journal, messages)

    patch.setattr(Journal, "_guarded_batch", forgetful)


@mutant("leaves the ends of deliveries undone that have gathered in memory")
def never_flushes(patch: Planting) -> None:
    patch.setattr(Journal, "flush", lambda journal: None)
    patch.setattr(Journal, "let_go", lambda journal: None)


@mutant("an error in the engine ends a turn of the journal")
def fails_in_a_turn(patch: Planting) -> None:
    route, calls = Router.route, [0]

    def fail_once(router: Router, *args: Any) -> Any:
        calls[0] += 1
        if calls[0] % 50 == 4:
            raise KeyError("planted")
        return route(router, *args)

    patch.setattr(Router, "route", fail_once)


@mutant("stores a second task under a key that is taken")
def forgets_keys(patch: Planting) -> None:
    insert = MemoryStorage._insert

    def careless(storage: MemoryStorage, records: Any, answer: Any) -> None:
        storage._keys.clear()
        insert(storage, records, answer)

    patch.setattr(MemoryStorage, "_insert", careless)


# -- outcomes ----------------------------------------------------------------------------------------------


@mutant("forgets follow-ups")
def loses_follow_ups(patch: Planting) -> None:
    finish = Commit.finish

    def forgetful(commit: Commit, message: FinishDelivery) -> None:
        is_saga = message.ticket.pool.spec.coordinates  # one without its steps goes round and round
        finish(commit, message if is_saga else FinishDelivery(message.ticket, message.outcome, ()))

    patch.setattr(Commit, "finish", forgetful)


@mutant("commits follow-ups apart from the outcome")
def commits_apart(patch: Planting) -> None:
    finish = Settlement._finish
    plan = Commit.finish

    def without(commit: Commit, message: FinishDelivery) -> None:
        apart = not (message.ticket.pool.spec.coordinates or message.outcome.part)
        plan(commit, FinishDelivery(message.ticket, message.outcome, ()) if apart else message)

    def later(settlement: Settlement, message: FinishDelivery, committed: Any) -> None:
        finish(settlement, message, committed)
        if message.follow_ups:
            settlement.submit(StoreTasks(message.follow_ups, None))

    def split(commit: Commit, message: FinishDelivery) -> None:
        without(commit, message)
        commit.finishes[-1] = message

    patch.setattr(Commit, "finish", split)
    patch.setattr(Settlement, "_finish", later)


@mutant("has no fence around outcomes")
def has_no_fence(patch: Planting) -> None:
    fence = "CASE WHEN owner = new.column2 AND attempt = new.column3 AND status < 3 THEN new.column4 END"
    text = statements.OUTCOME._before + "{rows}" + statements.OUTCOME._after
    one = "CASE WHEN owner = ? AND attempt = ? AND status < 3 THEN ? END"
    assert fence in text
    assert one in statements.ONE_OUTCOME
    patch.setattr(
        statements, "OUTCOME", statements.ManyRows(text.replace(fence, "new.column4"), "(?,?,?,?,?,?,?,?,?,?)")
    )
    patch.setattr(statements, "ONE_OUTCOME", statements.ONE_OUTCOME.replace(one, "CASE WHEN ? OR ? OR true THEN ? END"))


@mutant("a failing task ends without its error")
def drops_errors(patch: Planting) -> None:
    finish = Commit.finish

    def silent(commit: Commit, message: FinishDelivery) -> None:
        if message.outcome.status == st.FAILED:
            message.outcome.error = None
        finish(commit, message)

    patch.setattr(Commit, "finish", silent)


@mutant("a stop makes running tasks fail")
def fails_at_a_stop(patch: Planting) -> None:
    patch.setattr(Attempt, "requeue", lambda attempt, delivery: attempt._finish(delivery, st.FAILED))


@mutant("does not tell subscribers of failures")
def tells_nothing_of_failures(patch: Planting) -> None:
    events = outcome_events.finish_events

    def silent(*args: Any) -> Any:
        return (event for event in events(*args) if type(event).__name__ != "TaskFailed")

    patch.setattr("everact.actors.facts.finish_events", silent)


# -- cancel ------------------------------------------------------------------------------------------------


@mutant("a cancel overwrites completed")
def cancel_overwrites(patch: Planting) -> None:
    rest, look = MemoryStorage._rest, Commit._plan_cancel_of_stored

    def overwrite(storage: MemoryStorage, batch: Any, answer: Any) -> None:
        ended = [storage._rows[c.seq] for c in batch.cancels if c.seq in storage._rows]
        for record in ended:
            if record.status == st.COMPLETED:
                record.status = st.RUNNING
        rest(storage, batch, answer)

    def careless(commit: Commit, cancel: Any) -> None:
        record = commit._storage.get(cancel.id)
        if record is not None and record.status == st.COMPLETED:
            commit._cancel_now(cancel, record, None)
        else:
            look(commit, cancel)

    patch.setattr(MemoryStorage, "_rest", overwrite)
    patch.setattr(Commit, "_plan_cancel_of_stored", careless)


@mutant("cancels in words, and starts the task")
def cancels_in_words_only(patch: Planting) -> None:
    leave = Ticket.leave_queue
    patch.setattr(Ticket, "leave_queue", lambda ticket, state: state is CANCELLED or leave(ticket, state))


# -- retries and times -------------------------------------------------------------------------------------


@mutant("the timer fires early")
def fires_early(patch: Planting) -> None:
    due = Router.due
    patch.setattr(Router, "due", lambda router, now: due(router, now + 400_000))
    next_due = Agenda.next_due

    def sooner(agenda: Agenda, now: int) -> int | None:
        found = next_due(agenda, now)
        return None if found is None else found - 400_000

    patch.setattr(Agenda, "next_due", sooner)


@mutant("retries at once")
def retries_at_once(patch: Planting) -> None:
    patch.setattr(attempt_module.Attempt, "_due", lambda attempt, delay: attempt._now())


@mutant("retries more often than the policy says")
def retries_for_ever(patch: Planting) -> None:
    patch.setattr(Retry, "decide", lambda policy, attempt, error, **_: 1.0 if attempt < 6 else None)


# -- queues and cells --------------------------------------------------------------------------------------


@mutant("takes the last one first")
def takes_the_last_one(patch: Planting) -> None:
    def take(mailbox: PoolMailbox) -> Ticket | None:
        return next((lane.pop() for lane in mailbox._order if lane), None)

    patch.setattr(PoolMailbox, "take", take)


@mutant("drops what does not fit into a mailbox")
def drops_what_spills(patch: Planting) -> None:
    fit = Spill.fit

    def tight(spill: Spill, *args: Any) -> Any:
        return fit(spill, *args)[0], []

    patch.setattr(Spill, "fit", tight)


@mutant("a pool that was suspended never opens again")
def never_probes(patch: Planting) -> None:
    patch.setattr(HandlerSupervisor, "_probe", lambda supervisor: None)


@mutant("loses turns that wait for a thread")
def loses_turns(patch: Planting) -> None:
    def lose(executor: ElasticExecutor, turn: Any) -> None:
        if not executor._give(turn) and len(executor._threads) < 8:
            executor._spawn(turn)

    patch.setattr(ElasticExecutor, "submit", lose)


# -- restarts and nodes ------------------------------------------------------------------------------------


@mutant("a restart loses the mailbox")
def loses_the_mailbox(patch: Planting) -> None:
    patch.setattr(Backlog, "ready", lambda backlog, pool, now, room: Page([], None))


@mutant("runs what it has adopted without claiming it")
def never_claims(patch: Planting) -> None:
    patch.setattr(Backlog, "ticket", lambda backlog, record: Ticket(record, backlog._named[record.type]))


@mutant("takes living nodes for dead ones")
def adopts_the_living(patch: Planting) -> None:
    patch.setattr(SqliteStorage, "alive", lambda storage, owner: owner == storage._incarnation)


# -- workflows ---------------------------------------------------------------------------------------------


@mutant("undoes the first step first")
def undoes_the_first_one_first(patch: Planting) -> None:
    for kind in (MemoryWorkflows, SqliteWorkflows):
        entries = kind.entries
        patch.setattr(kind, "entries", lambda *args, entries=entries: entries(*args)[::-1])


@mutant("forgets what a handler can undo")
def forgets_what_a_handler_can_undo(patch: Planting) -> None:
    promise = Ledger._promise

    def drop(ledger: Ledger, row: Any, part: Any, outcome: Any) -> None:
        part.entries = [entry for entry in part.entries if entry.record is not None]
        promise(ledger, row, part, outcome)

    patch.setattr(Ledger, "_promise", drop)


@mutant("undoes while steps still run")
def undoes_too_early(patch: Planting) -> None:
    def wants_play(row: Any) -> bool:
        return row.state is unwinding.COMPENSATING and row.playing is None and row.pending > 0

    patch.setattr(unwinding, "wants_play", wants_play)


@mutant("a saga does not wait for all of a group")
def waits_for_one_only(patch: Planting) -> None:
    wait = MemoryWorkflows.wait

    def hasty(table: MemoryWorkflows, deltas: Any) -> list[bytes]:
        wait(table, deltas)
        for saga, delta in deltas.items():
            if delta < 0:
                table._awaited[saga] = 0
        return [saga for saga in deltas if table._is_over(saga)]

    patch.setattr(MemoryWorkflows, "wait", hasty)


@mutant("forgets that an undo was played")
def forgets_what_was_played(patch: Planting) -> None:
    patch.setattr(Ledger, "_move_entry", lambda *args: None)


@mutant("ends a workflow before its tasks have ended")
def ends_too_early(patch: Planting) -> None:
    conclude = unwinding.conclude

    def hasty(row: Any, now: int) -> bool:
        left, row.open = row.open, max(row.open - 1, 0)
        ended = conclude(row, now)
        row.open = left
        return ended

    patch.setattr(unwinding, "conclude", hasty)
