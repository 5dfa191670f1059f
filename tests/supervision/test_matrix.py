"""The full matrix: restart type × how a child ends × strategy × edge of the intensity × depth in the tree.

Three children a, b, c; b ends. What must be written then, line by line, is worked out here from the rules of OTP, and
compared with what the actors write: who is stopped, in reverse, who is started, in order, how often, and what the
supervisor above makes of one too many.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from everact import (
    Actor,
    ActorDead,
    ActorSystem,
    Directive,
    Intensity,
    Restart,
    RestartsExhausted,
    Strategy,
    Supervisor,
    SystemNotRunning,
)
from everact.supervision.rounds import RoundPlayer
from everact.tasks.events import ChildFailed, SystemStopping
from tests.supervision.conftest import WAIT, Crash, Facts, Journal, at_once, until

ENDS = ("stops itself", "fails by a tell", "fails by an ask", "fails and fails to start again")
CHILDREN = ("a", "b", "c")
STARTED = ("start inner", "start a", "start b", "start c")


@dataclass(frozen=True)
class Case:
    """One place in the matrix."""

    restart: Restart
    end: str
    strategy: Strategy
    within: bool
    nested: bool

    def __str__(self) -> str:
        edge = "within" if self.within else "one too many"
        return f"{self.restart.value}, {self.end}, {self.strategy.value}, {edge}{', nested' if self.nested else ''}"

    @property
    def restarted(self) -> bool:
        """Whether b is started again, if the intensity allows it."""
        normal = self.end == "stops itself"
        return self.restart is Restart.PERMANENT or (self.restart is Restart.TRANSIENT and not normal)

    @property
    def counted(self) -> int:
        """How many restarts that takes."""
        return (2 if self.end == ENDS[-1] else 1) if self.restarted else 0

    @property
    def intensity(self) -> Intensity:
        allowed = self.counted if self.within else self.counted - 1
        return Intensity(max(allowed, 0), within=600)

    @property
    def gives_up(self) -> bool:
        return self.restarted and not self.within


def touched(strategy: Strategy, names: tuple[str, ...], failed: str) -> tuple[str, ...]:
    """Whom a restart takes along."""
    return {
        Strategy.ONE_FOR_ONE: (failed,),
        Strategy.ONE_FOR_ALL: names,
        Strategy.REST_FOR_ONE: names[names.index(failed) :],
    }[strategy]


def expected(case: Case) -> list[str]:
    """What is written after b ends."""
    goodbye = "stop b" if case.end == "stops itself" else "fail b"
    if not case.restarted:
        return [goodbye]
    lines, up = _end_of_b(case, goodbye)
    if case.gives_up and case.counted == 1:
        return [*lines, *_down("ca", up), *_inner_again(case)]
    lines += _down(_others_reversed(case), up) if case.end == "stops itself" else []
    group = touched(case.strategy, CHILDREN, "b")
    if case.end == ENDS[-1]:
        lines += [f"start {name}" for name in group if name < "b"] + ["no start b"]
        up |= {name for name in group if name < "b"}
        if case.gives_up:
            return [*lines, *_down("ca", up), *_inner_again(case)]
        lines += _down(_others_reversed(case), up)
    return [*lines, *(f"start {name}" for name in group)]


def _end_of_b(case: Case, goodbye: str) -> tuple[list[str], set[str]]:
    """The lines up to where all that a first round stops is down, and who is up then."""
    up = {"a", "c"}
    if case.end == "stops itself":
        return [goodbye], up  # it is down before its supervisor hears of that
    if case.gives_up and case.counted == 1:
        return [*_down("c", up), goodbye, *_down("a", up)], up  # all children, in reverse
    group = touched(case.strategy, CHILDREN, "b")
    later = _down("c" if "c" in group else "", up)
    return [*later, goodbye, *_down("a" if "a" in group else "", up)], up


def _others_reversed(case: Case) -> str:
    return "".join(name for name in reversed(touched(case.strategy, CHILDREN, "b")) if name != "b")


def _down(names: str, up: set[str]) -> list[str]:
    lines = [f"stop {name}" for name in names if name in up]
    up -= set(names)
    return lines


def _inner_again(case: Case) -> list[str]:
    """What the supervisor above does when this one has given up."""
    if not case.nested:
        return ["fail inner", *STARTED]
    group = touched(case.strategy, ("left", "inner", "right"), "inner")
    lines = [f"{'fail' if name == 'inner' else 'stop'} {name}" for name in reversed(group)]
    return lines + [line for name in group for line in (STARTED if name == "inner" else [f"start {name}"])]


class Inner(Supervisor):
    """The one that has the three children."""

    def __init__(self, journal: Journal, case: Case) -> None:
        middle = at_once(journal.part("b"), "b", restart=case.restart)
        children = [at_once(journal.part("a"), "a"), middle, at_once(journal.part("c"), "c")]
        super().__init__(children, strategy=case.strategy, intensity=case.intensity)
        self.journal = journal

    def on_start(self) -> None:
        self.journal.refs["inner"] = self.actor_ref
        self.journal.write("start inner")

    def on_stop(self) -> None:
        self.journal.write("stop inner")

    def on_failure(self, *_: object) -> None:
        self.journal.write("fail inner")


def tree(case: Case, journal: Journal, tolerated: int = 1) -> Callable[[], Actor]:
    """A factory of the tree that is spawned."""
    inner = lambda: Inner(journal, case)  # noqa: E731 - a factory like its neighbours
    if not case.nested:
        return inner
    specs = [at_once(journal.part("left"), "left"), at_once(inner, "inner"), at_once(journal.part("right"), "right")]
    return lambda: Supervisor(specs, strategy=case.strategy, intensity=Intensity(tolerated, within=600))


def first_lines(case: Case) -> list[str]:
    return ["start left", *STARTED, "start right"] if case.nested else list(STARTED)


def end_b(case: Case, journal: Journal) -> None:
    """Have b end as the case says."""
    b = journal.refs["b"]
    if case.end == "stops itself":
        b.tell("stop")
    elif case.end == "fails by an ask":
        with pytest.raises(Crash):
            b.ask("crash", timeout=WAIT)
    else:
        journal.failing_starts["b"] = case.end == ENDS[-1]
        b.tell("crash")


def play(case: Case, system: ActorSystem, journal: Journal) -> None:
    """Build the tree, have b end, and compare what is written with what must be."""
    system.spawn(tree(case, journal), name="spawned", spec=at_once())
    begun = first_lines(case)
    journal.wait_for(*begun)
    before = dict(journal.refs)
    end_b(case, journal)
    lines = [*begun, *expected(case)]
    journal.wait_for(*lines)
    _check_addresses(case, journal, before)
    _check_generations(case, system, lines)
    assert journal.lines == lines
    system.stop()
    journal.wait_for(*lines, *_last_lines(case))


def _check_addresses(case: Case, journal: Journal, before: dict[str, Any]) -> None:
    """Whoever is up has the address that it had; its messages come to the new instance."""
    gone = set() if case.restarted else {"b"}
    if gone:
        until(lambda: not before["b"].is_alive())
        with pytest.raises(ActorDead):
            before["b"].tell("hello")
    for name in {*CHILDREN, *(("left", "right") if case.nested else ())} - gone:
        assert before[name].ask("hello", block=True, timeout=WAIT)[-1] == "hello"
        assert journal.refs[name] is before[name]
    assert journal.refs["inner"] is before["inner"]


def _check_generations(case: Case, system: ActorSystem, lines: list[str]) -> None:
    """There have been as many instances of each as it was started, failed starts included."""
    if not case.restarted:
        until(lambda: "b" not in {info.name for info in system.actors()})  # its supervisor has to hear of its end
    up = {*CHILDREN, "inner" if case.nested else "spawned"} - (set() if case.restarted else {"b"})
    until(lambda: {info.name for info in system.actors() if info.state == "running"} >= up)
    infos = {info.name: info for info in system.actors()}
    assert ("b" in infos) is case.restarted
    for name in up:
        line = "inner" if name == "spawned" else name
        assert infos[name].generation == lines.count(f"start {line}") + lines.count(f"no start {line}")


def _last_lines(case: Case) -> list[str]:
    inner = [f"stop {name}" for name in ("c", "b", "a", "inner") if name != "b" or case.restarted]
    return ["stop right", *inner, "stop left"] if case.nested else inner


CASES = [Case(*place) for place in itertools.product(Restart, ENDS, Strategy, (True, False), (False, True))]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_end_has_the_consequences_that_restart_type_strategy_and_intensity_say(
    case: Case, system: ActorSystem, journal: Journal
) -> None:
    play(case, system, journal)


# -- one too many all the way up ---------------------------------------------------------------------------------


@pytest.fixture
def unstopped() -> Iterator[ActorSystem]:
    running = ActorSystem("tree")
    running.start()
    yield running
    running.stop()


FATAL = [case for case in CASES if case.gives_up]


@pytest.mark.parametrize("case", FATAL, ids=str)
def test_one_too_many_on_every_level_stops_the_system_which_says_why(
    case: Case, unstopped: ActorSystem, journal: Journal
) -> None:
    facts = Facts(unstopped)
    escalate = at_once(on={RestartsExhausted: Directive.ESCALATE})
    unstopped.spawn(tree(case, journal, tolerated=0), name="spawned", spec=escalate)
    journal.wait_for(*first_lines(case))
    end_b(case, journal)
    stopping = facts.next(SystemStopping)
    until(lambda: unstopped.state == "stopped")
    cause = unstopped.stop_cause
    assert isinstance(cause, RestartsExhausted)
    assert str(cause) in stopping.cause
    levels = [cause.supervisor]
    if case.nested:
        assert isinstance(cause.__cause__, RestartsExhausted)
        levels.append(cause.__cause__.supervisor)
        cause = cause.__cause__
    assert levels == (["tree/user/spawned", "tree/user/spawned/inner"] if case.nested else ["tree/user/spawned"])
    root = cause.__cause__
    assert root is None if case.end == "stops itself" else isinstance(root, Crash)
    with pytest.raises(SystemNotRunning, match="RestartsExhausted"):
        unstopped.spawn(journal.part("late"))
    assert not any(ref.is_alive() for ref in journal.refs.values())


def test_four_failures_of_one_actor_in_a_minute_stop_a_system_that_says_nothing_else(
    unstopped: ActorSystem, journal: Journal
) -> None:
    facts = Facts(unstopped)
    ref = unstopped.spawn(journal.part("a"), name="a", spec=at_once())
    for _ in range(4):
        ref.tell("crash")
    decisions = [facts.next(ChildFailed).decision for _ in range(4)]
    assert decisions == ["restart in 0 s"] * 3 + ["give up"]
    assert "tree/user/a failed" in facts.next(SystemStopping).cause
    until(lambda: unstopped.state == "stopped")
    assert isinstance(unstopped.stop_cause, RestartsExhausted)


# -- is the model itself right, and would the matrix notice? -----------------------------------------------------


def test_the_model_says_what_one_would_write_by_hand() -> None:
    rest = Case(Restart.TRANSIENT, ENDS[-1], Strategy.REST_FOR_ONE, within=True, nested=True)
    assert expected(rest) == ["stop c", "fail b", "no start b", "start b", "start c"]
    every = Case(Restart.PERMANENT, ENDS[0], Strategy.ONE_FOR_ALL, within=False, nested=True)
    assert expected(every) == [
        *("stop b", "stop c", "stop a"),
        *("stop right", "fail inner", "stop left"),
        *("start left", "start inner", "start a", "start b", "start c", "start right"),
    ]
    one = Case(Restart.PERMANENT, ENDS[1], Strategy.ONE_FOR_ONE, within=True, nested=False)
    assert expected(one) == ["fail b", "start b"]
    last = Case(Restart.TRANSIENT, ENDS[-1], Strategy.ONE_FOR_ONE, within=False, nested=False)
    assert expected(last) == ["fail b", "no start b", "stop c", "stop a", "fail inner", *STARTED]
    gone = Case(Restart.TEMPORARY, ENDS[1], Strategy.ONE_FOR_ALL, within=False, nested=False)
    assert expected(gone) == ["fail b"]


def _one_more(self: Intensity, now: float, history: tuple[float, ...]) -> tuple[float, ...] | None:
    return (now, *history) if self.restarts is None or len(history) <= self.restarts else None


def _only_the_failed(self: Strategy, names: Any, failed: str) -> tuple[str, ...]:
    return (failed,)


def _in_list_order(self: Any, playing: Any, play: Any = RoundPlayer._play) -> None:
    playing.stopping.reverse()
    play(self, playing)


PLANTED: dict[str, tuple[Any, str, Any, Case]] = {
    "the intensity allows one more": (
        Intensity,
        "admit",
        _one_more,
        Case(Restart.PERMANENT, ENDS[1], Strategy.ONE_FOR_ONE, within=False, nested=False),
    ),
    "siblings are not taken along": (
        Strategy,
        "group",
        _only_the_failed,
        Case(Restart.PERMANENT, ENDS[1], Strategy.ONE_FOR_ALL, within=True, nested=False),
    ),
    "children are stopped in the order of the list": (
        RoundPlayer,
        "_play",
        _in_list_order,
        Case(Restart.PERMANENT, ENDS[1], Strategy.ONE_FOR_ALL, within=True, nested=False),
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_positive_control_the_matrix_reports_a_planted_bug(
    bug: str, system: ActorSystem, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, name, planted, case = PLANTED[bug]
    monkeypatch.setattr(where, name, planted)
    with pytest.raises(AssertionError):
        play(case, system, journal)
