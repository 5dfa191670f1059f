"""Cuts one recording at many places, and counts what is wrong afterwards."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from power.disk import KEPT, Disk
from power.ledger import Promises
from power.recording import LEDGER, WRITE, Operation
from power.verdict import DAMAGED, faults, faults_after_restart

RESTART_EVERY = 25
MEMORY = Path("/dev/shm")


@dataclass
class Figures:
    """What a number of cuts has shown.

    Attributes:
        images: Crash images that were opened.
        restarted: Of these, those on which everact itself was started too.
        faults: In how many images each fault was found.
        first: An image with a fault. The same recording and seed make it again.
    """

    images: int = 0
    restarted: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: str = ""

    def add(self, other: Figures) -> None:
        """Add those of another share."""
        self.images += other.images
        self.restarted += other.restarted
        self.faults += other.faults
        self.first = self.first or other.first


@dataclass(frozen=True)
class Cut:
    """Where the power goes, and what the disk keeps."""

    number: int
    after: int  # place in the recording

    @property
    def kept(self) -> str:
        """What of the writes that were not synced is there."""
        return KEPT[self.number % len(KEPT)]

    @property
    def restarts(self) -> bool:
        """Whether everact is started on this one: that takes many times as long as to look at it."""
        return self.number % RESTART_EVERY == 0


def examine(recording: Sequence[Operation], images: int, seed: int, jobs: int = 1) -> Figures:
    """Cut a recording at `images` places drawn by chance, and judge what is there afterwards."""
    places = sorted(Random(seed).choices(range(len(recording)), k=images))
    cuts = [Cut(number, place) for number, place in enumerate(places)]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        shares = pool.starmap(_examine_share, [(recording, cuts[job::jobs], seed) for job in range(jobs)])
    total = Figures()
    for share in shares:
        total.add(share)
    return total


def _examine_share(recording: Sequence[Operation], cuts: Sequence[Cut], seed: int) -> Figures:
    figures, disk, promises, done = Figures(), Disk(), Promises(), 0
    for cut in cuts:
        for operation in recording[done : cut.after + 1]:
            disk.apply(operation)
            if operation.file == LEDGER and operation.kind == WRITE:
                promises.read(operation.data)
        done = cut.after + 1
        image = disk.cut(cut.kept, Random(f"{seed}/{cut.number}"))
        found = _judge(image, promises, restart=cut.restarts)
        figures.add(Figures(1, int(cut.restarts), Counter(found), f"{cut}: {sorted(found)}" if found else ""))
    return figures


def _judge(image: dict[str, bytes], promises: Promises, *, restart: bool) -> set[str]:
    found = _look(image, promises, faults)
    if restart and DAMAGED not in found:
        found |= _look(image, promises, faults_after_restart)
    return found


def _look(image: dict[str, bytes], promises: Promises, look: Callable[[Path, Promises], set[str]]) -> set[str]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        for name, content in image.items():
            Path(folder, name).write_bytes(content)
        return look(Path(folder), promises)
