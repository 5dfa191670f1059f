"""`everact demo`: index the Python installation it runs on, and kill the worker half way through.

The parent, in this module, starts a worker process, watches it, kills it with SIGKILL, starts another one that
goes on, and in the end compares what was promised with what was done. What the tasks do is in `demo_tasks`, the
worker process in `demo_worker`, the final count in `demo_accounts`.
"""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from everact.demo_accounts import Accounts, draw_up
from everact.demo_symbols import SymbolIndex
from everact.demo_worker import ACTORS, DATABASE, FILES, INDEX, LEDGER, read_ledger

BROKEN = {
    "syntax_error.py": b"def broken(:\n",
    "null_byte.py": b"x = 1\0\n",
    "too_deep.py": b"x = " + b"-" * 100_000 + b"1\n",
}
OTHERS_PACKAGES = {"site-packages", "dist-packages"}
LOOK_SECONDS = 0.01
STALL_SECONDS = 120.0
LAST_WORDS = 2000
Show = Callable[[int], None]


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


class Child:
    """A process that the demo has started; it never kills any other."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._log = folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this Python, and a module of our own
                [sys.executable, "-m", "everact.demo_worker", *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends its children
            )
        self.pid = self._process.pid

    def running(self) -> bool:
        """Whether it still runs.

        Raises:
            DemoFailed: It has ended otherwise than it should.
        """
        code = self._process.poll()
        if code:
            last_words = self._log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:]
            msg = f"process {self.pid} died unexpectedly (exit code {code}); its last words:\n{last_words}"
            raise DemoFailed(msg)
        return code is None

    def kill(self) -> None:
        """End it with SIGKILL, unless it has ended, and wait until it is gone."""
        self._process.kill()
        self._process.wait(STALL_SECONDS)


def run(*, limit: int | None = None, keep: Path | None = None, workers: int = 1, actors: bool = False) -> int:
    """Run the demo; see `everact demo --help`.

    Returns:
        The exit code: 0 if nothing was lost and all counts agree.
    """
    with obeying_sigterm(), work_folder(keep) as folder:
        try:
            accounts = perform(folder, limit, workers)
            if actors:
                click.echo("\nThe actors of the worker while it was at work:\n")
                click.echo((folder / ACTORS).read_text(encoding="utf-8"), nl=False)
            code = judge(accounts)
        except DemoFailed as error:
            click.echo(f"The demo failed: {error}", err=True)
            code = 1
    if keep is not None:
        click.echo(f"Kept in {folder}: {DATABASE} with the tasks, {INDEX} with the symbols, {LEDGER}.")
    return code


def judge(accounts: Accounts) -> int:
    """Show the numbers, and decide on the exit code."""
    problems = list(accounts.problems())
    click.echo("\n".join(["", *accounts.table(), "", *(problems or ["Nothing was lost."])]))
    return 1 if problems else 0


def perform(folder: Path, limit: int | None, workers: int) -> Accounts:
    """Index, with a kill half way, and draw up the accounts."""
    started = time.monotonic()
    files = plant_broken_files(folder) + installed_files()[:limit]
    (folder / FILES).write_text(json.dumps(files), encoding="utf-8")
    click.echo(
        f"Python {platform.python_version()} in {sys.prefix}: {len(files)} files to index, a durable task for each. "
        f"{len(BROKEN)} of them are broken on purpose."
    )
    with ExitStack() as ends:
        index = ends.enter_context(closing(SymbolIndex.create(folder / INDEX, len(files))))
        plain = started_until(ends, folder, "plain")
        worker = started_until(ends, folder, "work", str(workers))
        killed = work_and_kill(worker, folder, index, len(files))
        if killed is not None:
            worker = started_until(ends, folder, "work", str(workers))
            click.echo(f"Worker {worker.pid} recovers what the first one left behind, and goes on.")
            with progress_of(len(files)) as show:
                watch(worker, index.progress, None, show)
        watch(plain, lambda: 0, None, lambda _: None)
    return draw_up(folder, len(files), killed, time.monotonic() - started)


def work_and_kill(worker: Child, folder: Path, index: SymbolIndex, files: int) -> datetime | None:
    """Have a worker do half of the work, then kill it.

    Returns:
        When it was gone; None if it was too quick.
    """
    click.echo(f"Worker {worker.pid} dispatches and runs them.")
    with progress_of(files) as show:
        alive = watch(worker, index.progress, files // 2, show)
    if not alive:
        click.echo("It has finished before it could be killed.")
        return None
    worker.kill()
    killed = datetime.now(UTC)
    click.echo(
        f"kill -9 {worker.pid}: gone in the middle of its work, with {index.progress()} of {files} files indexed "
        f"and {len(read_ledger(folder))} tasks acknowledged."
    )
    return killed


def watch(child: Child, progress: Callable[[], int], enough: int | None, show: Show) -> bool:
    """Look on until there is enough progress, or the child has ended.

    Returns:
        Whether the child still runs.

    Raises:
        DemoFailed: It died, or did nothing for too long.
    """
    seen, deadline = -1, 0.0
    while child.running():
        done = progress()
        if done != seen:
            seen, deadline = done, time.monotonic() + STALL_SECONDS
            show(done)
        if enough is not None and done >= enough:
            return True
        if time.monotonic() > deadline:
            msg = f"process {child.pid} has made no progress for {STALL_SECONDS:g} s"
            raise DemoFailed(msg)
        time.sleep(LOOK_SECONDS)
    show(progress())
    return False


def started_until(ends: ExitStack, folder: Path, *arguments: str) -> Child:
    """Start a child that lives no longer than `ends`, however that is left."""
    child = Child(folder, *arguments)
    ends.callback(child.kill)
    return child


# What there is to index


def installed_files() -> list[str]:
    """List the source files of the standard library and of the packages beside it.

    A virtual environment's base has packages of its own below its standard library. They are not part of the
    installation that runs this.
    """
    stdlib, platlib = (Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platlib"))
    own = [path for path in stdlib.rglob("*.py") if path.relative_to(stdlib).parts[0] not in OTHERS_PACKAGES]
    return [str(path) for path in sorted({*own, *platlib.rglob("*.py")}) if path.is_file() and is_text(str(path))]


def is_text(path: str) -> bool:
    """Whether a path can be part of a task; file names that are no UTF-8 cannot."""
    return path.encode("utf-8", "replace").decode() == path


def plant_broken_files(folder: Path) -> list[str]:
    """Write the files that must fail."""
    for name, source in BROKEN.items():
        (folder / "broken").mkdir(exist_ok=True)
        (folder / "broken" / name).write_bytes(source)
    return [str(folder / "broken" / name) for name in BROKEN]


# Surroundings


@contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    """Give a directory to work in, which is removed in the end unless it is to be kept."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="everact-demo-") as folder:
        yield Path(folder).resolve()


@contextmanager
def obeying_sigterm() -> Iterator[None]:
    """Leave in order at SIGTERM as well, or the worker would go on alone."""
    former = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def progress_of(files: int) -> Iterator[Show]:
    """Show how far it is: a bar on a terminal, else a line at every tenth."""
    if sys.stdout.isatty():
        with click.progressbar(length=files, label="  indexed", show_pos=True) as bar:
            yield lambda done: bar.update(done - bar.pos)
        return
    tenths = -1

    def show(done: int) -> None:
        nonlocal tenths
        if done * 10 // files > tenths:
            tenths = done * 10 // files
            click.echo(f"  indexed {done} of {files}")

    yield show
