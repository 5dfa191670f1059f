"""`python -m power [VARIANT ...] [--images N] [--seed N] [--jobs N] [--json]`: record, cut, report."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from power import recording as rec
from power.disk import Disk
from power.figures import examine
from power.workload import VARIANTS


def report(variant: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Record one variant and cut it; returns the figures by name."""
    recording = rec.record(variant, folder)
    began = time.monotonic()
    figures = examine(recording, options.images, options.seed, options.jobs)
    calls = Counter((operation.kind, operation.file) for operation in recording)
    return {
        "variant": variant,
        "operations": len(recording),
        "checkpoints": calls[rec.SYNC, rec.DATABASE],
        "promises": calls[rec.WRITE, rec.LEDGER],
        "images": figures.images,
        "restarted": figures.restarted,
        "seconds": round(time.monotonic() - began, 1),
        "faults": dict(figures.faults),
        "first": figures.first,
        "faithful": faithful(recording, folder / "disk"),
    }


def faithful(recording: list[rec.Operation], folder: Path) -> bool:
    """Whether the whole recording, with nothing lost, makes the very files that the workload left behind."""
    disk = Disk()
    for operation in recording:
        disk.apply(operation)
    left = {name: folder / name for name in rec.NAMES.values() if (folder / name).exists()}
    return disk.cut("everything", Random(0)) == {name: path.read_bytes() for name, path in left.items()}


def show(figures: dict[str, Any]) -> None:
    """Print what a person reads."""
    rate = figures["images"] / max(figures["seconds"], 0.1)
    print(
        f"{figures['variant']}: {VARIANTS[figures['variant']]}\n"
        f"  {figures['operations']} operations, {figures['checkpoints']} syncs of the main file, "
        f"{figures['promises']} lines of promises; "
        f"replayed to the end it makes the workload's files: {'yes' if figures['faithful'] else 'NO'}\n"
        f"  {figures['images']} images in {figures['seconds']} s, {rate:.0f}/s, everact started on "
        f"{figures['restarted']}\n"
        f"  images with a fault: {figures['faults'] or 'none'}"
        f"{figures['first'] and ', the first: ' + figures['first']}",
        flush=True,
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m power")
    parser.add_argument("variants", nargs="*", default=list(VARIANTS), metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for variant in options.variants:
        with tempfile.TemporaryDirectory() as folder:
            figures = report(variant, Path(folder), options)
        print(json.dumps(figures), flush=True) if options.json else show(figures)


if __name__ == "__main__":
    main()
