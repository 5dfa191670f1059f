"""A history as a sequence diagram in the language of Mermaid, which GitHub, GitLab and many editors draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from everact.testing.history import Event, What
from everact.testing.past import FAULTS
from everact.testing.space_time import Lanes, told

_TO_NODE = frozenset({What.DISPATCHED, What.CANCEL_ASKED})
_TO_CLIENT = frozenset({What.ACKNOWLEDGED, What.CANCEL_ANSWERED, What.REFUSED})
_LOST = frozenset({What.UNKNOWN})
_CALLS = frozenset({What.STARTED, What.UNDO_STARTED, What.HOOK})
_COMES_BACK = frozenset({What.RETURNED, What.RAISED, What.UNDONE, What.UNDO_RAISED, What.HOOK_RAISED})
_NAMED = str.maketrans({"#": "#35;", ";": "#59;"})
_WORDS = frozenset(
    (
        *("accdescr", "acctitle", "activate", "actor", "alt", "and", "as", "autonumber", "box", "break", "create"),
        *("critical", "deactivate", "destroy", "details", "else", "end", "left", "link", "links", "loop", "note"),
        *("off", "opt", "option", "over", "par", "par_over", "participant", "properties", "rect", "right"),
        *("sequencediagram", "title"),
    )
)
"""No participant may be called that, in any case."""
_FAULT_COLOUR = "rgb(255, 215, 215)"
_SHOWN_COLOUR = "rgb(255, 240, 190)"


def diagram(past: Sequence[Event], title: str = "", shows: int = -1) -> str:
    """Draw some events.

    Args:
        past: Which, in order.
        title: What it shows.
        shows: The number of the event at which something is seen to be wrong; it is coloured, as faults are.

    Example:
        >>> print(diagram([Event(0, 1, 0.0, "node-1.1", What.STARTED, "Charge#1", 1)]))
        sequenceDiagram
            participant node_1 as node-1
            participant Charge as Charge
            node_1->>Charge: started Charge#35;1 (attempt 1)
    """
    lanes = Lanes(past)
    ids = _ids(lanes.names)
    lines = ["sequenceDiagram", *([f"    title {_safe(title)}"] if title else [])]
    lines += [f"    participant {word} as {_safe(name)}" for name, word in ids.items()]
    for event in past:
        colour = _SHOWN_COLOUR if event.number == shows else _FAULT_COLOUR if event.what in FAULTS else ""
        line = f"{_arrow(event, lanes, ids, past)}: {_safe(told(event))}"
        lines += [f"    rect {colour}", f"        {line}", "    end"] if colour else [f"    {line}"]
    return "\n".join(lines)


def _arrow(event: Event, lanes: Lanes, ids: Mapping[str, str], past: Sequence[Event]) -> str:
    lane, node = ids[lanes.of(event)], ids[event.node.partition(".")[0]]
    if event.node == "client":
        other = next((ids[name] for name in _nodes(event, past)), None)
        if other is not None:
            if event.what in _TO_NODE:
                return f"{node}->>{other}"
            if event.what in _TO_CLIENT:
                return f"{other}-->>{node}"
            if event.what in _LOST:
                return f"{other}--x{node}"
    elif lane != node:
        if event.what in _CALLS:
            return f"{node}->>{lane}"
        if event.what in _COMES_BACK:
            return f"{lane}-->>{node}"
    return f"Note over {lane}"


def _nodes(event: Event, past: Sequence[Event]) -> Iterator[str]:
    """The node that a client's call went to: where the task is heard of next, or was heard of last."""
    same = [each for each in past if each.task == event.task and each.node != "client"]
    later = [each for each in same if each.number > event.number]
    before = [each for each in reversed(same) if each.number < event.number]
    order = later + before if event.what in _TO_NODE else before + later
    yield from (each.node.partition(".")[0] for each in order)


def _safe(text: str) -> str:
    """Without what has a meaning in the language: `#` begins a character's name, `;` ends a line."""
    return " ".join(text.translate(_NAMED).split())


def _ids(names: Sequence[str]) -> dict[str, str]:
    """Names without the characters that arrows are made of, none of them a word of the language, none there twice.

    Example:
        >>> _ids(["node-1", "Note", "a-b", "a_b"])
        {'node-1': 'node_1', 'Note': 'Note_', 'a-b': 'a_b', 'a_b': 'a_b_'}
    """
    found: dict[str, str] = {}
    for name in names:
        word = "".join(character if character.isalnum() else "_" for character in name)
        while word.lower() in _WORDS or word in found.values():
            word += "_"
        found[name] = word
    return found
