"""The tree of all actors of a system, as it is at one moment: `system.actors()`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from everact.actors.cell import Cell
from everact.actors.handler_actor import HandlerActor
from everact.actors.pool import Pool
from everact.actors.system_actor import SystemActor
from everact.engine import Engine


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """One actor and those below it.

    Attributes:
        path: Its place in the system, such as `shop/user/stock`.
        kind: The name of its class; of a pool, what it handles.
        state: "running", "suspended" and so on; of a handler's cell "idle" or "busy".
        generation: How many instances it has had.
        depth: How many messages wait in its mailbox.
        restarts: How often an instance was replaced, or an internal actor went on after an error.
        left_behind: Threads of it that were left behind and have not come back.
        children: Those below it, in the order in which they were started.

    Example:
        >>> stock = ActorInfo("shop/user/stock", "Stock", "running", generation=2, depth=3, restarts=1)
        >>> print(ActorInfo("shop/user", "Supervisor", "running", children=(stock,)))
        user             Supervisor  running
        └── stock        Stock       running    3 waiting, 1 restart
    """

    path: str
    kind: str
    state: str
    generation: int = 1
    depth: int = 0
    restarts: int = 0
    left_behind: int = 0
    children: tuple[ActorInfo, ...] = ()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    def __iter__(self) -> Iterator[ActorInfo]:
        """This one and all below it."""
        yield self
        for child in self.children:
            yield from child

    def __str__(self) -> str:
        rows = list(_rows(self, "", ""))
        name, kind = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(f"{row[0]:<{max(name, 16)}} {row[1]:<{kind}}  {row[2]:<10} {row[3]}".rstrip() for row in rows)


def _rows(info: ActorInfo, first: str, rest: str) -> Iterator[tuple[str, str, str, str]]:
    yield first + info.name, info.kind, info.state, _remarks(info)
    for child in info.children:
        last = child is info.children[-1]
        yield from _rows(child, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "))


def _remarks(info: ActorInfo) -> str:
    counted = (
        (info.depth, "waiting"),
        (info.restarts, "restart" if info.restarts == 1 else "restarts"),
        (info.left_behind, "left behind"),
    )
    return ", ".join(f"{count} {what}" for count, what in counted if count)


def tree_of(engine: Engine, name: str, state: str) -> ActorInfo:
    """The tree of a running system."""
    node = engine.node
    children = [
        _internal(node.stream),
        _internal(node.journal),
        _internal(node.timer),
        *(_pool(name, pool) for pool in node.pools),
    ]
    if engine.guardian is not None:
        children.append(_cell(engine.guardian.cell))
    return ActorInfo(name, "ActorSystem", state, children=tuple(children))


def _internal(actor: SystemActor) -> ActorInfo:
    kind = type(actor).__name__
    depth = actor.actor_inbox.qsize()
    return ActorInfo(str(actor.actor_urn), kind, "running", depth=depth, restarts=actor.restarts)


def _pool(name: str, pool: Pool) -> ActorInfo:
    state = "suspended" if pool.suspended else "closed" if pool.closed else "running"
    cells = tuple(_handler_cell(cell) for cell in pool.cells)
    restarts = sum(cell.restarts for cell in cells)
    path = f"{name}/{pool.spec.name}"
    return ActorInfo(path, "handler pool", state, depth=len(pool.mailbox), restarts=restarts, children=cells)


def _handler_cell(cell: HandlerActor) -> ActorInfo:
    state = "suspended" if cell.awaiting else "idle" if cell.current is None else "busy"
    return ActorInfo(
        str(cell.actor_urn),
        type(cell).__name__,
        state,
        generation=cell.generation + 1,
        restarts=cell.restarts,
        left_behind=cell.abandoned,
    )


def _cell(cell: Cell) -> ActorInfo:
    return ActorInfo(
        cell.path,
        cell.actor_class.__name__,
        cell.state.value,
        generation=cell.generation,
        depth=len(cell.mailbox),
        restarts=max(cell.generation - 1, 0),
        left_behind=cell.left_behind,
        children=tuple(_cell(child) for child in list(cell.children.values())),
    )
