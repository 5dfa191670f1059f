"""Never run: the public API as a type checker of its users sees it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, assert_type, cast

import pykka
from pykka.typing import ActorMemberMixin, proxy_field, proxy_method

from everact import (
    Actor,
    ActorDead,
    ActorInfo,
    ActorProxy,
    ActorRef,
    ActorSystem,
    AskCycle,
    AskTimeout,
    Backoff,
    CancelOutcome,
    ChildSpec,
    Directive,
    Future,
    Intensity,
    MailboxFull,
    Overflow,
    PoolRouter,
    Restart,
    Routing,
    Saga,
    Step,
    Strategy,
    Supervisor,
    TaskContext,
    TaskHandle,
    TaskHandler,
    TaskRecord,
    Terminated,
    UndoEntry,
    Workflow,
    WorkflowCancelOutcome,
    WorkflowState,
    events,
    parallel,
    task,
)


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task
async def fetch(ctx: TaskContext, url: str) -> bytes:
    return url.encode()


@dataclass(frozen=True)
class Order:
    id: int


class OrderHandler(TaskHandler[Order]):
    async def handle(self, task: Order, ctx: TaskContext) -> str:
        return str(task.id)

    async def on_completed(self, ctx: TaskContext) -> None:
        ctx.dispatch(Order(1), delay=2.5)


class SyncOrderHandler(TaskHandler[Order]):
    def handle(self, task: Order, ctx: TaskContext) -> str:
        return str(task.id)

    def on_error(self, ctx: TaskContext, error: BaseException) -> None: ...


def use(system: ActorSystem) -> None:
    assert_type(system.dispatch(add.task(1, 2)), TaskHandle[int])
    assert_type(system.dispatch(add.task(1)).result(timeout=1), int)
    assert_type(system.dispatch(fetch.task("u")).result(), bytes)
    assert_type(system.cancel(system.dispatch(Order(1))), CancelOutcome)
    assert_type(system.get("00000000-0000-0000-0000-000000000000"), TaskRecord)
    assert_type(add(1, 2), int)


# -- actors --------------------------------------------------------------------------------------------------


class Till(Actor):
    currency = "EUR"

    def __init__(self, cash: int = 0) -> None:
        super().__init__()
        self.cash = cash

    def take(self, amount: int, *, tip: int = 0) -> int:
        self.cash += amount + tip
        return self.cash

    def on_receive(self, message: object) -> object:
        if isinstance(message, Terminated):
            assert_type(message.ref, ActorRef[Any])
            assert_type(message.cause, BaseException | None)
        self.stop()
        return self.actor_ref.is_alive()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class AsyncTill(Actor):
    pinned = False
    mailbox_bound = 10
    overflow = Overflow.DROP_OLD
    ask_timeout = None

    # Pykka declares its hooks to return None, and mypy looks at every base class.
    async def on_start(self) -> None: ...  # type: ignore[override]

    async def on_stop(self) -> None: ...  # type: ignore[override]

    async def on_receive(self, message: Any) -> str:
        return str(await Till.start().ask(message, block=False))


class TillProxy(ActorMemberMixin, ActorProxy[Till]):
    currency = proxy_field(Till.currency)
    take = proxy_method(Till.take)


class Shop(Supervisor):
    children = (ChildSpec(Till, name="till", restart=Restart.TRANSIENT, on={KeyError: Directive.RESUME}),)
    strategy = Strategy.REST_FOR_ONE
    intensity = Intensity(3, within=60)


def references() -> None:
    till = Till.start(5)
    assert_type(till, ActorRef[Till])
    assert_type(AsyncTill.start(), ActorRef[AsyncTill])
    assert_type(till.actor_class, type[Till])
    assert_type(till.path, str)
    assert_type(till.actor_urn, str)
    assert_type(till.is_alive(), bool)
    till.tell("anything")
    assert_type(till.ask("anything", block=True, timeout=1.5), Any)
    assert_type(till.ask("anything", block=False), Future[Any])
    assert_type(till.stop(block=True), bool)
    assert_type(till.stop(block=False), Future[bool])
    assert_type(till.actor_stopped.wait(1.0), bool)
    assert_type(till.proxy(), ActorProxy[Till])
    stock: pykka.ActorRef[Till] = till
    assert_type(stock.is_alive(), bool)
    pykka_actor: type[pykka.Actor] = Till
    assert_type(pykka_actor.__name__, str)


def proxies(till: ActorRef[Till]) -> None:
    proxy = cast("TillProxy", till.proxy())
    assert_type(proxy.actor_ref.is_alive(), bool)
    assert_type(proxy.currency.get(), str)
    assert_type(proxy.take(1, tip=2).get(), int)
    assert_type(proxy.stop().get(), None)


def futures(number: Future[int], words: Future[list[str]]) -> None:
    assert_type(number.map(str), Future[str])
    assert_type(number.map(str).get(timeout=1.0), str)
    assert_type(number.join(words), Future[Iterable[Any]])
    assert_type(pykka.get_all([number, number]), Iterable[int])
    number.set(1)
    number.set_get_hook(lambda timeout: 2 if timeout is None else 3)
    stock: pykka.Future[int] = number
    assert_type(stock.get(), int)


async def awaiting(number: Future[int], till: ActorRef[Till]) -> None:
    assert_type(await number, int)
    assert_type(await till.ask("anything", block=False), Any)


def spawning(system: ActorSystem) -> None:
    till = system.spawn(Till, name="till")
    assert_type(till, ActorRef[Till])
    spec = ChildSpec(restart=Restart.PERMANENT, shutdown=2.0, backoff=Backoff(0.1, most=5.0))
    shop = system.spawn(Shop, spec=spec)
    assert_type(shop, ActorRef[Shop])
    assert_type(system.spawn(lambda: Till(3), under=shop), ActorRef[Till])
    assert_type(system.spawn(lambda: PoolRouter(Till, size=3, routing=Routing.BROADCAST)), ActorRef[PoolRouter])
    assert_type(system.actors(), ActorInfo)
    assert_type(system.actors().children, tuple[ActorInfo, ...])
    assert_type(system.dead_letters(), list[events.DeadLetter])


def watching(actor: Till, other: ActorRef[Shop]) -> None:
    actor.watch(other)
    actor.unwatch(other)


def pykkas_errors(till: ActorRef[Till]) -> None:
    try:
        till.ask("anything")
    except ActorDead as error:
        dead: pykka.ActorDeadError = error
        raise dead from None
    except AskTimeout as error:
        assert_type(error.seconds, float)
        late: pykka.Timeout = error
        raise late from None
    except AskCycle as error:
        assert_type(error.path, tuple[str, ...])
    except MailboxFull as error:
        assert_type(error.bound, int)


def workflows(system: ActorSystem, ctx: TaskContext) -> None:
    workflow = system.wait_workflow("id", timeout=1.0)
    assert_type(workflow, Workflow)
    assert_type(workflow.state, WorkflowState)
    assert_type(workflow.undo_log, tuple[UndoEntry, ...])
    assert_type(workflow.tree(), str)
    assert_type(system.workflows(state=WorkflowState.STUCK, limit=3), list[Workflow])
    assert_type(system.cancel_workflow(workflow.id, "why"), WorkflowCancelOutcome)
    system.resume(workflow.id, skip=True, note="why")
    ctx.compensate_with(workflow)
    ctx.abort_workflow("why")
    assert_type(ctx.outcome, str | None)


def sagas(system: ActorSystem) -> None:
    inner = Saga("inner", Step(Order, undo=Order))
    ship = Step(lambda order: Order(order), name="ship", pivot=True)  # noqa: PLW0108 - as a user writes it
    saga = Saga("order", parallel(Step(Order), inner), ship, input=int)
    assert_type(saga, Saga)
    assert_type(saga.stages, tuple[tuple[Step, ...], ...])
    system.dispatch(saga(7))
    ActorSystem(handlers=[saga])
