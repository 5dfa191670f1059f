"""Patches that plant a bug, and tell when it is the patch that is wrong: that too would break a world."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, TracebackType
from typing import Any

import pytest

MISTAKES = (TypeError, AttributeError, NameError)


class Planting:
    """What a plant patches the engine with.

    Attributes:
        mistakes: What its functions have failed with by themselves, since the engine is not what they take it for.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._set: Callable[..., None] = patch.setattr
        self.mistakes: list[BaseException] = []

    def setattr(self, *target: Any) -> None:
        """See `pytest.MonkeyPatch.setattr`."""
        *where, value = target
        self._set(*where, self._heard(value) if isinstance(value, FunctionType) else value)

    def _heard(self, planted: FunctionType) -> Callable[..., Any]:
        @functools.wraps(planted)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return planted(*args, **kwargs)
            except MISTAKES as error:
                if _file(error.__traceback__) in (__file__, planted.__code__.co_filename):
                    self.mistakes.append(error)
                raise

        return call


def _file(trace: TracebackType | None) -> str:
    """Where an error was raised."""
    file = ""
    while trace is not None:
        file, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return file


@contextmanager
def planted(plant: Callable[[Planting], None]) -> Iterator[None]:
    """Have a bug in the engine.

    Raises:
        AssertionError: It is in the patch.
    """
    with pytest.MonkeyPatch.context() as patch:
        planting = Planting(patch)
        plant(planting)
        yield
    if planting.mistakes:
        raise AssertionError("the patch does not fit the engine any more") from planting.mistakes[0]
