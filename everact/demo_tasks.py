"""What `everact demo` runs: four task types and their handlers. Read this first; it is how everact is used.

    ParseFile ── parsed ──▶ StoreSymbols ──┐
        └─── does not parse ──▶ Alert ─────┴── the last one ──▶ Report

Every arrow is a follow-up: it commits in the same transaction as the outcome that it belongs to. However hard
the process dies, no file is parsed without being stored, and none fails without an alert.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from uuid import NAMESPACE_URL, uuid5

from everact import Retry, TaskContext, TaskHandler, bind
from everact.demo_symbols import Symbol, SymbolIndex, Totals, symbols_in

T = TypeVar("T")
REPORT_ID = uuid5(NAMESPACE_URL, "everact:demo:report")


@dataclass(frozen=True)
class ParseFile:
    """Find the functions and classes of one source file."""

    path: str


@dataclass(frozen=True)
class StoreSymbols:
    """Write what was found into the index."""

    path: str
    symbols: list[Symbol]


@dataclass(frozen=True)
class Alert:
    """Write down that a file does not parse."""

    path: str
    error: str


@dataclass(frozen=True)
class Report:
    """Count what the index holds."""


class ParseFileHandler(TaskHandler[ParseFile]):
    """Parses a file, and hands what it found to the next stage.

    One attempt: what does not parse now will not parse in a second either.
    """

    retry = Retry(attempts=1)

    def handle(self, task: ParseFile, ctx: TaskContext) -> int:
        """Return how many symbols there are; the symbols themselves wait in `ctx.state` for the hook."""
        tree = ast.parse(Path(task.path).read_bytes(), task.path)
        ctx.state["symbols"] = symbols_in(tree)
        return len(ctx.state["symbols"])

    def on_completed(self, ctx: TaskContext) -> None:
        """The continuation: atomic with the completion."""
        ctx.dispatch(StoreSymbols(ctx.task.path, ctx.state["symbols"]))

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        """The other continuation: atomic with the failure."""
        ctx.dispatch(Alert(ctx.task.path, f"{type(error).__name__}: {error}"))


class IndexHandler(TaskHandler[T], Generic[T]):
    """A handler with a connection to the index, which lives as long as the instance and belongs to its thread."""

    def __init__(self, index: Path) -> None:
        self._path = index

    def on_actor_start(self) -> None:
        """Open the connection, on the thread that will use it."""
        self.index = SymbolIndex(self._path)

    def on_actor_stop(self) -> None:
        """Close it."""
        self.index.close()


class StoreSymbolsHandler(IndexHandler[StoreSymbols]):
    """Stores a file's symbols. Running it twice is harmless, as a handler's work has to be."""

    def handle(self, task: StoreSymbols, ctx: TaskContext) -> None:
        """Store, and start the last stage if nothing is missing now."""
        if self.index.store(task.path, task.symbols):
            dispatch_report(ctx)


class AlertHandler(IndexHandler[Alert]):
    """Records a failure, where an application would send a message to somebody."""

    def handle(self, task: Alert, ctx: TaskContext) -> None:
        """Record it, and start the last stage if nothing is missing now."""
        if self.index.store_failure(task.path, task.error):
            dispatch_report(ctx)


class ReportHandler(IndexHandler[Report]):
    """Writes the totals; they are the task's result as well."""

    def handle(self, task: Report, ctx: TaskContext) -> Totals:  # noqa: ARG002 - there is nothing to ask of either
        """Count."""
        return self.index.write_report()


def dispatch_report(ctx: TaskContext) -> None:
    """Start the last stage, once.

    The key makes it single while it is unfinished, the id for ever: a file whose task runs again after a crash
    may find the index complete a second time.
    """
    ctx.dispatch(Report(), key="report", id=REPORT_ID)


def handlers_on(index: Path) -> list[object]:
    """All handlers, ready for `ActorSystem(handlers=...)`."""
    return [
        ParseFileHandler,
        bind(StoreSymbolsHandler, lambda: StoreSymbolsHandler(index)),
        bind(AlertHandler, lambda: AlertHandler(index)),
        bind(ReportHandler, lambda: ReportHandler(index)),
    ]
