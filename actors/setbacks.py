"""What becomes of a batch that storage did not take: who is tried again, and what the others are told."""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

from everact.actors.messages import CancelTasks, ClaimTasks, FinishDelivery, MarkRunning, OrderWorkflow, StoreTasks
from everact.actors.reserve import Reserve
from everact.actors.ticket import DONE, QUEUED
from everact.storage.protocol import Storage
from everact.tasks.errors import EverActError, StorageFull, StorageUnavailable

WRITING = frozenset({FinishDelivery, StoreTasks, CancelTasks, ClaimTasks, MarkRunning, OrderWorkflow})
"""Messages that storage is asked to write something for; what the others want does not depend on it."""


def divide(messages: list[Any], error: Exception, reserve: Reserve) -> tuple[list[Any], list[list[Any]]]:
    """Decide about the messages of a batch whose commit failed and wrote nothing, as far as is known.

    A locked or broken database refuses whatever it is asked, so asking it once more for each of thousands of
    messages helps nobody; on a full disk outcomes come first, see `Reserve`. Any other error is about what some
    message wants to be written. That one is found by halving: for one among 2,000 that takes about 22 commits, and
    as many savepoints as messages would cost more code, and more time, as each step gives up the interpreter lock.

    Returns:
        The messages to be refused, and parts to be tried again, each in a commit of its own.
    """
    writing = [message for message in messages if type(message) in WRITING]
    others = [message for message in messages if type(message) not in WRITING]
    parts = [others] if others else []
    if not writing:
        return others, []
    if isinstance(error, StorageFull) or getattr(error, "no_room", False):
        refused, again = reserve.divide(writing)
        return refused, [again, *parts] if again else parts
    if len(writing) == 1 or isinstance(error, StorageUnavailable | OSError):
        return writing, parts
    half = len(writing) // 2
    return [], [writing[:half], writing[half:], *parts]


def may_be_written(error: BaseException) -> bool:
    """Whether the commit that raised this may have been written after all."""
    return getattr(error, "outcome", "refused") == "unknown" or not isinstance(error, EverActError)


def told(message: Any, error: BaseException) -> EverActError:
    """Make the error that the caller behind a message gets; one for each, as raising it changes it."""
    id = _first_id(message)  # noqa: A001 - the task's own word
    task_id = None if id is None else UUID(bytes=id)
    own: EverActError
    if not isinstance(error, EverActError):
        own = StorageUnavailable(repr(error), task_id, outcome="unknown")
    elif type(error) is StorageUnavailable:
        own = StorageUnavailable(error.detail, task_id, error.outcome)
    else:
        own = copy.copy(error)
    own.__cause__ = error
    return own


def tried_again(message: Any, storage: Storage) -> bool:
    """Whether a refused message is sent once more; who waits for an answer is told, and liveness asks anew."""
    if type(message) is StoreTasks:
        return message.waiter is None and storage.get(_first_id(message) or b"") is None
    if type(message) is CancelTasks:
        return message.waiter is None  # its workflow unwinds
    return type(message) in (FinishDelivery, ClaimTasks)


def settled(message: Any) -> bool:
    """Whether nothing is left to do for a message of a turn that failed.

    What was written is known again when it is sent once more.
    """
    if type(message) is FinishDelivery:
        return message.ticket.state is DONE
    if type(message) is ClaimTasks:
        return all(ticket.claimed or ticket.state is not QUEUED for ticket in message.tickets)
    waiter = getattr(message, "waiter", None)
    if waiter is None:
        return type(message) is not StoreTasks
    return bool(waiter.done)


def _first_id(message: Any) -> bytes | None:
    if type(message) is StoreTasks and message.tickets:
        return message.tickets[0].record.id
    if type(message) is CancelTasks and message.ids:
        return message.ids[0]
    if type(message) is OrderWorkflow:
        return message.order.workflow
    return None
