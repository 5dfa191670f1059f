"""Fails at every attempt, and may be killed in one of them: `retrying.py DATABASE hold|recover`."""

import sys
import threading
from dataclasses import dataclass

from everact import ActorSystem, Retry, TaskContext, TaskHandler, bind

HELD_ATTEMPT = 3


@dataclass(frozen=True)
class CallPartner:
    pass


class CallPartnerHandler(TaskHandler[CallPartner]):
    retry = Retry(attempts=5, delay=0.001)

    def __init__(self, *, hold: bool) -> None:
        self.hold = hold

    def handle(self, task: CallPartner, ctx: TaskContext) -> None:
        print("attempt", ctx.attempt, flush=True)
        if self.hold and ctx.attempt == HELD_ATTEMPT:
            threading.Event().wait()
        msg = "no answer"
        raise ConnectionError(msg)

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        print("on_error", ctx.attempt, error)


def main(database: str, mode: str) -> None:
    handler = bind(CallPartnerHandler, lambda: CallPartnerHandler(hold=mode == "hold"))
    with ActorSystem("shop", handlers=[handler], storage=database) as system:
        if mode == "hold":
            system.dispatch(CallPartner()).wait()
        system.wait_idle(10)
        for record in system.tasks():
            print(record.status, record.attempt)


if __name__ == "__main__":
    main(*sys.argv[1:])
