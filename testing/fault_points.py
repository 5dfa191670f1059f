"""Where a fault plan takes effect: at commits, at attempts, and when the clock reaches a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from everact.storage.protocol import Batch
from everact.tasks import status as st
from everact.tasks.errors import StorageBusy, StorageFull, StorageUnavailable
from everact.testing.book import Book
from everact.testing.faults import Faults
from everact.testing.history import What
from everact.testing.moments import Moment, after, attempt, commit
from everact.testing.scheduler import Scheduler
from everact.testing.trace import short

R = TypeVar("R")
INJECTED = "injected by the fault plan"


class FaultPoints:
    """Looks into the plan wherever something could go wrong, and writes down what did."""

    def __init__(self, plan: Faults, scheduler: Scheduler, book: Book, most: int = 0) -> None:
        """Begin.

        Args:
            plan: What goes wrong in any case.
            scheduler: Has the policy decide about more.
            book: What happens is written there.
            most: How many more faults may happen; each is added to the plan, so that this with the schedule of the
                run is what replays it.
        """
        self.plan = plan
        self._left = most
        self._seen: set[tuple[str, int]] = set()
        self._scheduler = scheduler
        self._book = book
        self._duplicates = list(plan.duplicate)
        self._failed: Counter[object] = Counter()

    # -- commits -------------------------------------------------------------------------------------------

    def commit(self, node: Any, call: Callable[[Batch], R], batch: Batch) -> R:
        """Make a commit, or what the plan makes of it.

        Args:
            node: Whose it is; `die` ends it, `label` and `reserve` tell what it is called and may write.
            call: Writes the batch.
            batch: What to write.
        """
        self._book.commits += 1
        number = self._book.commits
        self._draw(f"commit {number}", _commit_faults(number))
        plan = self.plan
        if number in plan.crash_at or self._repeats(batch):
            node.die(f"before commit {number}")
        if self._holds(plan.busy, number):
            self._note(node, f"commit {number} finds the database locked")
            raise StorageBusy(INJECTED)
        if self._holds(plan.disk_full, number) and not (node.reserve and not batch.inserts):
            self._note(node, f"no room for commit {number}")
            raise StorageFull(INJECTED)
        if self._holds(plan.commit_lost, number):
            self._note(node, f"commit {number} is lost, and said to be of unknown outcome")
            raise StorageUnavailable(INJECTED, outcome="unknown")
        answer = call(batch)
        if after(number) in plan.crash_at:
            node.die(f"after commit {number}")
        if self._holds(plan.commit_unknown, number):
            self._note(node, f"commit {number} is written, and said to be of unknown outcome")
            raise StorageUnavailable(INJECTED, outcome="unknown")
        return answer

    def has_room(self) -> bool:
        """Whether the disk has room now."""
        return not any(each.covers(self._scheduler.time, 0) for each in moments_of(self.plan.disk_full))

    def _holds(self, moments: Moment | Iterable[Moment], number: int) -> bool:
        return any(moment.covers(self._scheduler.time, number) for moment in moments_of(moments))

    def _repeats(self, batch: Batch) -> bool:
        """Whether this batch has the outcome of a task that is to run twice."""
        for outcome in batch.outcomes:
            kind = self._book.types.get(outcome.id, "")
            for name in self._duplicates:
                if outcome.status == st.COMPLETED and names(name, kind):
                    self._duplicates.remove(name)
                    return True
        return False

    def _draw(self, where: str, faults: list[tuple[str, Any]]) -> None:
        """Have the policy decide whether one of these happens here."""
        if self._left:
            options = ["no fault", *(f"{name}: {value!r}" for name, value in faults)]
            choice = self._scheduler.decide(options, where)
            if choice:
                self._left -= 1
                name, value = faults[choice - 1]
                self.plan = replace(self.plan, **{name: (*getattr(self.plan, name), value)})
                if name == "duplicate":
                    self._duplicates.append(value)

    # -- attempts ------------------------------------------------------------------------------------------

    def slowness(self, node: Any, type: str) -> float:
        """How many seconds an attempt of this type takes before its handler is called."""
        found = slowness_in(self.plan, type)
        if found:
            self._note(node, f"{short(type)} takes {found:g} s")
        return found

    def failure(self, node: Any, type: str, number: int, *, done: bool) -> BaseException | None:
        """What an attempt is to raise instead of calling its handler, or, once that is `done`, after it."""
        if not done and (type, number) not in self._seen:  # a plan does not tell tasks of one type apart
            self._seen.add((type, number))
            self._draw(f"attempt {number} of {short(type)}", _attempt_faults(short(type), number))
        error = failure_in(self.plan, type, number, done=done)
        if error is not None:
            self._note(node, f"attempt {number} of {short(type)} raises {error.__class__.__name__}")
        return error

    def _note(self, node: Any, text: str) -> None:
        self._book.history.add(node.label, What.FAULT, detail=text)


def _commit_faults(number: int) -> list[tuple[str, Any]]:
    return [
        ("crash_at", number),
        ("crash_at", after(number)),
        ("busy", commit(number)),
        ("commit_unknown", commit(number)),
        ("commit_lost", commit(number)),
    ]


def _attempt_faults(type: str, number: int) -> list[tuple[str, Any]]:
    failing: list[tuple[str, Any]] = [
        ("fail", (type, attempt(number), TimeoutError)),
        ("fail_after", (type, attempt(number), ConnectionError)),
    ]
    return [*failing, ("duplicate", type)] if number == 1 else failing


def moments_of(given: Moment | Iterable[Moment]) -> tuple[Moment, ...]:
    """The moments of a field of a plan, which has made a tuple of whatever it was given."""
    return given if isinstance(given, tuple) else ()


def names(given: str, type: str) -> bool:
    """Whether a user's name stands for a stored one: either that, or its last part.

    Example:
        >>> names("Charge", "shop.orders.Charge"), names("Charge", "Recharge")
        (True, False)
    """
    return given in (type, short(type))


def slowness_in(plan: Faults, type: str) -> float:
    """How many seconds a plan adds to each attempt of a type."""
    return sum(wait for name, wait in plan.delay if names(name, type))


def failure_in(plan: Faults, type: str, number: int, *, done: bool) -> BaseException | None:
    """What a plan has an attempt raise, before its handler is called or when it is done."""
    for name, which, error in plan.fail_after if done else plan.fail:
        if which.covers(0.0, number) and names(name, type):
            return made(error)
    return None


def made(error: type[BaseException]) -> BaseException:
    """An error of this class, with a text that says where it comes from if it takes one."""
    try:
        return error(INJECTED)
    except TypeError:
        return error()
