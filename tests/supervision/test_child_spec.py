"""What a child's spec makes of its end, and which specs have no meaning."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact import Actor, Backoff, ChildSpec, ConfigurationError, Directive, Restart

RESTART, STOP, RESUME, ESCALATE = Directive.RESTART, Directive.STOP, Directive.RESUME, Directive.ESCALATE
PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY


@pytest.mark.parametrize(
    ("restart", "after_a_stop", "after_a_failure"),
    [(PERMANENT, RESTART, RESTART), (TRANSIENT, STOP, RESTART), (TEMPORARY, STOP, STOP)],
    ids=lambda value: value.value,
)
def test_the_restart_type_says_what_follows_an_end(
    restart: Restart, after_a_stop: Directive, after_a_failure: Directive
) -> None:
    spec = ChildSpec(restart=restart)
    assert spec.judge(None) is after_a_stop
    assert spec.judge(ValueError()) is after_a_failure


@pytest.mark.parametrize(("restart", "directive"), list(itertools.product(Restart, (STOP, RESUME, ESCALATE))))
def test_a_named_directive_wins_over_the_restart_type(restart: Restart, directive: Directive) -> None:
    assert ChildSpec(restart=restart, on={KeyError: directive}).judge(KeyError()) is directive


def test_restart_as_a_named_directive_starts_no_temporary_child() -> None:
    assert ChildSpec(restart=TEMPORARY, on={KeyError: RESTART}).judge(KeyError()) is STOP


def test_a_stop_of_its_own_is_no_failure_whatever_is_named() -> None:
    assert ChildSpec(on={BaseException: ESCALATE}).judge(None) is RESTART


def test_the_nearest_base_class_counts_not_the_order_of_the_mapping() -> None:
    on: dict[type[BaseException], Directive] = {Exception: STOP, KeyError: RESUME, LookupError: ESCALATE}
    for mapping in (on, dict(reversed(on.items()))):
        spec = ChildSpec(on=mapping)
        answers = [spec.directive(error) for error in (KeyError(), IndexError(), ValueError(), SystemExit())]
        assert answers == [RESUME, ESCALATE, STOP, RESTART]


class Base(Exception):
    """At the top of the classes that are drawn."""


class Left(Base):
    """One way down."""


class Right(Base):
    """The other way."""


class Both(Left, Right):
    """Below both."""


@given(st.dictionaries(st.sampled_from([Base, Left, Right, Both, Exception]), st.sampled_from(Directive)))
def test_the_directive_is_that_of_the_first_class_in_the_order_of_resolution(
    on: dict[type[BaseException], Directive],
) -> None:
    for kind in (Base, Left, Right, Both):
        named = [on[base] for base in kind.__mro__ if base in on]
        assert ChildSpec(on=on).directive(kind()) is (named[0] if named else RESTART)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"factory": "Stock"}, "must be a class or function that makes the actor, not an actor"),
        ({"restart": "permanent"}, r"must be Restart\.PERMANENT, TRANSIENT or TEMPORARY"),
        ({"shutdown": -1}, r"shutdown=-1, start_timeout=30\.0 must be seconds from 0 on"),
        ({"shutdown": float("inf")}, "must be seconds from 0 on"),
        ({"start_timeout": float("nan")}, "start_timeout=nan must be seconds from 0 on"),
        ({"start_timeout": None}, "start_timeout=None must be seconds from 0 on"),
        ({"backoff": 0.5}, r"backoff=0\.5 must be a Backoff"),
        ({"on": {"KeyError": RESUME}}, "must lead from an exception class to a Directive"),
        ({"on": {int: RESUME}}, "must lead from an exception class to a Directive"),
        ({"on": {KeyError: "resume"}}, "must lead from an exception class to a Directive"),
        ({"name": ""}, "must be a non-empty string without '/'"),
        ({"name": "a/b"}, "must be a non-empty string without '/'"),
        ({"name": 7}, "must be a non-empty string without '/'"),
    ],
    ids=str,
)
def test_a_field_without_meaning_is_refused_with_what_it_must_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^ChildSpec: .*{told}"):
        ChildSpec(**options)


def test_an_actor_where_its_factory_belongs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not an actor"):
        ChildSpec(Actor())  # type: ignore[arg-type]


def test_the_defaults_are_those_of_the_docs() -> None:
    spec = ChildSpec()
    assert (spec.restart, spec.shutdown, spec.start_timeout) == (PERMANENT, 5.0, 30.0)
    assert spec.backoff == Backoff(0.05, most=30.0)
    assert dict(spec.on) == {}
