"""What an exception out of an attempt means, and what is stored of it."""

import asyncio
import concurrent.futures
import itertools
import traceback
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.tasks.cancellation import CancelReason
from everact.tasks.errors import CancelRequested, TaskCancelled, TaskTimeout
from everact.tasks.failure import Verdict, describe, error_name, error_text, judge, storable

E = TypeVar("E", bound=BaseException)

# Surrogates too: os.fsdecode and broken JSON bring them into messages.
ANY_TEXT = st.text(st.characters(), max_size=200)
ERRORS: list[BaseException] = [
    ValueError(),
    SystemExit(),
    KeyboardInterrupt(),
    GeneratorExit(),
    CancelRequested(),
    asyncio.CancelledError(),
    TimeoutError(),
]


class Mute(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Empty(Exception):
    """An exception that counts as false, as every class with an empty `__len__` does."""

    def __len__(self) -> int:
        return 0


class Outer:
    class Inner(Exception):
        pass


def raised(error: E) -> E:
    """Return the error with a traceback."""
    try:
        raise error
    except BaseException:
        return error


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (CancelReason.USER, Verdict.CANCELLED),
        (CancelReason.WORKFLOW, Verdict.CANCELLED),
        (CancelReason.TIMEOUT, Verdict.TIMED_OUT),
        (CancelReason.SHUTDOWN, Verdict.INTERRUPTED),
    ],
)
@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_once_the_token_has_fired_every_exception_is_the_tokens_outcome(
    error: BaseException, reason: CancelReason, verdict: Verdict
) -> None:
    assert judge(error, reason) is verdict


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_before_that_only_a_cancellation_is_more_than_a_failure(error: BaseException) -> None:
    unasked = isinstance(error, CancelRequested | asyncio.CancelledError)
    assert judge(error, None) is (Verdict.UNEXPECTED_CANCEL if unasked else Verdict.FAILED)


def test_every_reason_has_a_verdict() -> None:
    assert all(isinstance(judge(e, r), Verdict) for e, r in itertools.product(ERRORS, [None, *CancelReason]))


def test_an_error_is_named_by_module_and_qualified_name_and_builtins_without_module() -> None:
    assert error_name(KeyError()) == "KeyError"
    assert error_name(TaskTimeout.__new__(TaskTimeout)) == "everact.tasks.errors.TaskTimeout"
    assert error_name(Outer.Inner()) == f"{__name__}.Outer.Inner"
    assert error_name(concurrent.futures.CancelledError()) == "concurrent.futures._base.CancelledError"


def test_a_message_that_raises_is_told_as_such() -> None:
    assert error_text(Mute()) == "<KeyboardInterrupt while reading the message of Mute>"


@given(ANY_TEXT)
def test_any_text_becomes_storable_and_stays_as_it_is_if_it_was(text: str) -> None:
    stored = storable(text)
    stored.encode("utf-8")
    assert storable(stored) == stored
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert stored == text


def test_lone_surrogates_are_told_by_their_escapes() -> None:
    assert error_text(ValueError("a\ud800b")) == "a\\ud800b"


@given(ANY_TEXT, st.integers(100, 2_000), ANY_TEXT)
def test_message_and_traceback_stay_within_the_limit_together(text: str, limit: int, other: str) -> None:
    told = describe(raised(ValueError(text * 10)), limit, "on_error", raised(KeyError(other * 10)))
    assert len(told.text) + len(told.traceback) <= limit
    assert told.hook_error is not None
    assert len(told.hook_error) <= len("KeyError: ") + limit // 4
    for kept in (told.text, told.traceback, told.hook_error):
        kept.encode("utf-8")


def test_with_room_enough_nothing_is_cut() -> None:
    told = describe(raised(ValueError("no")), 65_536)
    assert (told.type, told.text, told.hook, told.hook_error) == ("ValueError", "no", None, None)
    assert told.traceback.startswith("Traceback (most recent call last):")
    assert told.traceback.endswith("ValueError: no\n")
    assert "raise error" in told.traceback


def test_a_long_traceback_keeps_its_end() -> None:
    told = describe(raised(ValueError("x" * 5_000)), 400)
    assert told.text == "x" * 100
    assert told.traceback.startswith("...")
    assert told.traceback.endswith("x\n")
    assert len(told.traceback) == 300


def test_a_long_message_keeps_its_beginning() -> None:
    assert describe(ValueError("begin" + "x" * 1000), 100).text == "begin" + "x" * 20


@pytest.mark.parametrize(
    ("reason", "text"),
    [("typo", "typo"), ("", ""), ("x" * 50, "x" * 25), ("a\ud800b", "a\\ud800b")],
    ids=["plain", "none", "long", "surrogate"],
)
def test_of_a_cancel_the_users_reason_is_stored_within_the_same_limits(reason: str, text: str) -> None:
    told = describe(TaskCancelled(UUID(int=7), reason), 100)
    assert told.type == "everact.tasks.errors.TaskCancelled"
    assert ascii(told.text) == ascii(text)


def test_a_failed_hook_is_told_beside_the_error_of_the_task() -> None:
    told = describe(ValueError("no"), 1000, "on_completed", Outer.Inner("hook"))
    assert (told.type, told.text) == ("ValueError", "no")
    assert (told.hook, told.hook_error) == ("on_completed", f"{__name__}.Outer.Inner: hook")


def test_a_hook_error_that_counts_as_false_is_told_all_the_same() -> None:
    assert describe(ValueError("no"), 1000, "on_error", Empty("x")).hook_error == f"{__name__}.Empty: x"


def test_an_error_that_cannot_even_be_printed_is_described() -> None:
    told = describe(raised(Mute()), 1000, "on_error", Mute())
    assert told.text == "<KeyboardInterrupt while reading the message of Mute>"
    assert told.traceback
    assert told.hook_error == f"{__name__}.Mute: <KeyboardInterrupt while reading the message of Mute>"


def test_causes_and_groups_are_part_of_the_traceback() -> None:
    group = ExceptionGroup("several", [raised(KeyError("inside"))])
    group.__cause__ = OSError("the cause")
    told = describe(raised(group), 65_536)
    assert "KeyError: 'inside'" in told.traceback
    assert "OSError: the cause" in told.traceback


def failing_group() -> Exception:
    """A group with causes and contexts, each of which shows its own lines."""

    def fail(number: int) -> Exception:
        try:
            try:
                [1][int(f"{number}") + 1]
            except IndexError as first:
                raise KeyError(number) from first
        except KeyError as second:
            return second
        raise AssertionError

    try:
        raise ExceptionGroup("several", [ValueError(1), fail(2)])
    except ExceptionGroup as group:
        return group


def test_a_stored_traceback_has_every_line_of_every_error_and_no_marks_below_them() -> None:
    error = failing_group()
    marked = "".join(traceback.format_exception(error))
    without = [line for line in marked.splitlines() if not set(line) <= set(" |^~") or "^" not in line]
    assert len(without) < len(marked.splitlines())
    assert describe(error, 65_536).traceback.splitlines() == without
