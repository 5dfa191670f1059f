"""What is shipped: the wheel has all of the package, and nothing else."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import everact

ROOT = Path(__file__).resolve().parents[1]
PYTEST_PLUGIN = "pytest_everact"
"""Beside the package, since pytest imports it at each start, and the package with it if it were in there."""


def setup_options() -> configparser.SectionProxy:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["options"]


def package_folders() -> dict[str, Path]:
    pairs = (line.split("=") for line in setup_options()["package_dir"].strip().splitlines())
    return {package.strip(): ROOT / folder.strip() for package, folder in pairs}


def packages_in_the_tree() -> set[str]:
    """Return every package that the folders hold, sub-packages included."""
    return {
        ".".join([package, *init.parent.relative_to(folder).parts])
        for package, folder in package_folders().items()
        for init in folder.rglob("__init__.py")
    }


@pytest.fixture(scope="module")
def wheel_contents(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build the wheel and return the names in it.

    A copy of the tree is built: `build/lib` keeps files of earlier builds, which would be shipped again.
    """
    where = tmp_path_factory.mktemp("wheel")
    tree = where / "tree"
    for folder in set(package_folders().values()):
        shutil.copytree(folder, tree / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE", f"{PYTEST_PLUGIN}.py"):
        shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(where / "dist"), str(tree)]
    built = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (where / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_setup_cfg_lists_every_package_of_the_tree() -> None:
    """A forgotten sub-package works in an editable install and is missing from the wheel."""
    assert set(setup_options()["packages"].split()) == packages_in_the_tree()


@pytest.mark.slow
def test_the_wheel_installs_nothing_top_level_besides_everact_and_its_pytest_plugin(wheel_contents: list[str]) -> None:
    top_level = {name.split("/")[0] for name in wheel_contents}
    assert {name for name in top_level if not name.endswith(".dist-info")} == {"everact", f"{PYTEST_PLUGIN}.py"}
    assert len(top_level) == 3


@pytest.mark.slow
def test_the_wheel_has_every_module_type_marker_schema_and_asset(wheel_contents: list[str]) -> None:
    files = {
        "/".join([*package.split("."), *file.relative_to(folder).parts])
        for package, folder in package_folders().items()
        for pattern in ("*.py", "py.typed", "schema/*.sql", "assets/*")
        for file in folder.rglob(pattern)
    }
    assert "everact/py.typed" in files
    assert any(file.endswith(".sql") for file in files)
    assert files - set(wheel_contents) == set()


def test_the_suite_runs_on_the_everact_it_means_to_run_on() -> None:
    """CI sets `EVERACT_TESTS_ON=wheel`: the tree's own folder must not hide the installed wheel."""
    from_the_tree = Path(everact.__file__).resolve() == ROOT / "everact" / "__init__.py"
    assert from_the_tree == (os.environ.get("EVERACT_TESTS_ON", "tree") == "tree")
