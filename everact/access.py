"""How the public API reaches a running engine: whether it may, how it waits, and what it reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from everact.actors.baton import AnyWaiter, LoopWaiter, Waiter
from everact.actors.cell import Cell
from everact.actors.event_stream import CALLBACK_ROLE
from everact.actors.messages import CancelTasks, StoreTasks
from everact.actors.ticket import QUEUED, STARTED, Delivery, Ticket, current_delivery
from everact.actors.wait_for import current_actor
from everact.engine import Engine
from everact.storage.protocol import Outcome
from everact.tasks import status as st
from everact.tasks.context import as_cleanup
from everact.tasks.errors import (
    BlockingCallError,
    NotOwner,
    StorageUnavailable,
    TaskNotFound,
    WaitTimeout,
    WouldDeadlock,
)
from everact.tasks.record import Record, TaskRecord, public_record

R = TypeVar("R")


def refuse_on_own_threads(engine: Engine, call: str) -> None:
    """Refuse a blocking call on a thread whose work it would wait for.

    Raises:
        BlockingCallError: The calling thread is the journal's, the timer's or the event loop's.
    """
    role = engine.node.runtime.role()
    if role is not None and role != CALLBACK_ROLE:
        raise BlockingCallError(call, role)


def here(engine: Engine) -> Delivery | None:
    """What the calling handler is delivering, if the caller is in a handler of this engine."""
    delivery = current_delivery.get()
    if delivery is None or delivery.closed or delivery.cell.node is not engine.node:
        return None
    return delivery


def is_actor_here(engine: Engine) -> bool:
    """Whether the caller is an actor of this engine, which a stop would wait for."""
    actor = current_actor.get()
    return isinstance(actor, Cell) and actor.environment is engine.environment


def prepare(engine: Engine, task: object, options: dict[str, Any]) -> Ticket:
    """Make the ticket of an outside dispatch; inside a handler it is a child of that handler's workflow."""
    delivery = here(engine)
    if delivery is None:
        return engine.node.dispatcher.prepare(task, options, None)
    return _child(engine, task, options, delivery)


def prepare_many(engine: Engine, tasks: Iterable[object], options: dict[str, Any]) -> list[Ticket]:
    """As `prepare`, for each of them."""
    delivery = here(engine)
    if delivery is None:
        prepare_one = engine.node.dispatcher.prepare
        return [prepare_one(task, options, None) for task in tasks]
    return [_child(engine, task, options, delivery) for task in tasks]


def _child(engine: Engine, task: object, options: dict[str, Any], delivery: Delivery) -> Ticket:
    ticket = engine.node.dispatcher.prepare(task, options, delivery.ticket.record)
    intent = delivery.ctx._intent
    if intent is not None and intent.cleaning:
        as_cleanup(ticket.record)
    return ticket


def store(
    engine: Engine, tickets: Sequence[Ticket], history: Sequence[Any] = (), *, soon: bool = False
) -> dict[bytes, Record]:
    """Store tickets and wait for the commit, in the calling thread.

    Args:
        engine: Of the system.
        tickets: What to store.
        history: What to write about them.
        soon: Whether it may be left to whoever runs or looks next, where nothing is durable; see `Journal.gather`.

    Returns:
        For those that were not stored, the rows in their place.

    Raises:
        StorageUnavailable: The commit failed, or did not come in time.
    """
    journal = engine.node.journal
    if soon and journal.gathers and journal.gather(tickets[0]):
        return {}
    waiter = Waiter(engine.node.runtime.gate)
    journal.submit(StoreTasks(tickets, waiter, history))
    waiter.wait(engine.settings.commit_timeout)
    taken: dict[bytes, Record] = answer_of(waiter, tickets[0].record.id)
    return taken


async def store_async(engine: Engine, tickets: Sequence[Ticket], *, soon: bool = False) -> dict[bytes, Record]:
    """As `store`, awaited."""
    journal = engine.node.journal
    if soon and journal.gathers and journal.gather(tickets[0]):
        return {}
    waiter = LoopWaiter()
    journal.submit(StoreTasks(tickets, waiter))
    await waiter.wait(engine.settings.commit_timeout)
    taken: dict[bytes, Record] = answer_of(waiter, tickets[0].record.id)
    return taken


