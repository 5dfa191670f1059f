"""One case in this process: `python -m benchmarks.child PROGRAM FUNCTION COUNT ARGUMENTS` prints its figures."""

from __future__ import annotations

import importlib
import json
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.figures import Figures


def run(program: str, function: str, count: int, arguments: Mapping[str, Any]) -> Figures:
    """Call it, and add what the process had of memory at the most."""
    figures: Figures = getattr(importlib.import_module(f"benchmarks.{program}"), function)(count, **arguments)
    peak = re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())
    return figures if peak is None else figures | {"RSS MB": int(peak[1]) / 1000}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))))
