"""The task's facts on every record that is logged while its handler runs, whoever logs it."""

from __future__ import annotations

import logging

from everact.actors.ticket import current_delivery

NOBODY = "-"


class TaskContextFilter(logging.Filter):
    """Adds `task_id`, `task_type`, `attempt` and `workflow_id` to records; give it to your handlers.

    Where no task runs, they are "-". It refuses no record.

    Example:
        >>> record = logging.makeLogRecord({})
        >>> TaskContextFilter().filter(record), record.task_id
        (True, '-')
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the facts, in the thread that logs."""
        delivery = current_delivery.get()
        facts = (NOBODY,) * 4
        if delivery is not None and not delivery.closed:
            ctx = delivery.ctx
            facts = str(ctx.task_id), delivery.ticket.record.type, str(ctx.attempt), str(ctx.workflow_id)
        record.task_id, record.task_type, record.attempt, record.workflow_id = facts
        return True
