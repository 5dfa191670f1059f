"""A task that is cancelled and does not stop before its process is killed: `cancelling.py DATABASE hold|recover`."""

import sys
import threading
from dataclasses import dataclass

from everact import ActorSystem, TaskCancelled, TaskContext, TaskHandler

running = threading.Event()


@dataclass(frozen=True)
class CountStock:
    pass


class CountStockHandler(TaskHandler[CountStock]):
    def handle(self, task: CountStock, ctx: TaskContext) -> None:
        print("handle", flush=True)
        running.set()
        threading.Event().wait()

    def on_error(self, ctx: TaskContext, error: BaseException) -> None:
        assert isinstance(error, TaskCancelled)
        print("on_error", type(error).__name__, error.reason)


def main(database: str, mode: str) -> None:
    with ActorSystem("shop", handlers=[CountStockHandler], storage=database) as system:
        if mode == "hold":
            count = system.dispatch(CountStock())
            running.wait(10)
            print(count.cancel("too late").value, flush=True)
            count.wait()
        system.wait_idle(10)
        for record in system.tasks():
            print(record.status)


if __name__ == "__main__":
    main(*sys.argv[1:])
