"""Who takes over what a dead node left behind: one pure decision, the same for every storage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from everact.storage.protocol import Adoption

Pair = tuple[int, str]
"""A dead incarnation and one task type: what is adopted as one piece."""


class Group(NamedTuple):
    """Unfinished rows of one owner and type; those on disk as RUNNING are counted apart from those that wait."""

    owner: int
    type: str
    running: bool
    rows: int


class Plan(NamedTuple):
    """What one adoption pass does.

    Attributes:
        pairs: What this node takes over now, that it did not have before.
        interrupted: Those of `pairs` that have RUNNING rows.
        adoption: What there is to tell about it.
        owners: Incarnations that still own unfinished rows after the pass.
    """

    pairs: set[Pair]
    interrupted: set[Pair]
    adoption: Adoption
    owners: set[int]


def plan_adoption(
    groups: Iterable[Group],
    *,
    me: int,
    types: Collection[str],
    adopters: Mapping[Pair, int],
    alive: Callable[[int], bool],
) -> Plan:
    """Decide which groups this node takes over.

    A pair is free when its incarnation is dead and it has no adopter, or one that is dead too; that makes
    adoption transitive over any number of dead generations. What this node has adopted before is not
    counted a second time.

    Args:
        groups: All unfinished rows of the storage, grouped.
        me: This node's incarnation.
        types: What it handles.
        adopters: Who has adopted which pair so far.
        alive: Tells whether an incarnation lives.
    """
    plan = Plan(set(), set(), Adoption(waiting={}, interrupted=0, unhandled={}), set())
    for group in groups:
        pair = (group.owner, group.type)
        adopter = adopters.get(pair)
        free = not alive(group.owner) and (adopter is None or (adopter != me and not alive(adopter)))
        if free and group.type in types:
            _take(plan, pair, group)
        elif free:
            unhandled = plan.adoption.unhandled
            unhandled[group.type] = unhandled.get(group.type, 0) + group.rows
        if not (free and group.type in types and group.running):
            plan.owners.add(group.owner)
    return plan


def _take(plan: Plan, pair: Pair, group: Group) -> None:
    plan.pairs.add(pair)
    waiting = plan.adoption.waiting
    waiting[group.type] = waiting.get(group.type, 0) + group.rows
    if group.running:
        plan.interrupted.add(pair)
        plan.adoption.interrupted += group.rows
