"""The reading half of `ActorSystem`: records, counts, histories, health, and waiting for an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from everact import access
from everact.actors.baton import LoopWaiter, Waiter
from everact.actors.messages import AwaitIdle
from everact.actors.ticket import STARTED, Ticket
from everact.engine import Engine
from everact.storage.checksum import checksum
from everact.storage.protocol import Selection
from everact.tasks import status as st
from everact.tasks.errors import WaitTimeout, WouldDeadlock
from everact.tasks.ids import TaskId, id_bytes
from everact.tasks.record import COMPENSATION, HistoryEntry, HistoryRow, Record, TaskRecord, merge_history
from everact.tasks.status import TaskStatus
from everact.tasks.task import type_name

if TYPE_CHECKING:
    from everact.task_handle import TaskHandle

ALL = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Health:
    """How a system is: `system.health()`.

    Attributes:
        healthy: Whether it runs, no pool is suspended and no thread was left behind.
        state: "running", "stopped" and so on.
        running: Tasks that a cell has now.
        suspended: Stored names of task types whose pool is suspended.
        abandoned_threads: Threads left behind in user code that have not come back.
        dropped_events: Events that slow subscribers missed.
        restarts: Turns of internal actors that failed.
    """

    healthy: bool
    state: str
    running: int
    suspended: tuple[str, ...]
    abandoned_threads: int
    dropped_events: int
    restarts: int


class Inspection:
    """What can be asked of a running system. Reads never wait for the journal."""

    state: str

    def _running(self) -> Engine:
        raise NotImplementedError  # ActorSystem has it; this class is one half of that

    def _handle(self, task_id: bytes) -> TaskHandle[object]:
        raise NotImplementedError  # as above

    def get(self, id: TaskId) -> TaskRecord:
        """Read one task as it is now.

        Raises:
            TaskNotFound: There is no such record.
            ValueError, TypeError: `id` is no UUID.
        """
        engine = self._running()
        return access.public(engine, access.read(engine, id_bytes(id)))

    def tasks(
        self,
        *,
        status: TaskStatus | None = None,
        type: type | str | None = None,
        workflow: TaskId | None = None,
        limit: int = 100,
        after: TaskId | None = None,
    ) -> list[TaskRecord]:
        """List tasks in the order in which they were stored.

        Args:
            status: Only these.
            type: Only this task type: its class, or its stored name.
            workflow: Only the tasks of this workflow.
            limit: How many at the most.
            after: Go on after this task, the last one of the page before.

        Raises:
            TaskNotFound: `after` is not there any more.
            ValueError: `limit` is not positive.
        """
        if limit < 1:
            msg = f"limit={limit} must be at least 1"
            raise ValueError(msg)
        engine = self._running()
        start = 0 if after is None else access.read(engine, id_bytes(after)).seq
        name = type_name(type) if isinstance(type, _Class) else type
        workflow_id = None if workflow is None else id_bytes(workflow)
        if isinstance(type, _Class) and (pool := engine.node.dispatcher.pools.get(type)) is not None:
            name = pool.spec.name
        records = self._select(engine, status, name, workflow_id, start, limit)
        return [access.public(engine, record) for record in records]

    def _select(
        self,
        engine: Engine,
        status: TaskStatus | None,
        name: str | None,
        workflow: bytes | None,
        start: int,
        limit: int,
    ) -> list[Record]:
        """Rows by their status as it is now: what is RUNNING is only QUEUED in storage, so pages are filtered."""
        found: list[Record] = []
        stored = None if status is None else _stored_statuses(status)
        now = engine.node.runtime.now()
        while len(found) < limit:
            selection = Selection(statuses=stored, type=name, workflow=workflow, after=start, limit=limit)
            page = engine.storage.select(selection)
            for record in page:
                start = record.seq
                live = access.overlay(engine, record)
                if status is None or _shown_status(live, now) == status:
                    found.append(live)
            if len(page) < limit:
                break
        return found[:limit]

    def counts(self) -> dict[TaskStatus, int]:
        """How many tasks are in each status; every status is in the answer."""
        engine = self._running()
        counted = dict.fromkeys(TaskStatus, 0)
        now = engine.node.runtime.now()
        for status, count in engine.storage.counts(now).items():
            counted[TaskStatus(status)] += count
        for ticket in list(engine.node.journal.tickets.resident.values()):
            stored, shown = _shown_status(ticket.record, now), _ticket_status(ticket, now)
            if stored != shown and counted[TaskStatus(stored)] > 0:
                counted[TaskStatus(stored)] -= 1
                counted[TaskStatus(shown)] += 1
        return counted

    def history(self, id: TaskId) -> list[HistoryEntry]:
        """What happened to a task, oldest first: its own moments, and what was out of the ordinary.

        Raises:
            TaskNotFound: There is no such record.
        """
        engine = self._running()
        task_id = id_bytes(id)
        return merge_history(access.read(engine, task_id), engine.storage.history(task_id))

    def task(self, id: TaskId) -> TaskHandle[object]:
        """A handle for a task that you know the id of; nothing is read until you ask it."""
        self._running()
        return self._handle(id_bytes(id))

    def wait(self, id: TaskId, timeout: float | None = None) -> TaskRecord:
        """Block until a task has ended; see `TaskHandle.wait`."""
        engine = self._running()
        access.refuse_on_own_threads(engine, "wait")
        access.final(engine, id_bytes(id), timeout)
        return self.get(id)

    async def wait_async(self, id: TaskId, timeout: float | None = None) -> TaskRecord:
        """As `wait`, awaited."""
        await access.final_async(self._running(), id_bytes(id), timeout)
        return self.get(id)

    def wait_idle(self, timeout: float | None = None) -> None:
        """Block until nothing is queued, running or waiting for a retry.

        What users have scheduled for later is not waited for, nor what another node runs.

        Raises:
            WaitTimeout: There is still work after `timeout` seconds.
            WouldDeadlock: Called inside a handler, which is itself at work.
            BlockingCallError: Called on one of everact's own threads.
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "wait_idle")
        _refuse_inside_a_handler(engine)
        waiter = Waiter(engine.node.runtime.gate)
        engine.node.journal.submit(AwaitIdle(waiter))
        if not waiter.wait(ALL if timeout is None else timeout):
            raise WaitTimeout(_busy_message(engine, timeout))
        if waiter.error is not None:
            raise waiter.error

    async def wait_idle_async(self, timeout: float | None = None) -> None:
        """As `wait_idle`, awaited."""
        engine = self._running()
        _refuse_inside_a_handler(engine)
        waiter = LoopWaiter()
        engine.node.journal.submit(AwaitIdle(waiter))
        if not await waiter.wait(ALL if timeout is None else timeout):
            raise WaitTimeout(_busy_message(engine, timeout))
        if waiter.error is not None:
            raise waiter.error

    def requeue(self, id: TaskId) -> TaskHandle[object]:
        """Run a FAILED or QUARANTINED task again, as a new task whose `retry_of` is the old one.

        It is a workflow of its own, with the payload, priority, tags and headers of the old one.

        Raises:
            TaskNotFound: There is no such record.
            ValueError: It has not failed.
            PayloadError: Its payload cannot be read, so it cannot be signed anew (cloudpickle only).
        """
        engine = self._running()
        access.refuse_on_own_threads(engine, "requeue")
        old = access.read(engine, id_bytes(id))
        if old.kind == COMPENSATION:
            msg = f"task {UUID(bytes=old.id)} undoes a step of workflow {UUID(bytes=old.workflow_id)}; use resume()"
            raise ValueError(msg)
        if old.status not in (st.FAILED, st.QUARANTINED):
            name, status = UUID(bytes=old.id), TaskStatus(old.status)
            msg = f"task {name} is {status}; only failed or quarantined tasks can be requeued"
            raise ValueError(msg)
        ticket = _copy_of(engine, old)
        row = HistoryRow(old.id, ticket.record.created, "requeued", old.attempt, str(UUID(bytes=ticket.record.id)))
        taken = access.store(engine, [ticket], [row])
        return self._handle(access.stored_id(ticket, taken) if taken else ticket.record.id)

    def health(self) -> Health:
        """How the system is. Never raises; a system that does not run is not healthy."""
        try:
            engine = self._running()
        except Exception:
            return Health(False, self.state, 0, (), 0, 0, 0)
        node = engine.node
        suspended = tuple(pool.spec.name for pool in node.pools if pool.suspended)
        abandoned = sum(cell.abandoned for pool in node.pools for cell in pool.cells) + engine.environment.left_behind
        return Health(
            healthy=not suspended and not abandoned,
            state=self.state,
            running=sum(cell.current is not None for pool in node.pools for cell in pool.cells),
            suspended=suspended,
            abandoned_threads=abandoned,
            dropped_events=node.stream.dropped,
            restarts=node.journal.restarts + node.timer.restarts + node.stream.restarts,
        )


