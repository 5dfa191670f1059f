"""What a page says that comes out comes out: commands of the docs are run, and what they print is put into the page.

    python -m tests.docs.programs.printed docs/test-your-workflow.md

A page says so in comments, each right before a block:

    <!-- file: test_shop.py -->      the block is that file
    <!-- more of: test_shop.py -->   the block is added to that file
    <!-- patch: test_shop.py -->     the block is a diff of it
    <!-- printed by: pytest -qq -->  the block is what the command prints
    <!-- written: *.mmd -->          the block is the file of this name that a command has written
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(
    r"^<!-- (?P<kind>file|more of|patch|printed by|written): (?P<what>[^\n]+) -->\n"
    r"```(?P<language>[^\n]+)\n(?P<text>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)


def rewritten(page: str, folder: Path) -> str:
    """The page with what comes out of its commands when they are run, one after the other, in an empty folder."""

    def block(found: re.Match[str]) -> str:
        text = _text(found["kind"], found["what"], found["text"], folder)
        return f"<!-- {found['kind']}: {found['what']} -->\n```{found['language']}\n{text}```\n"

    return BLOCK.sub(block, page)


def _text(kind: str, what: str, text: str, folder: Path) -> str:
    if kind == "file":
        (folder / what).write_text(text, encoding="utf-8")
    elif kind == "more of":
        with (folder / what).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{text}")
    elif kind == "patch":
        before = (folder / what).read_text(encoding="utf-8")
        (folder / what).write_text(patched(before, text), encoding="utf-8")
    elif kind == "printed by":
        return "\n".join(line.rstrip() for line in _printed(what, folder)) + "\n"
    else:
        (written,) = folder.rglob(what)
        return written.read_text(encoding="utf-8")
    return text


def patched(text: str, diff: str) -> str:
    """Apply a diff without line numbers; an empty line is between two places.

    Raises:
        ValueError: What it is to change is not there, or not once.
    """
    for part in diff.rstrip("\n").split("\n\n"):
        lines = part.splitlines()
        old, new = ("".join(f"{line[1:]}\n" for line in lines if not line.startswith(other)) for other in ("+", "-"))
        if text.count(old) != 1:
            msg = f"found {text.count(old)} times, not once:\n{old}"
            raise ValueError(msg)
        text = text.replace(old, new)
    return text


def _printed(command: str, folder: Path) -> Iterator[str]:
    """Run it as somebody does who has installed pytest and everact, and nothing else."""
    name, *words = shlex.split(command)
    assert name == "pytest", "no other commands are known"
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "CI", "BUILD_NUMBER"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_everact", *words],
        cwd=folder,
        env=clean | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "80", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    yield from done.stdout.rstrip("\n").splitlines()


def main() -> None:
    for name in sys.argv[1:]:
        page = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(rewritten(page.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
