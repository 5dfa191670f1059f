"""What an exception out of an attempt means, and how it is told. Pure functions."""

from __future__ import annotations

import asyncio
import enum
import traceback

from everact.tasks.cancellation import CancelReason
from everact.tasks.errors import CancelRequested, TaskCancelled
from everact.tasks.record import TaskError

TEXT_SHARE = 4


class Verdict(enum.Enum):
    """What an attempt that ended in an exception amounts to."""

    FAILED = enum.auto()
    """The handler's own error: the retry policy decides."""
    TIMED_OUT = enum.auto()
    CANCELLED = enum.auto()
    INTERRUPTED = enum.auto()
    """A shutdown: the task goes back to the queue and the attempt does not count."""
    UNEXPECTED_CANCEL = enum.auto()
    """A cancellation that nobody had asked for."""


_BY_REASON = {
    CancelReason.USER: Verdict.CANCELLED,
    CancelReason.WORKFLOW: Verdict.CANCELLED,
    CancelReason.TIMEOUT: Verdict.TIMED_OUT,
    CancelReason.SHUTDOWN: Verdict.INTERRUPTED,
}


def judge(error: BaseException, reason: CancelReason | None) -> Verdict:
    """Decide what an exception out of an attempt means.

    Once the token has fired, any exception is the token's outcome: a handler that is told to stop may
    raise whatever its clean-up runs into.

    Args:
        error: What the attempt raised.
        reason: Why the token had fired by then; None if it had not.

    Example:
        >>> judge(KeyError("x"), None).name, judge(KeyError("x"), CancelReason.USER).name
        ('FAILED', 'CANCELLED')
    """
    if reason is not None:
        return _BY_REASON[reason]
    if isinstance(error, CancelRequested | asyncio.CancelledError):
        return Verdict.UNEXPECTED_CANCEL
    return Verdict.FAILED


def error_name(error: BaseException) -> str:
    """Qualified name of an exception's class, builtins without their module.

    Example:
        >>> error_name(KeyError()), error_name(asyncio.CancelledError())
        ('KeyError', 'asyncio.exceptions.CancelledError')
    """
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def error_text(error: BaseException) -> str:
    """The message of an exception, as text that can be stored, whatever its `__str__` does."""
    try:
        text = str(error)
    except BaseException as second:
        text = f"<{type(second).__name__} while reading the message of {type(error).__name__}>"
    return storable(text)


def storable(text: str) -> str:
    r"""Replace what UTF-8 cannot hold, lone surrogates, by their escapes.

    Example:
        >>> storable("a\ud800b")
        'a\\ud800b'
    """
    return text.encode("utf-8", "backslashreplace").decode()


def describe(
    error: BaseException, limit: int, hook: str | None = None, hook_error: BaseException | None = None
) -> TaskError:
    """Turn an exception into what is stored of it.

    Args:
        error: What the attempt ended with.
        limit: Characters that text and traceback may have together; the end of a traceback is kept, as
            that is where the error is.
        hook: A hook that failed too, if one did.
        hook_error: What that raised.
    """
    # Of a cancel the user's reason is kept; the rest of its message says what the status says already.
    text = (storable(error.reason) if isinstance(error, TaskCancelled) else error_text(error))[: limit // TEXT_SHARE]
    try:
        trace = storable(_traceback(error))
    except BaseException as second:
        trace = f"<{type(second).__name__} while formatting the traceback>"
    room = limit - len(text)
    return TaskError(
        type=error_name(error),
        text=text,
        traceback=trace if len(trace) <= room else "..." + trace[-room + 3 :],
        hook=hook,
        hook_error=f"{error_name(hook_error)}: {error_text(hook_error)[: limit // TEXT_SHARE]}"
        if hook_error is not None
        else None,
    )


def _traceback(error: BaseException) -> str:
    """Format a traceback without the marks below the lines: to find their places, each line is parsed anew.

    That takes two thirds of the time, and with it most of what a failing attempt costs.
    """
    told = traceback.TracebackException.from_exception(error)
    parts = [told]
    while parts:
        part = parts.pop()
        for frame in part.stack:
            frame.colno = frame.end_colno = None
        parts += [each for each in (part.__cause__, part.__context__, *(part.exceptions or ())) if each is not None]
    return "".join(told.format())
