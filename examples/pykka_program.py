"""A program as pykka users write them. Its base class comes from one line; with pykka's it prints the same.

Four scenes: an actor that handles messages, one that is used through a proxy, actors that work together, and a pool
of workers whose results are gathered.
"""

from typing import Any

import pykka

from everact import Actor  # until now: from pykka import ThreadingActor as Actor


class GuestBook(Actor):
    """Handles messages itself."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.entries: list[str] = []

    def on_receive(self, message: Any) -> Any:
        if message == "how many?":
            return len(self.entries)
        if not isinstance(message, str):
            msg = f"{message!r} is no entry"
            raise TypeError(msg)
        self.entries.append(message)
        return None

    def on_stop(self) -> None:
        print(f"{self.title} closes with {self.entries}")


class Oven(Actor):
    """Is used through a proxy: every call and field is a future."""

    unit = "degrees"

    def __init__(self) -> None:
        super().__init__()
        self.target = 0
        self._later = self.actor_ref.proxy()  # work that it puts off, behind what waits already
        self.steps: list[int] = []

    def heat(self, degrees: int) -> None:
        self.target += degrees
        self.steps.append(self.target)
        if self.target < 180:
            self._later.heat(60)

    def report(self) -> str:
        return f"{self.target} {self.unit}"


class Stock(Actor):
    """Is asked by tills."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def take(self, number: int) -> int:
        taken = min(number, self.pieces)
        self.pieces -= taken
        return taken


class Till(Actor):
    """Works together with another actor, whose proxy it was given."""

    def __init__(self, stock: pykka.ActorProxy[Stock]) -> None:
        super().__init__()
        self.stock = stock

    def sell(self, number: int) -> str:
        taken = self.stock.take(number).get()
        return f"sold {taken} of {number}"


class Counter(Actor):
    """A worker of a pool."""

    def count(self, text: str) -> int:
        return len(text.split())


def messages() -> None:
    book = GuestBook.start("The guest book")
    book.tell("Ada was here")
    book.tell("so was Bob")
    print("entries:", book.ask("how many?"))
    try:
        book.ask(42)
    except TypeError as error:
        print("refused:", error)
    print("stopped:", book.stop(), book.is_alive())
    try:
        book.tell("too late")
    except pykka.ActorDeadError:
        print("nobody is there any more")


def proxies() -> None:
    oven = Oven.start().proxy()
    oven.heat(60)
    while oven.target.get() < 180:
        pass
    print("the oven has", oven.report().get(), "in steps", oven.steps.get())
    oven.target = 20
    print("set to", oven.report().get())
    print("in Kelvin:", oven.target.map(lambda degrees: degrees + 273).get())


def cooperation() -> None:
    stock = Stock.start(pieces=5).proxy()
    tills = [Till.start(stock).proxy() for _ in range(2)]
    for till, number in zip(tills, (3, 4), strict=True):
        print(till.sell(number).get())
    print("left:", stock.pieces.get())


def pool() -> None:
    workers = [Counter.start().proxy() for _ in range(3)]
    texts = ["one", "one two", "one two three", "", "five words are in here", "two words"]
    counts = [workers[number % len(workers)].count(text) for number, text in enumerate(texts)]
    print("words:", pykka.get_all(counts), "in all", counts[0].join(*counts[1:]).map(sum).get())


if __name__ == "__main__":
    messages()
    proxies()
    cooperation()
    pool()
    print("actors that are left:", sorted(ref.actor_class.__name__ for ref in pykka.ActorRegistry.get_all()))
    print("all stopped:", all(pykka.ActorRegistry.stop_all()))
