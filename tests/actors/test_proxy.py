"""Proxies: what pykka's documentation says holds for both base classes; what is ours follows it."""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import Mock, PropertyMock

import pykka
import pytest

import everact
from everact import Actor, ActorDead, ActorSystem, AskCycle, Backoff, ChildSpec

WAIT = 10.0


class Speaker:
    """Part of an actor; marked where it is used."""

    def __init__(self, volume: int = 5) -> None:
        self.volume = volume

    def louder(self) -> int:
        self.volume += 1
        return self.volume


@pykka.traversable
class Marked(Speaker):
    """Its instances are traversable."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = pykka.traversable(Speaker(50))
        self.plain = Speaker(500)


class OldStyle(Speaker):
    pykka_traversable = True


def make_radio(base: Any) -> Any:  # noqa: C901 - many short methods
    """An actor class with everything that a proxy can lead to."""

    class Radio(base):
        station = "BBC"
        speaker = Marked()
        old_speaker = OldStyle(10)
        unmarked = Speaker()

        def __init__(self) -> None:
            super().__init__()
            self.count = 0
            self._secret = "kept"
            self.headphones = pykka.traversable(Speaker(1))
            self.reads = 0

        def __len__(self) -> int:
            return 0  # an actor may be empty, and is there all the same

        @property
        def loudness(self) -> int:
            self.reads += 1
            return self.count * 10

        @loudness.setter
        def loudness(self, value: int) -> None:
            self.count = value // 10

        @property
        def fixed(self) -> int:
            return 1

        @property
        def late_speaker(self) -> Any:
            return Marked()

        @staticmethod
        def plus(a: int, b: int) -> int:
            return a + b

        @classmethod
        def band(cls) -> str:
            return cls.__name__

        def add(self, number: int = 1, *, times: int = 1) -> int:
            self.count += number * times
            return int(self.count)

        def fail(self) -> None:
            msg = "no reception"
            raise ValueError(msg)

        def thread(self) -> str:
            return threading.current_thread().name

        def grow(self) -> None:
            self.grown = "a field of later"
            self.shout = lambda: "a method of later"

        def _hidden(self) -> None:
            """Private."""

    return Radio


@pytest.fixture
def ref(base: Any) -> Any:
    """The reference of a running actor."""
    return make_radio(base).start()


@pytest.fixture
def proxy(ref: Any) -> Any:
    """Its proxy."""
    return ref.proxy()


# Methods


def test_a_method_returns_a_future_of_its_result(proxy: Any) -> None:
    future = proxy.add(2, times=3)
    assert isinstance(future, pykka.Future)
    assert future.get() == 6


def test_a_method_runs_in_the_actors_thread_in_the_order_of_the_calls(proxy: Any) -> None:
    assert proxy.thread().get().startswith("Radio-")
    for _ in range(10):
        proxy.add()
    assert proxy.count.get() == 10


def test_what_a_method_raises_is_raised_by_the_future_and_the_actor_goes_on(proxy: Any) -> None:
    with pytest.raises(ValueError, match="no reception"):
        proxy.fail().get()
    assert proxy.add().get() == 1


def test_a_deferred_call_returns_nothing_and_is_done(proxy: Any) -> None:
    assert proxy.add.defer(5) is None
    assert proxy.count.get() == 5


def test_a_deferred_call_that_raises_is_a_failure_of_the_actor(ref: Any) -> None:
    ref.proxy().fail.defer()
    assert ref.actor_stopped.wait(WAIT)


def test_a_method_that_is_not_called_is_a_callable_proxy(proxy: Any) -> None:
    assert isinstance(proxy.add, pykka.CallableProxy)
    assert proxy.add is proxy.add


def test_a_static_method_is_a_method(proxy: Any) -> None:
    assert proxy.plus(1, 2).get() == 3


def test_a_class_method_is_read_as_a_field_and_called_where_it_is_got(proxy: Any) -> None:
    assert proxy.band.get()() == "Radio"


def test_a_method_of_the_actor_itself_can_be_called(ref: Any) -> None:
    ref.proxy().stop().get()
    assert ref.actor_stopped.wait(WAIT)


def test_a_method_that_was_added_later_can_be_called(proxy: Any) -> None:
    with pytest.raises(AttributeError):
        _ = proxy.shout
    proxy.grow().get()
    assert proxy.shout().get() == "a method of later"


# Fields


def test_a_field_is_a_future_of_its_value_whether_the_class_has_it_or_the_instance(proxy: Any) -> None:
    assert (proxy.station.get(), proxy.count.get()) == ("BBC", 0)


def test_a_field_that_was_added_later_can_be_read(proxy: Any) -> None:
    proxy.grow().get()
    assert proxy.grown.get() == "a field of later"


def test_a_field_that_is_set_has_its_value_when_that_returns(ref: Any, proxy: Any) -> None:
    proxy.count = 7
    assert ref._actor_weakref().count == 7
    proxy.station = "RTL"
    assert proxy.station.get() == "RTL"
    assert type(ref._actor_weakref()).station == "BBC"
    proxy.brand_new = 1
    assert proxy.brand_new.get() == 1


def test_a_property_is_read_and_set_in_the_actor(proxy: Any) -> None:
    proxy.loudness = 30
    assert proxy.count.get() == 3
    assert proxy.loudness.get() == 30


def test_a_property_without_a_setter_cannot_be_set(proxy: Any) -> None:
    with pytest.raises(AttributeError):
        proxy.fixed = 2


def test_nothing_is_evaluated_when_a_proxy_is_made(ref: Any) -> None:
    proxy = ref.proxy()
    assert proxy.reads.get() == 0
    proxy.loudness.get()
    assert proxy.reads.get() == 1


@pytest.mark.parametrize("name", ["_secret", "_hidden", "__secret", "nothing"])
def test_what_is_private_or_not_there_raises_where_it_is_written(proxy: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=f"<ActorProxy for Radio .*has no attribute '{name}'"):
        getattr(proxy, name)


# Traversable attributes


def test_a_traversable_attribute_leads_to_its_own_methods_and_fields(proxy: Any) -> None:
    assert isinstance(proxy.speaker, pykka.ActorProxy)
    for part in (proxy.speaker, proxy.old_speaker, proxy.headphones):
        before = part.volume.get()
        assert part.louder().get() == before + 1
        part.volume = before
        assert part.volume.get() == before


def test_traversable_attributes_lead_on_to_others(proxy: Any) -> None:
    assert proxy.speaker.inner.volume.get() == 50
    assert proxy.speaker.inner.louder().get() == 51
    proxy.speaker.inner.volume = 50


def test_an_attribute_that_is_not_marked_is_returned_as_it_is(proxy: Any) -> None:
    assert proxy.unmarked.get().volume == 5
    assert proxy.speaker.plain.get().volume == 500
    with pytest.raises(AttributeError):
        _ = proxy.unmarked.volume


def test_what_a_property_returns_is_not_traversed(proxy: Any) -> None:
    assert isinstance(proxy.late_speaker, pykka.Future)


def test_a_traversable_attribute_hides_what_is_private(proxy: Any) -> None:
    with pytest.raises(AttributeError):
        _ = proxy.speaker._pykka_traversable


# The proxy itself


def test_dir_lists_what_the_actor_shows(proxy: Any) -> None:
    assert {"add", "station", "count", "loudness", "actor_ref", "stop"} <= set(dir(proxy))
    assert "_secret" not in dir(proxy)


def test_its_repr_names_the_actor_and_the_path(ref: Any, proxy: Any) -> None:
    assert repr(proxy) == f"<ActorProxy for {ref}, attr_path=()>"
    assert repr(proxy.speaker) == f"<ActorProxy for {ref}, attr_path=('speaker',)>"


def test_proxies_of_one_actor_and_path_are_equal_and_can_be_keys(base: Any, ref: Any) -> None:
    assert ref.proxy() == ref.proxy()
    assert hash(ref.proxy()) == hash(ref.proxy())
    assert ref.proxy() != ref.proxy().speaker
    assert ref.proxy() != make_radio(base).start().proxy()
    assert ref.proxy() != "a proxy"


def test_the_reference_is_there_also_when_the_actor_has_ended(ref: Any, proxy: Any) -> None:
    ref.stop()
    assert proxy.actor_ref is ref


def test_an_actor_that_has_ended_gets_no_proxy(ref: Any) -> None:
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()
    with pytest.raises(pykka.ActorDeadError):
        pykka.ActorProxy(actor_ref=ref)


def test_a_proxy_of_an_actor_that_has_ended_says_so_through_its_futures(ref: Any, proxy: Any) -> None:
    parts = (proxy.speaker, proxy.headphones)
    assert all(part.volume.get() for part in parts)
    ref.stop()
    futures = [proxy.add(), proxy.count, proxy.station, proxy.loudness]
    futures += [part.louder() for part in parts] + [part.volume for part in parts]
    for future in futures:
        with pytest.raises(pykka.ActorDeadError):
            future.get()
    with pytest.raises(pykka.ActorDeadError):
        proxy.add.defer()
    with pytest.raises(pykka.ActorDeadError):
        proxy.count = 1


def test_pykkas_own_proxy_works_on_either_reference(ref: Any) -> None:
    stock: Any = pykka.ActorProxy(actor_ref=ref)
    stock.count = 4
    assert (stock.add().get(), stock.count.get(), stock.speaker.inner.volume.get()) == (5, 5, 50)


# An actor and its own proxy


def test_an_actor_puts_work_off_through_a_proxy_for_itself(base: Any, gate: Any) -> None:
    seen: list[str] = []

    class Planner(base):
        def __init__(self) -> None:
            super().__init__()
            self._in_future = self.actor_ref.proxy()

        def work(self) -> None:
            self._in_future.more_work()
            self._in_future.more_work.defer()
            gate.pass_through()
            seen.append("work")

        def more_work(self) -> None:
            seen.append("more work")

        def other(self) -> None:
            seen.append("other")

    proxy = Planner.start().proxy()
    work = proxy.work()
    gate.set()
    work.get()
    proxy.other().get()
    assert seen == ["work", "more work", "more work", "other"]


def test_a_public_proxy_for_itself_is_hidden_with_a_warning(base: Any, logs: pytest.LogCaptureFixture) -> None:
    class Mirror(base):
        def __init__(self) -> None:
            super().__init__()
            self.me = self.actor_ref.proxy()

    proxy = Mirror.start().proxy()
    with pytest.raises(AttributeError, match="has no attribute 'me'"):
        _ = proxy.me
    warnings = [record.getMessage() for record in logs.records if record.levelname == "WARNING"]
    assert any("proxy to itself" in warning and "'_me'" in warning for warning in warnings)


def test_proxies_of_other_actors_are_ordinary_attributes(base: Any) -> None:
    class Owner(base):
        def __init__(self, radio: Any) -> None:
            super().__init__()
            self.radio = radio

        def add(self) -> int:
            return int(self.radio.add().get())

    owner = Owner.start(make_radio(base).start().proxy()).proxy()
    assert owner.add().get() == 1
    assert owner.radio.get().count.get() == 1


# Mocks, as in pykka's guide to testing


def test_a_collaborator_may_be_a_mock(base: Any) -> None:
    class Producer(base):
        def __init__(self, consumer: Any) -> None:
            super().__init__()
            self.consumer = consumer

        def produce(self) -> None:
            self.consumer.consume({"item": 1})

    consumer = Mock()
    Producer.start(consumer).proxy().produce().get()
    consumer.consume.assert_called_once_with({"item": 1})


def test_a_method_may_be_mocked(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    radio = make_radio(base)
    monkeypatch.setattr(radio, "add", Mock(return_value="mocked"))
    assert radio.start().proxy().add(1).get() == "mocked"


def test_a_mocked_property_is_taken_for_what_it_is_a_callable(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    radio = make_radio(base)
    monkeypatch.setattr(radio, "loudness", PropertyMock(return_value=11))
    assert isinstance(radio.start().proxy().loudness, pykka.CallableProxy)


# What is ours, and not pykka's


def test_the_proxy_and_its_parts_are_everacts_and_pykkas() -> None:
    proxy: Any = make_radio(Actor).start().proxy()
    assert isinstance(proxy, everact.ActorProxy)
    assert isinstance(proxy, pykka.ActorProxy)
    assert isinstance(proxy.speaker, everact.ActorProxy)
    assert isinstance(proxy.add(), everact.Future)


def test_an_actor_that_waits_for_itself_through_its_proxy_is_told_so() -> None:
    class Impatient(Actor):
        def __init__(self) -> None:
            super().__init__()
            self._me: Any = self.actor_ref.proxy()
            self.field = 1

        def read(self) -> Any:
            return self._me.field.get()

        def write(self) -> None:
            self._me.field = 2

    proxy: Any = Impatient.start().proxy()
    for call in (proxy.read, proxy.write):
        with pytest.raises(AskCycle):
            call().get(timeout=WAIT)


def test_a_proxy_outlives_restarts_of_its_actor(gate: Any) -> None:
    restarting, again = threading.Event(), threading.Event()
    generations: list[int] = []

    class Fragile(make_radio(Actor)):  # type: ignore[misc]
        def on_start(self) -> None:
            generations.append(1)
            if len(generations) == 2:
                again.set()

        def on_failure(self, *_: Any) -> None:
            restarting.set()

    spec = ChildSpec(backoff=Backoff(0.2))
    with ActorSystem() as system:
        proxy: Any = system.spawn(Fragile, spec=spec).proxy()
        parts = (proxy.speaker, proxy.headphones)
        assert [part.volume.get() for part in parts] == [5, 1]
        proxy.count = 5
        proxy.headphones.volume = 9
        proxy.fail.defer()
        assert restarting.wait(WAIT)
        # There is no instance now, or a fresh one; calls wait, and are answered by the next.
        later = [proxy.add(), proxy.count, proxy.station, proxy.headphones.louder(), proxy.headphones.volume]
        assert [future.get(timeout=WAIT) for future in later] == [1, 1, "BBC", 2, 2]
        assert again.is_set()


def test_a_name_that_nobody_knows_is_told_by_the_future_while_there_is_no_instance() -> None:
    proxy: Any = make_radio(Actor).start().proxy()
    proxy.actor_ref.stop()
    with pytest.raises(ActorDead):
        proxy.nothing.get()
    with pytest.raises(AttributeError):
        _ = proxy._private
