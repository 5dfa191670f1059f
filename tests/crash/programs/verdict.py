"""What the ledger and the records together say: one pure decision."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

from chores import right_end, right_steps
from everact import TaskStatus
from ledger import Acknowledged, Born, CancelAnswered, CancelIntended, Complained, Intended, Line, Started
from rows import Row

SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Sentences about what is wrong, by its class, and counts of what a kill may do.

    Attributes:
        lost: Acknowledged, and no record is there or it has not ended; a continuation that its parent lacks.
        unexpected: Records that nobody intended, and continuations whose parent did not end that way.
        duplicated: Several records for one intent, or for one continuation.
        wrong: Ended as its handler does not end.
        torn: A part of what was dispatched in one call.
        disobeyed: Started after a cancel was answered "cancelled", or not cancelled in the end.
        complaints: Calls that raised.
        lives: Processes that were killed.
        records: In the database, continuations included.
        acknowledged: Tasks that a dispatch has returned.
        recovered: Of these, how many a later process finished than the one that acknowledged them.
        unacknowledged: Records of calls that did not return.
        absent: Tasks of calls that did not return, which left nothing.
        repeated: Attempts that were begun more than once; at least once is what is promised.
        cancelled: Cancels that were answered "cancelled".
    """

    lost: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()
    disobeyed: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    lives: int = 0
    records: int = 0
    acknowledged: int = 0
    recovered: int = 0
    unacknowledged: int = 0
    absent: int = 0
    repeated: int = 0
    cancelled: int = 0

    @property
    def wrongs(self) -> dict[str, tuple[str, ...]]:
        """The classes of which there must be none."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, tuple)}

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.wrongs.values())

    def __str__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        counts = {name: len(value) if isinstance(value, tuple) else value for name, value in values.items()}
        lines = [", ".join(f"{name} {count:,}" for name, count in counts.items())]
        for name, sentences in self.wrongs.items():
            lines += [f"  {name}: {sentence}" for sentence in sentences[:SHOWN]]
        return "\n".join(lines)


def classify(lines: Sequence[Line], rows: Sequence[Row]) -> Verdict:
    """Compare what was promised with what is there, after everything had time to end.

    Args:
        lines: The ledger, in the order in which it was written.
        rows: All records.
    """
    by_id = {row.id: row for row in rows}
    intents = [line.names for line in lines if isinstance(line, Intended)]
    intended = {name for names in intents for name in names}
    answers = [line for line in lines if isinstance(line, CancelAnswered) and line.outcome == "cancelled"]
    starts = [line for line in lines if isinstance(line, Started)]
    roots = [row for row in rows if row.parent is None]
    promised = dict(_promised(lines))
    present = {row.name for row in roots}
    return Verdict(
        lost=(*_lost(lines, by_id), *_lost_steps(rows), *_unended(rows)),
        unexpected=(*_unintended(roots, intended), *_orphans(rows, by_id)),
        duplicated=tuple(f"{name} has {n} records" for name, n in Counter(row.name for row in rows).items() if n > 1),
        wrong=tuple(_wrong(rows, {line.id for line in lines if isinstance(line, CancelIntended)})),
        torn=tuple(f"of {names} only a part is there" for names in intents if 0 < len(present & {*names}) < len(names)),
        disobeyed=tuple(_disobeyed(lines, by_id)),
        complaints=tuple(line.text for line in lines if isinstance(line, Complained)),
        lives=sum(isinstance(line, Born) and line.doomed for line in lines),
        records=len(rows),
        acknowledged=len(promised),
        recovered=_recovered(lines, starts, by_id),
        unacknowledged=len((present & intended) - promised.keys()),
        absent=len(intended - present - promised.keys()),
        repeated=sum(n > 1 for n in Counter((line.id, line.attempt) for line in starts).values()),
        cancelled=len(answers),
    )


def _promised(lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    """Name and id of each task that a dispatch has returned."""
    for line in lines:
        if isinstance(line, Acknowledged):
            yield from zip(line.names, line.ids, strict=True)


def _lost(lines: Sequence[Line], by_id: dict[str, Row]) -> Iterator[str]:
    for name, id_ in dict.fromkeys(_promised(lines)):
        row = by_id.get(id_)
        if row is None:
            yield f"{name} was acknowledged as {id_}, of which there is no record"
        elif row.name != name and row.key is None:  # the holder of its key may stand for it
            yield f"{name} was acknowledged as {id_}, which is {row.name}"


def _unended(rows: Iterable[Row]) -> Iterator[str]:
    return (f"{row.name} is still {row.status}" for row in rows if not row.status.terminal)


def _lost_steps(rows: Iterable[Row]) -> Iterator[str]:
    children = _children(rows)
    for row in rows:
        for name in sorted(right_steps(row.kind, row.status, row.payload) - children[row.id]):
            yield f"{name} is missing, though its parent is {row.status}"


def _children(rows: Iterable[Row]) -> defaultdict[str | None, set[str]]:
    children: defaultdict[str | None, set[str]] = defaultdict(set)
    for row in rows:
        children[row.parent].add(row.name)
    return children


def _unintended(roots: Iterable[Row], intended: set[str]) -> Iterator[str]:
    return (f"{row.name} is there and was never intended" for row in roots if row.name not in intended)


def _orphans(rows: Iterable[Row], by_id: dict[str, Row]) -> Iterator[str]:
    for row in rows:
        parent = by_id.get(row.parent or "")
        if row.parent is not None and parent is None:
            yield f"{row.name} is there without its parent"
        elif parent is not None and row.name not in right_steps(parent.kind, parent.status, parent.payload):
            yield f"{row.name} is there, though its parent is {parent.status}"


def _wrong(rows: Iterable[Row], recalled: set[str]) -> Iterator[str]:
    for row in rows:
        cancelled = row.status is TaskStatus.CANCELLED and row.id in recalled
        if row.status.terminal and not cancelled and row.status is not right_end(row.kind, row.payload):
            yield f"{row.name} ended {row.status}"


def _disobeyed(lines: Iterable[Line], by_id: dict[str, Row]) -> Iterator[str]:
    recalled: set[str] = set()
    for line in lines:
        if isinstance(line, CancelAnswered) and line.outcome == "cancelled":
            recalled.add(line.id)
        elif isinstance(line, Started) and line.id in recalled:
            yield f"{line.id} was started after its cancel was acknowledged"
    for id_ in recalled:
        if id_ in by_id and by_id[id_].status is not TaskStatus.CANCELLED:
            yield f"{id_} is {by_id[id_].status} though its cancel was acknowledged"


def _recovered(lines: Iterable[Line], starts: Iterable[Started], by_id: dict[str, Row]) -> int:
    acknowledged_in = {id_: line.life for line in lines if isinstance(line, Acknowledged) for id_ in line.ids}
    finished_in = {line.id: line.life for line in starts if line.id in by_id and by_id[line.id].status.terminal}
    return sum(finished_in.get(id_, 0) > life for id_, life in acknowledged_in.items())
