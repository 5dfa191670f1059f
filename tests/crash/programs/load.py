"""A process under load: an actor system, threads that dispatch to it, and no end but a kill."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from chores import Chore, Flaky, Plain, Woven, handlers
from everact import ActorSystem, Settings
from faults import Fault
from ledger import Acknowledged, CancelAnswered, CancelIntended, Complained, Intended, Ledger

LONGEST_DELAY = 0.1
KEYS = 5
OWN = 3
PATIENCE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all processes of one run share; `seed` decides every choice but those of the machine."""

    folder: Path
    seed: int = 0
    threads: int = 3
    durabilities: tuple[str, ...] = ("power", "process")
    fault: Fault | None = None

    @property
    def database(self) -> Path:
        """The file under test."""
        return self.folder / "tasks.db"

    @property
    def ledger(self) -> Path:
        """The file outside it."""
        return self.folder / "ledger.jsonl"


def live(plan: Plan, life: int, started: Callable[[], object], wait: Callable[[], object]) -> None:
    """Start on the plan's file, take over what is there, and dispatch until `wait` returns or the process is killed."""
    ledger = Ledger(plan.ledger)
    system = _system(plan, ledger, life)
    system.start()
    started()
    for number in range(plan.threads):
        threading.Thread(target=Dispatcher(plan, system, ledger, life, number).run, daemon=True).start()
    wait()


def settle(plan: Plan, life: int) -> None:
    """Start on the plan's file, dispatch nothing, and stop when everything has ended."""
    with _system(plan, Ledger(plan.ledger), life) as system:
        time.sleep(LONGEST_DELAY)  # wait_idle does not count what is scheduled for later
        system.wait_idle(PATIENCE)


def _system(plan: Plan, ledger: Ledger, life: int) -> ActorSystem:
    # A kill takes nothing back from either; without syncs it hits a process that has more under way.
    durability = random.Random(f"{plan.seed}/{life}").choice(plan.durabilities)
    return ActorSystem(
        "load",
        handlers=handlers(ledger, life, plan.fault),
        storage=f"sqlite:///{plan.database}?durability={durability}",
        settings=unsuspecting(),
    )


def unsuspecting() -> Settings:
    """Settings under which no innocent is quarantined: here it is us who kill, again and again."""
    return Settings(max_crashes=1_000_000)


class Dispatcher:
    """One thread that dispatches and cancels as its seed says. An intent is in the ledger before each call."""

    def __init__(self, plan: Plan, system: ActorSystem, ledger: Ledger, life: int, number: int) -> None:
        self._fault = plan.fault
        self._system = system
        self._ledger = ledger
        self._life = life
        self._number = number
        self._made = 0
        self._random = random.Random(f"{plan.seed}/{life}/{number}")
        self._acts: dict[Callable[[], object], int] = {
            self._dispatch_one: 4,
            self._dispatch_delayed: 2,
            self._dispatch_keyed: 2,
            self._dispatch_together: 2,
            self._dispatch_and_cancel: 3,
            self._dispatch_own: 1,
            self._ask_again: 1,
            self._cancel_earlier: 1,
        }

    def run(self) -> None:
        """Act until killed; whatever a call raises is a complaint."""
        try:
            while True:
                (act,) = self._random.choices(list(self._acts), list(self._acts.values()))
                act()
        except BaseException as error:
            self._ledger.write(Complained(self._life, f"life {self._life}: {error!r}"))

    def _dispatch_one(self) -> None:
        self._dispatch(self._chore())

    def _dispatch_delayed(self) -> None:
        self._dispatch(self._chore(), delay=self._random.uniform(0.0, LONGEST_DELAY))

    def _dispatch_keyed(self) -> None:
        self._dispatch(Plain(self._name()), key=f"key-{self._random.randrange(KEYS)}")

    def _dispatch_and_cancel(self) -> None:
        delay = self._random.choice([0.0, LONGEST_DELAY])
        self._cancel(self._dispatch(Plain(self._name()), delay=delay))

    def _dispatch_own(self) -> None:
        """Choose the id, so that the next life can ask again."""
        name = self._own_name(self._life)
        self._dispatch(Plain(name), id=_own_id(name))

    def _ask_again(self) -> None:
        """Settle what an earlier life may have been killed in: by the same id it is the same task."""
        name = self._own_name(self._life - 1)
        self._dispatch(Plain(name), id=_own_id(name))

    def _cancel_earlier(self) -> None:
        self._cancel(_own_id(self._own_name(self._life - 1)))

    def _dispatch_together(self) -> None:
        chores = [self._chore() for _ in range(self._random.randint(2, 12))]
        names = tuple(chore.name for chore in chores)
        self._ledger.write(Intended(self._life, names))
        if self._fault is Fault.BROKEN_BATCH:
            handles = [self._system.dispatch(chore) for chore in chores]
        else:
            handles = self._system.dispatch_many(chores)
        self._ledger.write(Acknowledged(self._life, names, tuple(str(handle.id) for handle in handles)))

    def _dispatch(self, chore: Chore, **options: Any) -> UUID:
        names = (chore.name,)
        if self._fault is not Fault.UNSAID or self._made % 2:
            self._ledger.write(Intended(self._life, names))
        if self._fault is Fault.EARLY_ACKNOWLEDGEMENT and "key" not in options:
            options.setdefault("id", _own_id(chore.name))
            self._ledger.write(Acknowledged(self._life, names, (str(options["id"]),)))
        handle = self._system.dispatch(chore, **options)
        self._ledger.write(Acknowledged(self._life, names, (str(handle.id),)))
        return handle.id

    def _cancel(self, id_: UUID) -> None:
        self._ledger.write(CancelIntended(self._life, str(id_)))
        if self._fault is Fault.EARLY_CANCEL:
            self._ledger.write(CancelAnswered(self._life, str(id_), "cancelled"))
        outcome = self._system.cancel(id_)
        self._ledger.write(CancelAnswered(self._life, str(id_), outcome.value))

    def _chore(self) -> Chore:
        name = self._name()
        kind = self._random.randrange(4)
        if kind == 0:
            return Flaky(name, self._random.randint(1, 3))
        return Woven(name) if kind == 1 else Plain(name)

    def _name(self) -> str:
        self._made += 1
        return f"{self._life}.{self._number}.{self._made}"

    def _own_name(self, life: int) -> str:
        return f"{life}.{self._number}.own-{self._random.randrange(OWN)}"


def _own_id(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, name)
