"""What a simulation refuses: calls that would leave it, and with it the seed."""

from __future__ import annotations

import threading
from typing import NoReturn

from everact.actors.ticket import current_delivery
from everact.tasks.errors import EverActError

NETWORK = (
    "the world outside has no seed. Give the handler its client from outside, with "
    "`bind(Handler, lambda: Handler(client))`, and a fake client in simulations"
)
PROCESS = (
    "another process has no seed. Put it behind an object that `bind` gives to the handler, and give it a fake one"
)
THREAD = (
    "the simulation cannot say when it runs. Use tasks of your own (`ctx.dispatch`) or coroutines for what goes on "
    "at the same time, or put it behind an object that `bind` gives to the handler, and give it a fake one"
)
SIGNAL = "a signal comes from outside. Handle signals in the program's main thread, and let handlers see only tasks"


class NotSimulated(EverActError):
    """User code in a simulation has called what the simulation does not control, and was stopped from it.

    Attributes:
        caller: The handler and its task, else the thread.
        call: What it called.
    """

    def __init__(self, call: str, instead: str) -> None:
        self.caller, self.call = caller(), call
        super().__init__(f"{self.caller} called {call} in a simulation; {instead}.")


class Refusals:
    """Who is told of every refusal, since the code that was refused may swallow the error."""

    def __init__(self) -> None:
        self._found: list[list[NotSimulated]] = []

    def collect(self, found: list[NotSimulated]) -> None:
        """Add what is refused from now on to a list."""
        self._found.append(found)

    def forget(self, found: list[NotSimulated]) -> None:
        """No more."""
        self._found = [each for each in self._found if each is not found]

    def refuse(self, call: str, instead: str) -> NoReturn:
        """Refuse a call.

        Raises:
            NotSimulated: Always.
        """
        error = NotSimulated(call, instead)
        for found in self._found:
            found.append(error)
        raise error


refusals = Refusals()


def caller() -> str:
    """Whose user code runs here, for people."""
    delivery = current_delivery.get()
    if delivery is None:
        return f"what runs on thread {threading.current_thread().name!r}"
    ticket = delivery.ticket
    return f"handler {ticket.pool.spec.name!r} (task {delivery.ctx.task_id}, attempt {delivery.ctx.attempt})"
