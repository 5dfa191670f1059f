"""Memory and SQLite answer alike, whatever a journal asks of them and however often it starts again."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from everact.storage import statements
from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Batch, CancelRequest, Claim, Outcome, Selection, Storage
from everact.storage.sqlite import SqliteStorage
from everact.tasks.record import HistoryRow, Record
from everact.tasks.status import CANCELLED, COMPLETED, QUEUED, RUNNING, SCHEDULED

NOW = 1_700_000_000_000_000
TYPES = ("a", "b")
IDS = [bytes([number]) * 16 for number in range(12)]
SEQS = st.integers(1, 12)


def draft(number: int, due: int, status: int, priority: int) -> Record:
    """Make a record; an id stands for one task, so it decides the type, the key, and whether it is born finished."""
    return Record(
        id=IDS[number],
        type=TYPES[number % 2],
        payload=b"{}",
        due=due,
        created=NOW,
        status=CANCELLED if number == 7 else status,
        priority=priority,
        key=(None, "k", "l")[number % 3],
        tags=("t",) * (number % 4 == 0),
    )


# Small ranges, so that rows meet: ids, keys, attempts, owners.
draft_records = st.builds(
    draft,
    number=st.integers(0, len(IDS) - 1),
    due=st.integers(NOW, NOW + 2),
    status=st.sampled_from([QUEUED, QUEUED, SCHEDULED, RUNNING]),
    priority=st.integers(-1, 1),
)
history_rows = st.builds(
    HistoryRow,
    task=st.sampled_from(IDS),
    at=st.integers(NOW, NOW + 3),
    event=st.sampled_from(["retry", "requeued"]),
)
attempts = st.sampled_from([0, 0, 0, 1, 2])
owners = st.sampled_from([1, 1, 1, 2, 3])
outcomes = st.builds(
    Outcome,
    id=st.sampled_from(IDS),
    seq=SEQS,
    owner=owners,
    expected=attempts,
    status=st.sampled_from([COMPLETED, CANCELLED, SCHEDULED, QUEUED]),
    attempt=st.integers(0, 3),
    due=st.integers(NOW, NOW + 2),
    finished=st.sampled_from([None, NOW + 1]),
    follow_ups=st.just(()) | st.lists(draft_records, max_size=2),
    history=st.none() | history_rows,
)
bare_outcomes = st.builds(
    Outcome,
    id=st.sampled_from(IDS),
    seq=SEQS,
    owner=owners,
    expected=attempts,
    status=st.sampled_from([COMPLETED, SCHEDULED]),
    attempt=st.integers(1, 3),
    due=st.just(NOW),
)
requests = st.builds(CancelRequest, id=st.sampled_from(IDS), seq=SEQS, reason=st.just("user"), at=st.just(NOW))
claims = st.builds(Claim, seq=SEQS, owner=owners, expected=attempts)
batches = (
    st.builds(
        Batch,
        now=st.just(NOW),
        outcomes=st.lists(outcomes, max_size=3),
        inserts=st.lists(draft_records, max_size=4),
        cancels=st.lists(outcomes, max_size=2),
        requests=st.lists(requests, max_size=2),
        claims=st.lists(claims, max_size=3),
        history=st.lists(history_rows, max_size=2),
    )
    | st.builds(Batch, now=st.just(NOW), inserts=st.lists(draft_records, min_size=1, max_size=6))
    | st.builds(Batch, now=st.just(NOW), outcomes=st.lists(bare_outcomes, min_size=1, max_size=4))
)


@dataclass
class Restart:
    clean: bool
    types: Sequence[str]


@dataclass
class SendAgain:
    """The inserts of an earlier batch once more, with the ids and numbers they had."""

    which: int


steps = st.lists(
    batches
    | batches
    | st.builds(Restart, st.booleans(), st.lists(st.sampled_from(TYPES), unique=True))
    | st.builds(SendAgain, st.integers(0, 3)),
    max_size=8,
)


@dataclass
class Pair:
    """Both storages, given the same; the numbers that a journal gives are given here."""

    path: Path
    memory: MemoryStorage = field(default_factory=MemoryStorage)
    sent: list[list[Record]] = field(default_factory=list)
    last_seq: int = 0
    me: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.sqlite = SqliteStorage(self.path, "process")
        self.me = self.memory.open(NOW)
        assert self.sqlite.open(NOW) == self.me

    def both(self) -> tuple[Storage, Storage]:
        return self.memory, self.sqlite

    def commit(self, batch: Batch) -> None:
        for ended in (batch.outcomes, batch.cancels):
            for outcome in ended:
                self.number(outcome.follow_ups)
        self.number(batch.inserts)
        self.sent.append(copy.deepcopy(batch.inserts))
        answers = [storage.commit(copy.deepcopy(batch)) for storage in self.both()]
        assert answers[0] == answers[1]

    def number(self, records: Sequence[Record]) -> None:
        for record in records:
            self.last_seq += 1
            record.seq, record.owner = self.last_seq, self.me

    def restart(self, step: Restart) -> None:
        for storage in self.both():
            storage.close() if step.clean else storage.abandon()
        self.start()
        assert self.memory.adopt(step.types, NOW) == self.sqlite.adopt(step.types, NOW)

    def send_again(self, step: SendAgain) -> None:
        if step.which < len(self.sent):
            batch = Batch(NOW, inserts=self.sent[step.which])
            answers = [storage.commit(copy.deepcopy(batch)) for storage in self.both()]
            assert answers[0] == answers[1]

    def compare(self) -> None:
        everything = Selection(limit=1000)
        assert self.memory.select(everything) == self.sqlite.select(everything)
        for types in (["a"], ["b", "a"]):
            pages = [(s.ready(types, NOW + 1, (), 5), s.scheduled(types, NOW, (), 5)) for s in self.both()]
            assert pages[0] == pages[1]
            assert self.memory.retrying(types) == self.sqlite.retrying(types)
        assert self.memory.counts(NOW) == self.sqlite.counts(NOW)
        for id_ in IDS:
            assert self.memory.history(id_) == self.sqlite.history(id_)


def play(drawn: Sequence[Batch | Restart | SendAgain]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder, "t.db"))
        for step in drawn:
            if isinstance(step, Batch):
                pair.commit(step)
            elif isinstance(step, Restart):
                pair.restart(step)
            else:
                pair.send_again(step)
            pair.compare()
        pair.sqlite.close()


@settings(max_examples=80, deadline=None)
@given(drawn=steps)
def test_memory_and_sqlite_answer_alike(drawn: Sequence[Batch | Restart | SendAgain]) -> None:
    play(drawn)


@settings(max_examples=40, deadline=None)
@given(drawn=steps)
@example(  # who has it open last knows nothing of the clock that the one before had seen
    drawn=[
        Batch(NOW, inserts=[draft(1, NOW + 2, QUEUED, 0)]),
        Restart(clean=False, types=["a", "b"]),
        Restart(clean=False, types=[]),
        Batch(NOW, inserts=[draft(0, NOW + 2, QUEUED, 0)]),
    ]
)
def test_they_answer_alike_also_where_chunks_end(drawn: Sequence[Batch | Restart | SendAgain]) -> None:
    usual, statements.ROWS = statements.ROWS, 2
    try:
        play(drawn)
    finally:
        statements.ROWS = usual
