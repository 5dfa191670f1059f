"""What must be true of a workflow that has ended, read off its diary; not off what the engine says about itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from everact import WorkflowState
from everact.storage.changes import Answer
from everact.tasks import status
from undoing.plans import Plan
from undoing.world import Line, World, Wrong


class Audit:
    """Reads the diary of a workflow that has ended."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._diary = list(enumerate(world.diary))
        self.state = world.system.workflow(world.ROOT).state
        self._ended: dict[int, int] = {}
        self._status: dict[int, int] = {}
        for i, line in self._all("ends"):
            self._ended[line.n], self._status[line.n] = i, line.more
        self._moves = [(i, line.more) for i, line in self._all("moves")]
        self._begun = {line.n for _, line in self._all("begins")}
        self.pivoted = self._pivoted()

    def _all(self, *what: str) -> list[tuple[int, Line]]:
        return [(i, line) for i, line in self._diary if line.what in what]

    def _state_at(self, i: int) -> WorkflowState:
        return next((state for j, state in reversed(self._moves) if j < i), WorkflowState.RUNNING)

    def _pivoted(self) -> int | None:
        """When the pivot completed, if it was not too late."""
        ends = [i for n, i in self._ended.items() if self._pivot(n) and self._status[n] == status.COMPLETED]
        return next((i for i in ends if self._state_at(i) is WorkflowState.RUNNING), None)

    def _pivot(self, n: int) -> bool:
        return n >= 0 and self._world.doing[n].pivot

    def check(self) -> None:
        self.check_on_the_way()
        self.each_completed_step_is_undone_if_and_only_if_it_ends_compensated()
        self.it_ends_as_its_steps_ended()

    def check_on_the_way(self) -> None:
        """What must be true of a workflow that has not ended, too."""
        for _, line in self._all("miscounts", "forgets"):
            raise Wrong(f"it {line.what}: {line.more}")
        self.no_step_is_undone_before_its_outcome_is_known()
        self.steps_are_undone_one_at_a_time_the_last_one_first()
        self.nothing_is_undone_after_the_pivot()
        self.a_failed_undo_holds_the_others_until_it_is_resumed()
        self.no_step_starts_once_the_workflow_is_being_undone()

    def _owed(self, n: int) -> set[str]:
        """The undos of a step that has had its effect, or may have."""
        hows = set(self._world.doing[n].undo)
        if self._status.get(n) == status.COMPLETED:
            return hows
        owed: set[str] = set()
        for lost in self._uncertain_attempts(n):
            owed |= hows - {"promise"} if lost else hows
        return owed

    def _uncertain_attempts(self, n: int) -> Iterator[bool]:
        """For each attempt of which nobody knows what it did: whether its node died during it."""
        open_since: int | None = None
        for i, line in self._diary:
            if line.what == "crash" and open_since is not None:
                yield True
                open_since = None
            elif line.n == n and line.what == "begins":
                if open_since is not None:
                    yield False
                open_since = i
            elif line.n == n and line.what == "raises" and not line.more:
                open_since = None
            elif line.n == n and line.what == "ends" and open_since is not None:
                yield False
                open_since = None

    def _undone(self, n: int) -> set[str]:
        return {line.more[0] for i, line in self._all("undone") if line.n == n and i > self._ended[n]}

    def each_completed_step_is_undone_if_and_only_if_it_ends_compensated(self) -> None:
        if self.state is not WorkflowState.COMPENSATED:
            if undone := self._all("undo begins"):
                raise Wrong(f"it ended {self.state}, and was undone: {undone}")
            return
        for n in self._ended:
            if n >= 0 and (left := self._owed(n) - self._undone(n)):
                raise Wrong(f"step {n} was not undone: {left}")

    def no_step_is_undone_before_its_outcome_is_known(self) -> None:
        for i, line in self._all("undo begins"):
            if i < self._ended.get(line.n, i + 1):
                raise Wrong(f"step {line.n} was undone before its outcome was known")
            if line.n not in self._begun and not self._all("crash"):
                raise Wrong(f"step {line.n} was undone, and had never begun")

    def steps_are_undone_one_at_a_time_the_last_one_first(self) -> None:
        last: Line | None = None
        for _, line in self._all("undo begins", "undo ends"):
            if line.what == "undo ends":
                last = None if line.more == status.COMPLETED else last
                position = self._ended[line.n]
            elif last is not None and (last.n, last.more) != (line.n, line.more):
                raise Wrong(f"the undos of {last.n} and {line.n} overlap")
            elif (last := line) and self._ended[line.n] > locals().get("position", len(self._diary)):
                raise Wrong(f"the undo of step {line.n} came after that of an older one")

    def nothing_is_undone_after_the_pivot(self) -> None:
        after = [line for i, line in self._all("undo begins") if self.pivoted is not None and i > self.pivoted]
        if after:
            raise Wrong(f"undone after the pivot: {after}")

    def a_failed_undo_holds_the_others_until_it_is_resumed(self) -> None:
        for i, line in self._all("undo ends"):
            if line.more != status.COMPLETED and self._state_at(i + 2) is not WorkflowState.STUCK:
                raise Wrong(f"the undo of step {line.n} failed, and the workflow is not stuck")
        resumed = False
        for i, line in self._all("undo begins", "resumed", "moves"):
            resumed = line.what == "resumed" or (resumed and line.what != "moves")
            if line.what == "undo begins" and self._state_at(i) is WorkflowState.STUCK and not resumed:
                raise Wrong(f"step {line.n} was undone while the workflow was stuck")

    def no_step_starts_once_the_workflow_is_being_undone(self) -> None:
        """But for one that starts while that is written, or while it is written that it is to stop: it is told then."""
        for i, line in self._all("begins"):
            began = [move for j, move in self._all("moves") if j < i and move.more is WorkflowState.COMPENSATING]
            before = [other for j, other in self._all("told to stop") if j < i and other.n == line.n]
            told = any((other.node, other.at) != (line.node, line.at) for other in before)
            if self.pivoted is None and began and (told or line.node != began[0].node or line.at > began[0].at):
                raise Wrong(f"step {line.n} started when the workflow was being undone")

    def it_ends_as_its_steps_ended(self) -> None:
        if self.pivoted is not None:
            expected = {WorkflowState.COMPLETED, WorkflowState.FAILED}
        elif any(self._owed(n) for n in self._ended if n >= 0) and self._triggered():
            expected = {WorkflowState.COMPENSATED}
        elif self._triggered():
            expected = {WorkflowState.FAILED, WorkflowState.CANCELLED, WorkflowState.COMPENSATED}
        else:
            expected = {WorkflowState.COMPLETED}
        if self.state not in expected:
            raise Wrong(f"it ended {self.state}, not {expected}")

    def _triggered(self) -> bool:
        broken = (status.FAILED, status.QUARANTINED)
        doing = {n: self._world.doing[n] for n in self._ended if n >= 0}
        failed = any(each.critical and self._status[n] in broken for n, each in doing.items())
        aborted = any(each.ends == "aborts" and self._status[n] == status.COMPLETED for n, each in doing.items())
        return failed or aborted or any(line.more is Answer.DONE for _, line in self._all("order cancel"))


def play(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(plan, Path(folder))
        try:
            world.play()
            Audit(world).check()
            world.system.stop(5.0)
        except Wrong:
            Audit(world).check_on_the_way()  # it says more than that the workflow has not ended
            raise
        finally:
            world.end()
