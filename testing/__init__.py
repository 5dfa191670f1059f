"""What users test their own application with: simulations in which chance, time and faults are in their hands.

    from everact.testing import Faults, Simulation, at, attempt, simulate

`Simulation` runs handlers on real systems under a seeded scheduler and a virtual clock; `Faults` says what goes wrong.
`@simulate` runs a test in many of them, and `EverActMachine` explores one by rules. Arguments that are drawn, the
machine and `everact.testing.strategies` need Hypothesis; the rest does not.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from everact.testing.checkers import PromiseBroken as PromiseBroken
from everact.testing.checkers import differences as differences
from everact.testing.choices import Drawn as Drawn
from everact.testing.choices import Pct as Pct
from everact.testing.choices import RandomWalk as RandomWalk
from everact.testing.choices import Replay as Replay
from everact.testing.choices import StaleSchedule as StaleSchedule
from everact.testing.faults import Faults as Faults
from everact.testing.fiber import Deadlock as Deadlock
from everact.testing.fiber import Endless as Endless
from everact.testing.history import Event as Event
from everact.testing.history import History as History
from everact.testing.history import What as What
from everact.testing.hung import Hung as Hung
from everact.testing.moments import after as after
from everact.testing.moments import at as at
from everact.testing.moments import attempt as attempt
from everact.testing.moments import before as before
from everact.testing.moments import between as between
from everact.testing.moments import commit as commit
from everact.testing.moments import every as every
from everact.testing.reality import RealityCheck as RealityCheck
from everact.testing.reality import RealityDiffers as RealityDiffers
from everact.testing.reality import RealityStuck as RealityStuck
from everact.testing.report import Report as Report
from everact.testing.script import Script as Script
from everact.testing.simulated import simulate as simulate
from everact.testing.simulation import NotAtRest as NotAtRest
from everact.testing.simulation import Simulation as Simulation
from everact.testing.until import drained as drained
from everact.testing.until import idle as idle

if _TYPE_CHECKING:
    from everact.testing.machine import EverActMachine as EverActMachine


def __getattr__(name: str) -> _Any:
    """Import what needs Hypothesis when it is asked for."""
    if name == "EverActMachine":
        from everact.testing.machine import EverActMachine

        return EverActMachine
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
