"""What a case and a question are, and what the measured systems promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NONE = "-"
MEMORY = "nothing"
POWER = "a power cut; at least once"
KILL = "kill -9; at least once"
AT_MOST_ONCE = "a power cut; at most once"
"""It is taken off the disk before it runs: what a kill finds running is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One function call in a process of its own.

    Attributes:
        name: Unique among all cases.
        program: The module of this package that has the function.
        function: It takes how many tasks, and the arguments.
        arguments: By name.
        share: Of the number of tasks that the command line asks for: slow ones take less, large ones more.
        guarantee: What a dispatched task survives, and how often it runs.
        peer: Whether it needs the peers' environment.
        repeats: How often at the most, where one repetition is long, or is many by itself.
    """

    name: str
    program: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    guarantee: str = NONE
    peer: bool = False
    repeats: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Cases whose figures are compared.

    Attributes:
        name: What the command line calls it.
        title: Above its table.
        about: What is done, and what the figures mean.
        cases: In order; a case may belong to several questions, and is run once.
        figure: The one that the cases are compared by.
        against: By which short name, which case the others are divided by.
    """

    name: str
    title: str
    about: str
    cases: tuple[Case, ...]
    figure: str = "tasks/s"
    against: Mapping[str, str] = field(default_factory=dict)


def raw(name: str, function: str, share: float = 1.0, **arguments: Any) -> Case:
    """A limit of the machine."""
    return Case(name=f"raw: {name}", program="raw", function=function, arguments=arguments, share=share)


def ours(name: str, program: str, function: str, share: float = 1.0, *, repeats: int = 1000, **arguments: Any) -> Case:
    """A case of everact; its guarantee is its storage's."""
    guarantee = {"memory": MEMORY, "process": KILL}.get(arguments.get("storage", ""), POWER)
    return Case(
        name=f"everact: {name}",
        program=program,
        function=function,
        arguments=arguments,
        share=share,
        guarantee=guarantee,
        repeats=repeats,
    )


def peer(name: str, function: str, share: float = 1.0, *, repeats: int = 1000, **arguments: Any) -> Case:
    """A case of a peer, whose name begins with the peer's."""
    program = name.split(maxsplit=1)[0].lower()
    return Case(
        name=name,
        program=f"peer_{program}",
        function=function,
        arguments=arguments,
        share=share,
        guarantee=MEMORY if arguments.get("storage", "memory") == "memory" else AT_MOST_ONCE,
        peer=True,
        repeats=repeats,
    )
