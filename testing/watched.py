"""Storages and handlers that tell the book what they do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from everact.storage.memory import MemoryStorage
from everact.storage.protocol import Batch, Committed
from everact.storage.sqlite import SqliteStorage
from everact.tasks.context import TaskContext
from everact.tasks.handler import TaskHandler
from everact.tasks.record import COMPENSATION
from everact.tasks.registration import HandlerSpec
from everact.testing.book import Book
from everact.testing.fault_points import FaultPoints
from everact.testing.history import What
from everact.testing.trace import undo_of

Tell = Callable[[Batch, Committed], None]
_DO = (What.STARTED, What.RETURNED, What.RAISED)
_UNDO = (What.UNDO_STARTED, What.UNDONE, What.UNDO_RAISED)
_CTX_HOOKS = ("on_started", "on_completed", "on_retry", "on_error")


class WatchedSqlite(SqliteStorage):
    """A file whose commits are told."""

    def __init__(self, path: Path, tell: Tell) -> None:
        super().__init__(path, "process")
        self._tell = tell

    def commit(self, batch: Batch) -> Committed:
        """See `Storage.commit`."""
        committed = super().commit(batch)
        self._tell(batch, committed)
        return committed


class WatchedMemory(MemoryStorage):
    """A storage in memory that stands for a file: it outlives the node, and its commits are told.

    Attributes:
        tell: Whom; another node's each time.
    """

    inline = False
    durable = True
    tell: Tell

    def commit(self, batch: Batch) -> Committed:
        """See `Storage.commit`."""
        committed = super().commit(batch)
        self.tell(batch, committed)
        return committed


class WatchedInline(WatchedMemory):
    """A storage in memory as it is in production: the journal's turns run in the threads of those who send."""

    inline = True
    durable = False


class HandlerWatch:
    """Makes handlers of one node tell what they do, and do what the fault plan says."""

    def __init__(self, node: Any, book: Book, points: FaultPoints, sleep: Callable[[float], object]) -> None:
        self._node = node
        self._book = book
        self._points = points
        self._sleep = sleep

    def watch(self, spec: HandlerSpec) -> HandlerSpec:
        """The same handler, watched."""

        def make() -> TaskHandler[Any]:
            instance = spec.make()
            if isinstance(instance, TaskHandler):
                self._wrap(instance, spec)
            return instance

        return replace(spec, make=make)

    def _wrap(self, instance: Any, spec: HandlerSpec) -> None:
        instance.handle = self._call(instance.handle, spec.name)
        if spec.compensates:
            instance.compensate = self._call(instance.compensate, undo_of(spec.name))
        for name in _CTX_HOOKS:
            if name in spec.hooks:
                setattr(instance, name, self._hook(getattr(instance, name), name))

    def _call(self, body: Callable[..., Any], type: str) -> Any:
        def call(task: Any, ctx: TaskContext) -> Any:
            with self._told(ctx):
                if wait := self._points.slowness(self._node, type):
                    self._sleep(wait)
                self._fail(ctx, type, done=False)
                result = body(task, ctx)
                self._fail(ctx, type, done=True)
                return result

        async def call_async(task: Any, ctx: TaskContext) -> Any:
            with self._told(ctx):
                if wait := self._points.slowness(self._node, type):
                    await asyncio.sleep(wait)
                self._fail(ctx, type, done=False)
                result = await body(task, ctx)
                self._fail(ctx, type, done=True)
                return result

        return call_async if inspect.iscoroutinefunction(body) else call

    def _fail(self, ctx: TaskContext, type: str, *, done: bool) -> None:
        error = self._points.failure(self._node, type, ctx.attempt, done=done)
        if error is not None:
            raise error

    @contextmanager
    def _told(self, ctx: TaskContext) -> Iterator[None]:
        """Tell of one call of `handle` or `compensate`."""
        label, book = self._node.label, self._book
        began, ended, failed = _UNDO if ctx._record.kind == COMPENSATION else _DO
        book.handled(label, began, ctx)
        try:
            yield
        except BaseException as error:
            book.handled(label, failed, ctx, type(error).__name__)
            raise
        book.wanted(label, ctx, 0)
        book.handled(label, ended, ctx)

    @contextmanager
    def _hook_told(self, ctx: TaskContext, name: str) -> Iterator[None]:
        label, book, seen = self._node.label, self._book, len(ctx._buffer or ())
        book.handled(label, What.HOOK, ctx, name)
        try:
            yield
        except BaseException as error:
            book.handled(label, What.HOOK_RAISED, ctx, f"{name}: {type(error).__name__}")
            raise
        book.wanted(label, ctx, seen)

    def _hook(self, body: Callable[..., Any], name: str) -> Callable[..., Any]:
        def hook(ctx: TaskContext, *args: Any) -> Any:
            with self._hook_told(ctx, name):
                return body(ctx, *args)

        async def hook_async(ctx: TaskContext, *args: Any) -> Any:
            with self._hook_told(ctx, name):
                return await body(ctx, *args)

        return hook_async if inspect.iscoroutinefunction(body) else hook
