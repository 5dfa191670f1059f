"""The flag that says whether an actor has ended: what programs do with pykka's event, they can do with it."""

from __future__ import annotations

import threading
from typing import Any

from everact.actors.stop_flag import StopFlag

WAIT = 10.0


def test_it_is_set_when_the_actor_has_ended_and_tells_who_waits(base: Any) -> None:
    class Brief(base):
        pass

    ref = Brief.start()
    flag = ref.actor_stopped
    assert not flag.is_set()
    assert flag.wait(0.01) is False
    ref.stop()
    assert flag.is_set()
    assert flag.wait(WAIT) is True
    assert flag is ref.actor_stopped


def test_setting_it_lets_go_whoever_waits() -> None:
    flag = StopFlag()
    waited: list[bool] = []
    thread = threading.Thread(target=lambda: waited.append(flag.wait(WAIT)))
    thread.start()
    flag.set()
    thread.join()
    assert waited == [True]
    flag.set()
    assert flag.wait() is True