def stored_id(ticket: Ticket, taken: dict[bytes, Record]) -> bytes:
    """The id that a dispatch answers with: its own, or that of the row in its place.

    Raises:
        ValueError: The caller's own id stands for another payload.
    """
    mine = ticket.record
    holder = taken.get(mine.id) if taken else None
    if holder is None:
        return mine.id
    if holder.id == mine.id and not _same_work(ticket, holder):
        msg = (
            f"id {UUID(bytes=mine.id)} is taken by a task of type {holder.type} with another payload; "
            "an id may be used again only for the very same task"
        )
        raise ValueError(msg)
    return holder.id


def _same_work(ticket: Ticket, holder: Record) -> bool:
    if holder.type != ticket.record.type:
        return False
    codec = ticket.pool.codec
    decoded = ticket.task
    return holder.payload == ticket.record.payload or bool(
        decoded == codec.decode(holder.payload, holder.id, holder.key_id)
    )


def cancel(engine: Engine, ids: Sequence[bytes], reason: str) -> dict[bytes, Any]:
    """Cancel and wait for the commit; errors that stand in the way come as values."""
    waiter = Waiter(engine.node.runtime.gate)
    engine.node.journal.submit(CancelTasks(ids, reason_text(reason), waiter))
    waiter.wait(engine.settings.commit_timeout)
    answered: dict[bytes, Any] = answer_of(waiter, ids[0])
    return answered


async def cancel_async(engine: Engine, ids: Sequence[bytes], reason: str) -> dict[bytes, Any]:
    """As `cancel`, awaited."""
    waiter = LoopWaiter()
    engine.node.journal.submit(CancelTasks(ids, reason_text(reason), waiter))
    await waiter.wait(engine.settings.commit_timeout)
    answered: dict[bytes, Any] = answer_of(waiter, ids[0])
    return answered


def reason_text(reason: str) -> str:
    """A user's reason as storage can keep it.

    Raises:
        TypeError: It is no string.
    """
    if not isinstance(reason, str):
        msg = f"reason must be a string, not {reason!r}"
        raise TypeError(msg)
    return reason.encode("utf-8", "backslashreplace").decode()


def answer_of(waiter: AnyWaiter, task_id: bytes) -> Any:
    """What a waiter was answered.

    Raises:
        StorageUnavailable: It was not, in its time; or what it was told.
    """
    if waiter.error is not None:
        raise waiter.error
    if not waiter.done:
        msg = "no answer within Settings.commit_timeout"
        raise StorageUnavailable(msg, UUID(bytes=task_id), outcome="unknown")
    return waiter.answer


class Final:
    """How a task ended, as much of it as `result()` needs."""

    __slots__ = ("attempt", "error", "result", "status")

    def __init__(self, ended: Outcome | Record) -> None:
        self.status = ended.status
        self.attempt = ended.attempt
        self.result = ended.result
        self.error = ended.error


def final(engine: Engine, task_id: bytes, timeout: float | None) -> Final:
    """Wait for a task to end, in the calling thread.

    Raises:
        TaskNotFound, NotOwner, WouldDeadlock, WaitTimeout: See `TaskHandle.result`.
    """
    _refuse_deadlock(engine, task_id, timeout)
    waiter = Waiter(engine.node.runtime.gate)
    engine.node.journal.watch(task_id, waiter)
    try:
        ended = _ended(engine, task_id)
        if ended is None and not waiter.wait(_FOREVER if timeout is None else timeout):
            raise WaitTimeout(_wait_message(task_id, timeout))
        if ended is None and waiter.error is not None:
            raise waiter.error
        return Final(ended if ended is not None else waiter.answer)
    finally:
        engine.node.journal.watchers.remove(task_id, waiter)
        waiter.wait(0.0)  # it may hold the baton all the same


