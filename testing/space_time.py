"""A space-time table: time goes down, each node and each handler has a column, a line is what happened at a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from everact.testing.history import Event, History, What
from everact.testing.past import FAULTS

MOST_LANES = 9
"""With more, handlers have no columns of their own."""
HAPPENS, GOES_WRONG, SHOWS, ALIVE = "●", "×", "◆", "│"
_BY_HANDLERS = frozenset(
    {
        *(What.STARTED, What.RETURNED, What.RAISED, What.WANTED, What.HOOK, What.HOOK_RAISED),
        *(What.UNDO_STARTED, What.UNDONE, What.UNDO_RAISED),
    }
)


class Lanes:
    """The columns, and which event is in which.

    Example:
        >>> events = [Event(0, 1, 0.0, "node-1.1", What.STARTED, "Charge#1")]
        >>> Lanes(events).names
        ['node-1', 'Charge']
    """

    def __init__(self, events: Sequence[Event]) -> None:
        nodes = sorted({event.node.partition(".")[0] for event in events} - {"client"})
        self._alone = len(nodes) == 1
        handlers = {self._handler(event): self._node(event) for event in events if event.what in _BY_HANDLERS}
        self._by_handler = len(nodes) + len(handlers) < MOST_LANES
        self.names = ["client"] if any(event.node == "client" for event in events) else []
        for node in nodes:
            self.names.append(node)
            if self._by_handler:
                self.names += [name for name, where in handlers.items() if where == node]

    @staticmethod
    def _node(event: Event) -> str:
        return event.node.partition(".")[0]

    def _handler(self, event: Event) -> str:
        """Whose code runs: a hook's and a follow-up's is that of the task that it belongs to."""
        task = event.about if event.what is What.WANTED else event.task
        kind = task.rpartition("#")[0]
        return kind if self._alone else f"{kind}@{self._node(event).removeprefix('node-')}"

    def of(self, event: Event) -> str:
        """The column of an event."""
        return self._handler(event) if self._by_handler and event.what in _BY_HANDLERS else self._node(event)

    def on(self, node: str) -> set[str]:
        """All columns of a node."""
        number = node.removeprefix("node-")
        return {name for name in self.names if name == node or name.endswith(f"@{number}")} | (
            set(self.names) - {"client"} if self._alone else set()
        )


def told(event: Event) -> str:
    """What happened, with the commit that it came with.

    Example:
        >>> told(Event(0, 1, 0.0, "node-1.1", What.STORED, "Charge#1", commit=3))
        'commit 3: stored Charge#1'
    """
    text = " ".join(event.text.replace(" : ", ": ").split())
    return f"commit {event.commit}: {text}" if event.commit else text


def table(history: History, past: Sequence[Event], shows: int = -1) -> str:
    """The past as a table; what else happened is folded.

    Args:
        history: All that happened.
        past: What is shown of it, in order.
        shows: The number of the event at which something is seen to be wrong.
    """
    lanes = Lanes(past)
    lines = [f"{'step':>7}{'time':>11}  {'  '.join(lanes.names)}"]
    dead: set[str] = set()
    before: Event | None = None
    for event in past:
        lines += _fold(history, before, event)
        _bury(dead, lanes, event)
        marks = [_mark(name, lanes.of(event), event, shows, dead).center(len(name)) for name in lanes.names]
        again = before is not None and before.step == event.step
        when = " " * 18 if again else f"{event.step:>7}{event.time:>11.3f}"
        note = "   <- here it shows" if event.number == shows else ""
        lines.append(f"{when}  {'  '.join(marks)}  {told(event)}{note}")
        before = event
    return "\n".join([*lines, *_fold(history, before, None)])


def _bury(dead: set[str], lanes: Lanes, event: Event) -> None:
    """Keep the columns in which nobody lives."""
    columns = lanes.on(event.node.partition(".")[0])
    if event.what is What.NODE_STARTED:
        dead -= columns
    elif event.what in (What.CRASHED, What.NODE_STOPPED):
        dead |= columns


def _mark(name: str, lane: str, event: Event, shows: int, dead: set[str]) -> str:
    if name == lane:
        return SHOWS if event.number == shows else GOES_WRONG if event.what in FAULTS else HAPPENS
    return " " if name in dead else ALIVE


def _fold(history: History, before: Event | None, event: Event | None) -> Iterator[str]:
    """Say how many steps are left out between two events; that subscribers are told of an event is none of its own."""
    first = 0 if before is None else before.number + 1
    last = len(history) if event is None else event.number
    seen = {each.step for each in (before, event) if each is not None}
    between = (history[number] for number in range(first, last))
    count = len({each.step for each in between if each.what is not What.TOLD} - seen)
    if count:
        yield f"{'':18}  (+{count} unrelated step{'s' if count > 1 else ''})"
