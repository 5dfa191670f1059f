"""Every crash point of every script, or a share of them that a seed has drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from orders.bugs import Bug
from orders.life import Death
from orders.run import Played, play
from orders.script import Script, every_script

LIKELY_COMMITS = 12
"""A second death is drawn among the first so many commits."""


@dataclass
class Findings:
    """What was played, and what was wrong."""

    scripts: set[Script] = field(default_factory=set)
    runs: int = 0
    kills: int = 0
    points: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, script: Script, played: Played) -> None:
        """Count one run."""
        self.scripts.add(script)
        self.runs += 1
        self.kills += played.killed
        self.points += played.killed > 0
        self.faults += played.faults


def at_every_commit(script: Script, bug: Bug | None = None) -> Iterator[Played]:
    """Play a script without a death, then killed before and after each of its commits, until there are no more."""
    yield play(script, bug=bug)
    commit, reached = 0, True
    while reached:
        commit += 1
        for after in (False, True):
            played = play(script, [Death(commit, after)], bug)
            reached = played.killed > 0
            if reached:
                yield played


def twice(script: Script, chance: Random) -> Played:
    """Play it with a death, and with another one in the process that takes over."""
    return play(script, [Death(chance.randint(1, LIKELY_COMMITS), chance.random() < 0.5) for _ in range(2)])


def everything(scripts: Iterable[Script], findings: Findings, seed: int) -> Iterator[Script]:
    """Each script at every commit, and killed twice as well; yields each script once it is done."""
    for script in scripts:
        for played in at_every_commit(script):
            findings.add(script, played)
        chance = Random(f"{seed}/{script}")
        for _ in range(3):
            findings.add(script, twice(script, chance))
        yield script


def a_share(part: int, seed: int, half: int | None = None) -> list[Script]:
    """One script in so many, drawn anew by each seed, and always some of each form, or a half of that."""
    scripts = list(every_script())
    forms = {form: [script for script in scripts if script.form == form] for form in {s.form for s in scripts}}
    chance = Random(seed)
    drawn = {form: chance.sample(forms[form], -(-len(forms[form]) // part)) for form in sorted(forms)}
    return [script for mine in drawn.values() for script in (mine if half is None else mine[half::2])]