async def final_async(engine: Engine, task_id: bytes, timeout: float | None) -> Final:
    """As `final`, awaited."""
    _refuse_deadlock(engine, task_id, timeout, blocking=False)
    waiter = LoopWaiter()
    engine.node.journal.watch(task_id, waiter)
    try:
        ended = _ended(engine, task_id)
        if ended is None and not await waiter.wait(_FOREVER if timeout is None else timeout):
            raise WaitTimeout(_wait_message(task_id, timeout))
        if ended is None and waiter.error is not None:
            raise waiter.error
        return Final(ended if ended is not None else waiter.answer)
    finally:
        engine.node.journal.watchers.remove(task_id, waiter)


_FOREVER = 10.0**9


def _ended(engine: Engine, task_id: bytes) -> Record | None:
    """The row of a task that has ended; None if it is still to be waited for."""
    if task_id in engine.node.journal.tickets.resident:
        return None
    record = engine.storage.get(task_id)
    if record is None:
        raise TaskNotFound(UUID(bytes=task_id))
    if record.status >= st.COMPLETED:
        return record
    if record.owner != engine.node.journal.incarnation and engine.storage.alive(record.owner):
        raise NotOwner(UUID(bytes=task_id), record.owner)
    return None


def _wait_message(task_id: bytes, timeout: float | None) -> str:
    return f"task {UUID(bytes=task_id)} had not ended after {timeout} s; your wait is over, the task goes on"


def _refuse_deadlock(engine: Engine, task_id: bytes, timeout: float | None, *, blocking: bool = True) -> None:
    delivery = here(engine)
    if delivery is None:
        return
    name = UUID(bytes=task_id)
    if blocking and timeout is None:
        msg = f"waiting for task {name} inside a handler needs a timeout: wait(seconds) or result(seconds)"
        raise ValueError(msg)
    record = delivery.ticket.record
    if record.id == task_id:
        msg = f"task {name} waits for itself; a handler cannot wait for its own end"
        raise WouldDeadlock(msg)
    if any(child.record.id == task_id for child in delivery.ctx._buffer or ()):
        msg = (
            f"task {name} is dispatched through the context of {UUID(bytes=record.id)} and will be stored when that "
            "ends; wait for it elsewhere, or use ctx.system.dispatch, which stores it at once"
        )
        raise WouldDeadlock(msg)
    ticket = engine.node.journal.tickets.resident.get(task_id)
    pool = delivery.cell.pool
    if ticket is not None and ticket.pool is pool and ticket.state is QUEUED and pool.busy:
        msg = (
            f"task {name} is queued for {pool.spec.name}, all of whose {pool.spec.concurrency} cell(s) are busy, this "
            "waiting one among them; raise the handler's concurrency, or continue in on_completed"
        )
        raise WouldDeadlock(msg)


def read(engine: Engine, task_id: bytes) -> Record:
    """A row as it is now: RUNNING as soon as a cell has it, though storage is told only when that ends.

    Raises:
        TaskNotFound: There is none.
    """
    record = engine.storage.get(task_id)
    if record is None:
        raise TaskNotFound(UUID(bytes=task_id))
    return overlay(engine, record)


def overlay(engine: Engine, record: Record) -> Record:
    """Add what only this process knows about a row."""
    ticket = engine.node.journal.tickets.resident.get(record.id)
    if ticket is None or record.status >= st.COMPLETED:
        return record
    delivery = ticket.delivery
    if ticket.state is STARTED and delivery is not None:
        record.status = st.RUNNING
        record.started = delivery.started
        record.attempt = delivery.ctx.attempt
    elif record.status == st.RUNNING:
        record.status = st.QUEUED  # claimed after a crash, and not started yet
    return record


def public(engine: Engine, record: Record) -> TaskRecord:
    """The user's picture of a row, its result decoded if the type is handled here."""
    pool = engine.node.dispatcher.named.get(record.type)
    result = pool.codec.decode_result(record.result, record.id) if pool is not None else plain_result(record)
    return public_record(record, result, engine.node.runtime.now())


def plain_result(record: Record) -> Any:
    """A result as plain data, without the handler's types; bytes if it is not JSON."""
    if record.result is None:
        return None
    try:
        return msgspec.json.decode(record.result)
    except msgspec.DecodeError:
        return record.result
