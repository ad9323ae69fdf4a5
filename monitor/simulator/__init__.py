"""A believable, faulty CometChat API to develop and test against. It shares no code with the monitor."""

from monitor.simulator.app import build
from monitor.simulator.backlog import populate
from monitor.simulator.faults import Fault, Faults
from monitor.simulator.play import play
from monitor.simulator.scenarios import SCENARIOS, scenario
from monitor.simulator.script import Scenario
from monitor.simulator.truth import Expect, Made
from monitor.simulator.world import Note, Options, World

__all__ = [
    "SCENARIOS",
    "Expect",
    "Fault",
    "Faults",
    "Made",
    "Note",
    "Options",
    "Scenario",
    "World",
    "build",
    "play",
    "populate",
    "scenario",
]
