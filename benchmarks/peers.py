"""The environment of the peers: below `build/`, made on request, with the versions of `peers.txt`."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import venv

REQUIREMENTS = pathlib.Path(__file__).with_name("peers.txt")


def python(folder: pathlib.Path) -> pathlib.Path:
    """The interpreter of the environment."""
    return folder / "bin" / "python"


def ready(folder: pathlib.Path) -> bool:
    """Whether the environment has these very versions."""
    stamp = folder / REQUIREMENTS.name
    return python(folder).exists() and stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text()


def install(folder: pathlib.Path) -> None:
    """Make the environment, with the interpreter that runs this; needs the package index."""
    if ready(folder):
        return
    print(f"installing the peers into {folder}", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    pip = [str(python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
    (folder / REQUIREMENTS.name).write_text(REQUIREMENTS.read_text())


def versions() -> dict[str, str]:
    """What is measured, as it is pinned."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)
