"""What an actor class may not say: it is refused with the class or its start, and never skipped in silence."""

from typing import Any

import pytest

from everact import Actor, ActorStartFailed, ActorSystem, ConfigurationError


@pytest.mark.parametrize(
    ("name", "value"),
    [("pinned", lambda self: True), ("pinned", "yes"), ("ask_timeout", lambda self: 3), ("ask_timeout", -1)],
)
def test_a_member_that_has_the_name_of_a_setting_is_refused_with_the_class(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"Chat\.{name}=.* everact reads it"):
        type("Chat", (Actor,), {name: value})


@pytest.mark.parametrize("hook", ["on_start", "on_stop", "on_failure"])
def test_an_async_hook_beside_a_sync_on_receive_is_refused_and_not_skipped(hook: str) -> None:
    async def never_awaited(*_: object) -> None: ...

    half: Any = type("Half", (Actor,), {hook: never_awaited})
    with pytest.raises(ConfigurationError, match=rf"Half\.{hook} is async and would never be awaited"):
        half.start()
    with ActorSystem() as system:
        with pytest.raises(ActorStartFailed, match="never be awaited"):
            system.spawn(half)
        assert system.state == "running"

    async def on_receive(_: Actor, message: object) -> object:
        return message

    kind: Any = type("Whole", (half,), {"on_receive": on_receive})
    whole = kind.start()
    assert whole.ask("fine") == "fine"
    whole.stop()
