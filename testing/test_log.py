"""What pytest shows as a test's log: of a test that runs many simulations, only what one of them has logged."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any


def _handlers() -> list[Any]:
    """Those of pytest, one for `caplog` and one for what it shows: told by what they can do, as they have no name."""
    return [each for each in logging.getLogger().handlers if hasattr(each, "records") and hasattr(each, "clear")]


def logged() -> list[logging.LogRecord]:
    """What was logged since it was last forgotten; nothing, if it is not pytest that runs."""
    return next((list(each.records) for each in _handlers()), [])


def forget() -> None:
    """Forget what was logged so far."""
    for handler in _handlers():
        handler.clear()


def show(records: Iterable[logging.LogRecord]) -> None:
    """Let that be what was logged."""
    forget()
    for record in records:
        for handler in _handlers():
            if record.levelno >= handler.level:
                handler.handle(record)
