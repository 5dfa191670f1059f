"""Actors and tasks together: handlers that ask actors, actors that dispatch."""

from __future__ import annotations

import contextvars
from typing import Any

from everact import Actor, ActorRef, ActorSystem, TaskContext, TaskHandler, bind
from tests.engine.conftest import WAIT, Job, Next

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("REQUEST", default="none")


class NextHandler(TaskHandler[Next]):
    def handle(self, task: Next, ctx: TaskContext) -> int:
        return task.n


class Dispatcher(Actor):
    """Dispatches what it is asked for, and says in which context."""

    def __init__(self, system: ActorSystem) -> None:
        super().__init__()
        self.system = system

    async def on_receive(self, message: int) -> tuple[str, Any]:
        handle = await self.system.dispatch_async(Next(message))
        return REQUEST.get(), handle.id


class JobHandler(TaskHandler[Job]):
    def __init__(self, actor: list[ActorRef[Dispatcher]]) -> None:
        self.actor = actor

    async def handle(self, task: Job, ctx: TaskContext) -> list[str]:
        REQUEST.set("of the handler")
        request, dispatched = await self.actor[0].ask(task.n, block=False)
        return [request, str(dispatched)]


def test_an_async_actor_does_not_act_in_the_context_of_the_handler_that_woke_it() -> None:
    actor: list[ActorRef[Dispatcher]] = []
    with ActorSystem(handlers=[bind(JobHandler, lambda: JobHandler(actor)), NextHandler]) as system:
        actor.append(system.spawn(lambda: Dispatcher(system)))
        job = system.dispatch(Job(1))
        request, dispatched = job.result(WAIT)
        assert request == "none"
        assert system.get(dispatched).parent_id is None
        assert system.get(dispatched).workflow_id != system.get(job.id).workflow_id
