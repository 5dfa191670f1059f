"""From a user's task object to a checked, encoded ticket. Runs in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from everact.actors.pool import Pool
from everact.actors.runtime import Runtime
from everact.actors.ticket import Ticket
from everact.storage.checksum import checksum
from everact.storage.codec import PAYLOAD_VERSION
from everact.storage.protocol import Storage
from everact.tasks.cancellation import Gate
from everact.tasks.errors import TaskTypeUnknown
from everact.tasks.ids import id_bytes
from everact.tasks.record import CLEANUP, TASK, Flow, Record
from everact.tasks.schedule import due_at
from everact.tasks.status import QUEUED, SCHEDULED
from everact.tasks.task import type_name

HIGHEST_PRIORITY = 100
TEXT_LIMIT = 1024
OPTIONS = frozenset({"id", "delay", "at", "key", "priority", "tags", "headers"})


class Dispatcher:
    """Makes tickets, and is what a `TaskContext` needs from the engine.

    Attributes:
        pools: By task class.
        named: By stored name, aliases included.
        system: The ActorSystem, for `ctx.system`.
        lock: See `ContextServices.lock`.
    """

    def __init__(
        self,
        runtime: Runtime,
        storage: Storage,
        pools: Sequence[Pool],
        call_back: Callable[[Callable[[], object]], None],
    ) -> None:
        self._storage = storage
        self._runtime = runtime
        self._now, self._new_id = runtime.now, runtime.new_id
        self.pools: dict[type, Pool] = {pool.spec.task_type: pool for pool in pools}
        self.named: dict[str, Pool] = {name: pool for pool in pools for name in (pool.spec.name, *pool.spec.aliases)}
        self._call_back = call_back
        self.system: Any = None
        self.lock: AbstractContextManager[Any] = runtime.lock()

    def lookup(self, id: bytes) -> Record | None:
        """See `ContextServices.lookup`."""
        return self._storage.get(id)

    def result_of(self, record: Record) -> Any:
        """See `ContextServices.result_of`."""
        pool = self.named.get(record.type)
        return None if pool is None else pool.codec.decode_result(record.result, record.id)

    def is_critical(self, record: Record) -> bool:
        """See `ContextServices.is_critical`."""
        pool = self.named.get(record.type)
        return pool is None or pool.spec.critical

    def gate(self) -> Gate:
        """See `TokenRuntime.gate`."""
        return self._runtime.gate()

    def call_back(self, fn: Callable[[], object], /) -> None:
        """See `TokenRuntime.call_back`."""
        self._call_back(fn)

    def prepare(self, task: object, options: Mapping[str, Any], parent: Record | None) -> Ticket:
        """Encode and check a task.

        Args:
            task: An instance of a registered task class.
            options: As `ActorSystem.dispatch` takes them.
            parent: The row whose handler or hook dispatches it, if any; workflow and headers come from there.

        Raises:
            TaskTypeUnknown: Its class has no handler here.
            PayloadError: It does not survive encoding, or is too large.
            ValueError, TypeError: An option has no meaning.
        """
        if options and not options.keys() <= OPTIONS:
            raise TypeError(_unknown(options))
        pool = self.pools.get(type(task))
        if pool is None:
            raise TaskTypeUnknown(type_name(type(task)), tuple(self.named))
        given = options.get("id") if options else None
        new_id = self._new_id() if given is None else id_bytes(given)
        codec = pool.codec
        payload = codec.encode(task, new_id)
        # The handler gets what was stored, not what was passed: decoding it here finds what would not survive
        # while the caller can still be told, and saves decoding it again for the first attempt.
        decoded = codec.decode(payload, new_id, codec.key_id)
        now = self._now()
        record = Record(
            id=new_id,
            type=pool.spec.name,
            payload=payload,
            due=now,
            created=now,
            codec=pool.spec.codec,
            version=PAYLOAD_VERSION,
            key_id=codec.key_id,
            checksum=checksum(payload),
            queue=pool.spec.queue,
        )
        if options:
            _apply(record, options, now)
        if parent is not None:
            _inherit(record, parent)
        return Ticket(record, pool, decoded)


def _unknown(options: Mapping[str, Any]) -> str:
    return f"dispatch() has no option {sorted(options.keys() - OPTIONS)}; it has {sorted(OPTIONS)}"


def _apply(record: Record, options: Mapping[str, Any], now: int) -> None:
    record.due = due_at(now, options.get("delay"), options.get("at"))
    record.status = SCHEDULED if record.due > now else QUEUED
    record.priority = _priority(options.get("priority", 0))
    key = options.get("key")
    record.key = None if key is None else _text("key", key)
    tags = options.get("tags", ())
    record.tags = _tags(tags) if tags else ()
    headers = options.get("headers")
    record.headers = _headers(headers) if headers else None


def _inherit(record: Record, parent: Record) -> None:
    record.parent = parent.id
    record.workflow = parent.workflow_id
    if parent.kind != TASK:
        record.kind = CLEANUP
    elif parent.flow is not None and parent.flow.join is not None:
        record.flow = Flow(join=parent.flow.join)
    if parent.headers:
        record.headers = {**parent.headers, **(record.headers or {})}


def _priority(value: object) -> int:
    if type(value) is not int or not -HIGHEST_PRIORITY <= value <= HIGHEST_PRIORITY:
        msg = f"priority={value!r} must be a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}"
        raise ValueError(msg)
    return value


def _tags(tags: object) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        msg = f"tags must be a list of strings, not {tags!r}"
        raise TypeError(msg)
    return tuple(_text("tag", tag) for tag in tags)


def _headers(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        msg = f"headers must be a mapping of strings, not {type(headers).__name__}"
        raise TypeError(msg)
    return {_text("header name", name): _text("header", value) for name, value in headers.items()}


def _text(what: str, value: object) -> str:
    """A user's text as storage can keep it."""
    if not isinstance(value, str):
        msg = f"{what} must be a string, not {value!r}"
        raise TypeError(msg)
    if not value or len(value) > TEXT_LIMIT:
        msg = f"{what} must have 1 to {TEXT_LIMIT} characters, not {len(value)}"
        raise ValueError(msg)
    try:
        value.encode()
    except UnicodeEncodeError:
        msg = f"{what} {value!r} holds lone surrogates, which cannot be stored"
        raise ValueError(msg) from None
    return value
