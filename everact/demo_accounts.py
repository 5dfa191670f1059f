"""What the demo has to show for itself: every acknowledged task accounted for, from what is on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from everact import ActorSystem, TaskRecord, TaskStatus
from everact.demo_symbols import SymbolIndex, Totals
from everact.demo_tasks import Report
from everact.demo_worker import DATABASE, INDEX, REFUSED, read_ledger
from everact.storage.sqlite import SqliteStorage
from everact.tasks.task import type_name

PAGE = 1000
ENDED_WELL = (TaskStatus.COMPLETED, TaskStatus.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The numbers at the end of the demo.

    Attributes:
        files: How many there were to index.
        report: What the last stage counted; None if it has not run.
        reports: How often the last stage has run.
        failures: Files that the tasks could not parse.
        refused: Files that `ast.parse` refuses in a plain loop.
        continued: Tasks that ended after the kill.
        lost: Tasks that were acknowledged and have neither completed nor failed.
        seconds: How long it took.
    """

    files: int
    report: Totals | None
    reports: int
    failures: frozenset[str]
    refused: frozenset[str]
    continued: int
    lost: int
    seconds: float

    def problems(self) -> Iterator[str]:
        """Say what is not as it should be."""
        if self.lost:
            yield f"{self.lost} acknowledged task(s) were lost"
        for path in sorted(self.failures ^ self.refused):
            yield f"the tasks and the plain loop do not agree about {path!r}"
        if self.report is None or self.reports != 1:
            yield f"the report was written {self.reports} time(s) instead of once"
        elif self.report.files + self.report.failures != self.files:
            yield f"the report tells of {self.report.files + self.report.failures} of {self.files} files"

    def table(self) -> Iterator[str]:
        """Lay the numbers out, one to a line."""
        plainly = f"ast.parse in a plain loop refuses {len(self.refused)}"
        yield _row("files", self.files)
        yield _row("symbols", self.report.symbols if self.report else 0)
        yield _row("failures", len(self.failures), plainly)
        yield _row("continued after the kill", self.continued, "tasks that the second worker finished")
        yield _row("lost", self.lost, "acknowledged, and neither completed nor failed")
        yield _row("seconds", f"{self.seconds:.1f}")


def _row(name: str, number: object, remark: str = "") -> str:
    return f"  {name:<24} {number:>9}   {remark}".rstrip()


def draw_up(folder: Path, files: int, killed: datetime | None, seconds: float) -> Accounts:
    """Count, from the files in the work directory, once nobody writes to them any more."""
    records = list(all_tasks(folder))
    index = SymbolIndex(folder / INDEX)
    try:
        return Accounts(
            files=files,
            report=index.report(),
            reports=sum(record.type == type_name(Report) for record in records),
            failures=frozenset(index.failures()),
            refused=frozenset(json.loads((folder / REFUSED).read_text(encoding="utf-8"))),
            continued=sum(ended_after(record, killed) for record in records),
            lost=len(lost_tasks(read_ledger(folder), {record.id: record.status for record in records})),
            seconds=seconds,
        )
    finally:
        index.close()


def all_tasks(folder: Path) -> Iterator[TaskRecord]:
    """Read every task, a page at a time. Without handlers this system runs none of them."""
    with ActorSystem("accounts", storage=SqliteStorage(folder / DATABASE)) as system:
        page = system.tasks(limit=PAGE)
        while page:
            yield from page
            page = system.tasks(limit=PAGE, after=page[-1].id)


def ended_after(record: TaskRecord, killed: datetime | None) -> bool:
    """Whether a task has ended since the kill, and so by the hands of the second worker."""
    return killed is not None and record.finished is not None and record.finished > killed


def lost_tasks(ledger: Mapping[UUID, str], statuses: Mapping[UUID, TaskStatus]) -> list[UUID]:
    """Find tasks that were acknowledged, and of which there is no end on record."""
    return [task_id for task_id in ledger if statuses.get(task_id) not in ENDED_WELL]
