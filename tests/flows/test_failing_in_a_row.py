"""A handler that fails time after time still gets the next task: each failure passes through its supervisor."""

import asyncio
from dataclasses import dataclass

import pytest

from everact import ActorSystem, Retry, TaskContext, TaskFailed, TaskHandler

WAIT = 10.0  # bounds a wait that normally takes milliseconds


@dataclass(frozen=True)
class CallPartner:
    number: int


class CallPartnerHandler(TaskHandler[CallPartner]):
    retry = Retry(attempts=1)

    def handle(self, task: CallPartner, ctx: TaskContext) -> None:
        raise ConnectionError(task.number)


class AsyncCallPartnerHandler(TaskHandler[CallPartner]):
    retry = Retry(attempts=1)

    async def handle(self, task: CallPartner, ctx: TaskContext) -> None:
        await asyncio.sleep(0)
        raise ConnectionError(task.number)


@pytest.mark.parametrize("handler", [CallPartnerHandler, AsyncCallPartnerHandler])
def test_a_pool_serves_the_next_task_after_each_of_many_failures(
    storage: str, handler: type[TaskHandler[CallPartner]]
) -> None:
    # One at a time, so that each task finds an idle cell that supervision has just let go.
    with ActorSystem(handlers=[handler], storage=storage) as system:
        for number in range(200):
            with pytest.raises(TaskFailed, match=f"ConnectionError: {number};"):
                system.dispatch(CallPartner(number)).result(WAIT)
