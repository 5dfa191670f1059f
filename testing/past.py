"""The causal past of what went wrong: which events of a history can have had a part in it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from everact.testing.history import Event, History, What

FAULTS = frozenset({What.CRASHED, What.FAULT})
_ENDS_OF_LIVES = frozenset({What.CRASHED, What.NODE_STOPPED})


def tasks_in(text: str, history: History) -> list[str]:
    """The tasks of a history that a text names.

    Example:
        >>> history = History(lambda: (0, 0.0))
        >>> _ = history.name(b"1", "shop.Charge"), history.name(b"2", "shop.Charge")
        >>> tasks_in("Charge#2 was undone, Ship#1 was not", history)
        ['Charge#2']
    """
    return [name for name in history.tasks if re.search(rf"(?<!\w){re.escape(name)}(?!\d)", text)]


def causal_past(history: History, tasks: Iterable[str], event: int = -1) -> list[Event]:
    """What happened to these tasks and became of their workflows, and all that led to it.

    An event has its cause in what happened before to its task, to the task that it is about, and to other tasks of the
    same workflow in the same commit; where a node does what another one, or itself before, has begun, in the end of
    that one. Faults, and its start, are causes of all that a node does later.

    Args:
        history: What happened.
        tasks: Whose past is asked for; without any, and without an event, it is all that is no news to subscribers.
        event: The number of the event at which something shows; -1 if there is none.
    """
    causes, wanted = _Causes(history), set(tasks)
    if not wanted and event < 0:
        return [each for each in history if each.what is not What.TOLD]
    past = causes.closure([*causes.lasts(wanted), *([event] if event >= 0 else [])])
    return [history[number] for number in sorted(past | causes.faults(past) | causes.starts(past))]


class _Causes:
    """The direct causes of each event, by number."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._of: list[set[int]] = []
        self._by_task: dict[str, list[int]] = defaultdict(list)
        self._roots: dict[str, str] = {}
        self._commits: dict[tuple[int, str], list[int]] = defaultdict(list)
        self._ends: dict[str, int] = {}
        self._starts: dict[str, int] = {}
        for event in history:
            self._of.append(set(self._find(event)))
            self._enter(event)

    def _find(self, event: Event) -> Iterable[int]:
        """The causes of an event, all of which come before it."""
        for task in filter(None, (event.task, event.about)):
            before = self._by_task.get(task)
            if before:
                yield before[-1]
                yield from self._takeover(self._history[before[-1]].node, event.node)
        if event.commit:
            yield from self._commits[event.commit, self._root(event)]
        if event.what is What.NODE_STARTED:
            name, _, life = event.node.rpartition(".")
            before_that = self._ends.get(f"{name}.{int(life) - 1}")
            yield from () if before_that is None else (before_that,)

    def _takeover(self, former: str, now: str) -> Iterable[int]:
        if former != now and "client" not in (former, now):
            yield from (found[node] for found, node in ((self._ends, former), (self._starts, now)) if node in found)

    def _enter(self, event: Event) -> None:
        if event.what is What.STORED:
            self._roots[event.task] = self._roots.get(event.about, event.about or event.task)
        if event.task and event.what is not What.TOLD:
            self._by_task[event.task].append(event.number)
        if event.commit:
            self._commits[event.commit, self._root(event)].append(event.number)
        if event.what in _ENDS_OF_LIVES:
            self._ends[event.node] = event.number
        if event.what is What.NODE_STARTED:
            self._starts[event.node] = event.number

    def _root(self, event: Event) -> str:
        return self._roots.get(event.task) or self._roots.get(event.about) or event.about or event.task

    def lasts(self, tasks: set[str]) -> Iterable[int]:
        """The last events of some tasks, and the last states of the workflows that they belong to."""
        yield from (self._by_task[task][-1] for task in tasks if task in self._by_task)
        roots = {self._roots.get(task, task) for task in tasks}
        moves = {event.task: event.number for event in self._history.of(What.WORKFLOW)}
        yield from (moves[root] for root in roots if root in moves)

    def closure(self, numbers: list[int]) -> set[int]:
        """These, their causes, the causes of those, and so on."""
        found, left = set[int](), numbers
        while left:
            number = left.pop()
            if number not in found:
                found.add(number)
                left.extend(self._of[number])
        return found

    def faults(self, past: set[int]) -> set[int]:
        """What went wrong on a node before something of the past happened there."""
        latest: dict[str, int] = {}
        for number in past:
            node = self._history[number].node
            latest[node] = max(latest.get(node, 0), number)
        return {
            event.number for event in self._history if event.what in FAULTS and event.number < latest.get(event.node, 0)
        }

    def starts(self, past: set[int]) -> set[int]:
        """Where the nodes of the past began."""
        nodes = {self._history[number].node for number in past}
        return {self._starts[node] for node in nodes & self._starts.keys()}
