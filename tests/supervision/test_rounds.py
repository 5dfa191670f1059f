"""How a supervisor waits: it has the timer call it, and never more often than it has something to wait for."""

import threading
from typing import Any

from everact import Actor, ActorSystem, Backoff, ChildSpec, Intensity, Supervisor

FAILURES = 60


class Startless(Actor):
    """Starts once, and never again."""

    starts = 0
    often_enough = threading.Event()

    def on_start(self) -> None:
        type(self).starts += 1
        if self.starts > FAILURES:
            self.often_enough.set()
        if self.starts > 1:
            msg = "it does not start any more"
            raise RuntimeError(msg)

    def on_receive(self, message: Any) -> None:
        raise ValueError(message)


def test_a_child_that_fails_for_ever_costs_no_more_calls_of_the_timer_each_time() -> None:
    spec = ChildSpec(backoff=Backoff(0.01, most=0.01, jitter=0), shutdown=0.005, start_timeout=0.015)
    with ActorSystem() as system:
        top = system.spawn(lambda: Supervisor(intensity=Intensity(None)))
        system.spawn(Startless, spec=spec, under=top).tell("fail")
        assert Startless.often_enough.wait(60)
        pending = list(system._running().node.timer._calls)
    assert len(pending) < FAILURES / 4