_Class = type


def _stored_statuses(status: TaskStatus) -> tuple[int, ...]:
    """In which stored statuses a task can be that is shown as this one."""
    if status is TaskStatus.RUNNING:
        return (st.SCHEDULED, st.QUEUED, st.RUNNING)
    if status is TaskStatus.QUEUED:
        return (st.SCHEDULED, st.QUEUED, st.RUNNING)
    return (int(status),)


def _shown_status(record: Record, now: int) -> int:
    return st.QUEUED if record.status == st.SCHEDULED and record.due <= now else record.status


def _ticket_status(ticket: Ticket, now: int) -> int:
    if ticket.state is STARTED:
        return st.RUNNING
    return st.QUEUED if ticket.record.status == st.RUNNING else _shown_status(ticket.record, now)


def _refuse_inside_a_handler(engine: Engine) -> None:
    if access.here(engine) is not None:
        msg = "wait_idle() inside a handler waits for that handler itself; wait for the tasks you need instead"
        raise WouldDeadlock(msg)


def _busy_message(engine: Engine, timeout: float | None) -> str:
    tickets = engine.node.journal.tickets
    busy = len(tickets.resident) - len(tickets.parked)
    more = " or more" if engine.node.journal.router.has_more else ""  # what waits in storage is not counted out
    return f"{busy}{more} task(s) were still queued, running or retrying after {timeout} s"


def _copy_of(engine: Engine, old: Record) -> Ticket:
    runtime = engine.node.runtime
    now = runtime.now()
    pool = engine.node.dispatcher.named.get(old.type)
    new_id = runtime.new_id()
    payload, sum_of_payload = old.payload, old.checksum
    key_id = old.key_id
    if pool is not None and old.codec != "json":
        payload = pool.codec.encode(pool.codec.decode(payload, old.signed_id, key_id), new_id)
        key_id, sum_of_payload = pool.codec.key_id, checksum(payload)
    record = Record(
        id=new_id,
        type=old.type,
        payload=payload,
        due=now,
        created=now,
        codec=old.codec,
        version=old.version,
        key_id=key_id,
        priority=old.priority,
        key=old.key,
        queue=old.queue,
        tags=old.tags,
        headers=old.headers,
        retry_of=old.id,
        checksum=sum_of_payload,
    )
    return Ticket(record, pool if pool is not None else engine.nowhere)
