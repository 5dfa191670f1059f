"""Lay the source folders out as the installed package, in `build/links/everact`.

The repository keeps `everact.actors` in `actors/`, `everact.tasks` in `tasks/` and so on. Tools that read
files and do not import (type checkers, import-linter, doctest collection) need the folders where the
package has them. This script reads `package_dir` in `setup.cfg` and builds that tree.

Folders are real and files are symbolic links, since pyright does not walk into linked folders: it would
report no errors because it had seen no files.

Run from anywhere: `python tools/link_tree.py`. An earlier tree is replaced.
"""

import configparser
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINKS = Path("build", "links")


def package_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each package that `setup.cfg` places by hand."""
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg", encoding="utf-8")
    lines = config["options"]["package_dir"].strip().splitlines()
    pairs = (line.split("=", maxsplit=1) for line in lines)
    return {package.strip(): root / folder.strip() for package, folder in pairs}


def source_files(folder: Path) -> Iterator[Path]:
    """Yield every file below `folder` that is part of the package, data files included."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file


def link_tree(root: Path = ROOT) -> int:
    """Build the tree below `root`, and return how many files it links."""
    target = root / LINKS
    shutil.rmtree(target, ignore_errors=True)
    linked = 0
    for package, folder in package_folders(root).items():
        for file in source_files(folder):
            link = target.joinpath(*package.split(".")) / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
            linked += 1
    return linked


def main() -> None:
    """Build the tree and say so."""
    print(f"{LINKS}: {link_tree()} files linked")


if __name__ == "__main__":
    main()
