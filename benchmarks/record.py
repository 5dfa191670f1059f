"""What one run of the benchmarks has found: on which machine, and each repetition of each case. Kept as JSON."""

from __future__ import annotations

import json
import pathlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from benchmarks import machine, peers
from benchmarks.figures import Run
from benchmarks.goals import GOALS
from benchmarks.questions import QUESTIONS
from benchmarks.report import sections


@dataclass
class Record:
    """The figures of one run.

    Attributes:
        about: The machine, the versions, when, and with how many tasks and repetitions.
        results: The repetitions of each case, by its name.
    """

    about: dict[str, Any]
    results: dict[str, list[Run]] = field(default_factory=dict)

    @classmethod
    def begun(cls, tasks: int, repeat: int) -> Self:
        """Of a run that begins now on this machine."""
        day = datetime.now(UTC).date().isoformat()
        return cls({"day": day, "tasks": tasks, "repeat": repeat, **machine.description(), "peers": peers.versions()})

    @classmethod
    def read(cls, file: pathlib.Path) -> Self:
        """Of a run that was written."""
        written = json.loads(file.read_text())
        results = {name: [Run.from_json(run) for run in runs] for name, runs in written["results"].items()}
        return cls(written["about"], results)

    def write(self, file: pathlib.Path) -> None:
        """Write it, and its tables beside it."""
        results = {name: [run.as_json() for run in runs] for name, runs in self.results.items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"about": self.about, "results": results}, indent=1, ensure_ascii=False) + "\n")
        file.with_suffix(".md").write_text(self.markdown())

    def markdown(self) -> str:
        """The machine, and all tables."""
        parts = [self.introduction(), *sections(QUESTIONS.values(), GOALS, self.results)]
        return "\n\n".join(parts) + "\n"

    def introduction(self) -> str:
        """On what, with what, and how it was measured."""
        about = self.about
        versions = ", ".join(f"{name} {version}" for name, version in about["peers"].items())
        return (
            f"{about['day']}; {about['cores']} cores ({about['processor']}), {about['memory']}, {about['system']}, "
            f"{about['python']}, SQLite {about['sqlite']}; {versions}. {about['tasks']:,} tasks, or the share of them "
            f"that a case takes; medians of {about['repeat']} repetitions (least-greatest), each in a fresh process, "
            "by turns. Repetitions during which other processes used half a core or more are counted under *busy*, "
            "and left out if there are others."
        )
