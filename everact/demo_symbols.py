"""Where the demo's handlers keep what they find: a SQLite file of their own, beside everact's."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SCHEMA = """
CREATE TABLE goal (files INTEGER NOT NULL);
CREATE TABLE file (path TEXT PRIMARY KEY, symbols TEXT NOT NULL, error TEXT);
CREATE TABLE report (files INTEGER NOT NULL, symbols INTEGER NOT NULL, failures INTEGER NOT NULL);
CREATE VIEW symbol AS
    SELECT file.path, json_extract(value, '$[0]') AS name, json_extract(value, '$[1]') AS line
    FROM file, json_each(file.symbols);
"""
BUSY_SECONDS = 30.0
Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Symbol(NamedTuple):
    """A function or class; `name` is dotted when it stands inside another."""

    name: str
    line: int


class Totals(NamedTuple):
    """What the index holds."""

    files: int
    symbols: int
    failures: int


def symbols_in(tree: ast.Module) -> list[Symbol]:
    """List the functions and classes of a module, nested ones included, in order of their lines.

    Without recursion: a long chain of operators parses well and is deeper than Python's stack.
    """
    found: list[Symbol] = []
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        parent, prefix = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, Definition):
                found.append(Symbol(prefix + node.name, node.lineno))
                waiting.append((node, f"{prefix}{node.name}."))
            elif not isinstance(node, ast.expr):  # no expression holds a def
                waiting.append((node, prefix))
    return sorted(found, key=lambda symbol: symbol.line)


class SymbolIndex:
    """A connection to the index, to be used by one thread.

    Whatever is written about a file replaces what was there, so a task that runs a second time does no harm.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)

    @classmethod
    def create(cls, path: Path, files: int) -> SymbolIndex:
        """Make an empty index that is complete when it knows of this many files."""
        index = cls(path)
        index._connection.execute("PRAGMA journal_mode = WAL")
        index._connection.executescript(SCHEMA)
        index._connection.execute("INSERT INTO goal VALUES (?)", (files,))
        return index

    def store(self, path: str, symbols: Sequence[Symbol]) -> bool:
        """Replace a file's symbols; says whether the index is complete with it."""
        return self._write(path, symbols, None)

    def store_failure(self, path: str, error: str) -> bool:
        """Write down why a file has no symbols; says whether the index is complete with it."""
        return self._write(path, (), error)

    def progress(self) -> int:
        """How many files are stored or have failed."""
        return self._number("SELECT count(*) FROM file")

    def failures(self) -> dict[str, str]:
        """Files that could not be parsed, with the reason."""
        return dict(self._connection.execute("SELECT path, error FROM file WHERE error IS NOT NULL"))

    def write_report(self) -> Totals:
        """Count what there is, and keep that as the report."""
        totals = Totals(
            self._number("SELECT count(*) FROM file WHERE error IS NULL"),
            self._number("SELECT total(json_array_length(symbols)) FROM file"),
            self._number("SELECT count(*) FROM file WHERE error IS NOT NULL"),
        )
        self._connection.execute("REPLACE INTO report (rowid, files, symbols, failures) VALUES (1, ?, ?, ?)", totals)
        return totals

    def report(self) -> Totals | None:
        """Read the report, if it was written."""
        row = self._connection.execute("SELECT files, symbols, failures FROM report").fetchone()
        return None if row is None else Totals(*row)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _write(self, path: str, symbols: Sequence[Symbol], error: str | None) -> bool:
        # A single statement per file, as each one lets go of the interpreter lock, and waits for it again beside a
        # thread that parses. Of two handlers that finish at once, the second to look finds the index complete.
        self._connection.execute("REPLACE INTO file VALUES (?, ?, ?)", (path, json.dumps(symbols), error))
        return self._number("SELECT (SELECT count(*) FROM file) >= (SELECT files FROM goal)") == 1

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])
