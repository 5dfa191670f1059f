"""Charges an order, and may be killed in the middle of it: `charging.py DATABASE LEDGER hold|recover`.

The ledger is the application's own database. What a run writes there is keyed by the task's id, so a run that
comes a second time changes nothing: this is what makes an at-least-once handler safe.
"""

import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import dataclass

from everact import ActorSystem, TaskContext, TaskHandler, bind


@dataclass(frozen=True)
class ChargeOrder:
    order_id: int
    amount: int


class ChargeOrderHandler(TaskHandler[ChargeOrder]):
    def __init__(self, ledger: str, *, hold: bool) -> None:
        self.ledger = ledger
        self.hold = hold

    def handle(self, task: ChargeOrder, ctx: TaskContext) -> str:
        with closing(sqlite3.connect(self.ledger)) as ledger, ledger:
            ledger.execute("INSERT INTO runs VALUES (?)", (ctx.attempt,))
            ledger.execute("INSERT OR IGNORE INTO charges VALUES (?, ?)", (str(ctx.task_id), task.amount))
        print("charged", flush=True)
        if self.hold:
            threading.Event().wait()
        return "paid"


def main(database: str, ledger: str, mode: str) -> None:
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS runs (attempt)")
        connection.execute("CREATE TABLE IF NOT EXISTS charges (task_id UNIQUE, amount)")
    handler = bind(ChargeOrderHandler, lambda: ChargeOrderHandler(ledger, hold=mode == "hold"))
    with ActorSystem("shop", handlers=[handler], storage=database) as system:
        if mode == "hold":
            system.dispatch(ChargeOrder(7, 1200)).wait()
        system.wait_idle(10)
        for record in system.tasks():
            print(record.status, record.attempt, record.result)


if __name__ == "__main__":
    main(*sys.argv[1:])
