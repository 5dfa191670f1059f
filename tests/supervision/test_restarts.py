"""What is left behind by many restarts: nothing. `make restarts RESTARTS=100000` does the same in full."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["pooled", "pinned", "async"])
def test_thousands_of_restarts_leave_no_thread_and_no_object_behind(
    measure: Callable[..., dict[str, Any]], kind: str
) -> None:
    figures = measure("restarts.py", "--restarts", "2000", "--kind", kind)
    assert figures["restarts"] == 2000
    assert figures["grown"] == []
    assert figures["exit_code"] == 0


@pytest.mark.parametrize("kind", ["objects", "threads"])
def test_the_same_look_finds_what_was_left_behind_on_purpose(measure: Callable[..., dict[str, Any]], kind: str) -> None:
    figures = measure("restarts.py", "--restarts", "2000", "--kind", f"leaking-{kind}")
    assert figures["restarts"] == 2000
    assert kind in figures["grown"]
    assert figures["exit_code"] == 1
