"""One bit of a stored payload flips on the disk: that task is set aside, the others run."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from everact import ActorSystem, TaskContext, TaskHandler, TaskRecord, TaskStatus

WAIT = 60.0
SOUND = 30
LENGTH = len(b'{"text":"000 salt"}')
BITS = LENGTH * 8
holding = threading.Event()
pytestmark = pytest.mark.crash


@dataclass(frozen=True)
class KeepText:
    text: str


class KeepTextHandler(TaskHandler[KeepText]):
    def handle(self, task: KeepText, ctx: TaskContext) -> str:
        if holding.is_set():
            ctx.cancellation.wait(WAIT)
            ctx.cancellation.raise_if_cancelled()
        return task.text


def text(number: int) -> str:
    return f"{number:03} salt"


def payload(number: int) -> bytes:
    return f'{{"text":"{text(number)}"}}'.encode()


def flipped(content: bytes, bit: int) -> bytes:
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed database with queued tasks: of task n bit n has flipped, as long as there are bits."""
    path = tmp_path / "tasks.db"
    holding.set()
    system = ActorSystem(handlers=[KeepTextHandler], storage=f"sqlite:///{path}")
    system.start()
    system.dispatch_many(KeepText(text(number)) for number in range(BITS + SOUND))
    system.stop(timeout=0)
    holding.clear()
    content = path.read_bytes()
    for number in range(BITS):
        assert payload(number) in content
        content = content.replace(payload(number), flipped(payload(number), number))
    path.write_bytes(content)
    return path


def restart(path: Path) -> list[TaskRecord]:
    with ActorSystem(handlers=[KeepTextHandler], storage=f"sqlite:///{path}") as system:
        system.wait_idle(WAIT)
        return system.tasks(limit=BITS + SOUND + 1)


def test_a_flipped_bit_of_a_payload_quarantines_that_task_and_the_others_complete(path: Path) -> None:
    records = restart(path)
    assert len(records) == BITS + SOUND
    assert [record.result for record in records[BITS:]] == [text(number) for number in range(BITS, BITS + SOUND)]
    ran = {
        number: record.result
        for number, record in enumerate(records[:BITS])
        if record.status is not TaskStatus.QUARANTINED
    }
    assert ran == {}
    reasons = {str(record.error and record.error.text) for record in records[:BITS]}
    assert all("checksum" in reason or "damaged" in reason for reason in reasons), reasons


def test_without_checksums_a_flipped_bit_goes_unseen(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE task SET checksum = NULL")  # as in rows that an older version wrote
    unseen = [number for number, record in enumerate(restart(path)[:BITS]) if record.result not in {None, text(number)}]
    assert len(unseen) > BITS / 8
