"""A stand-in HTTP server for Claude's Messages and Message Batches API, with chosen times and faults."""

from batchforge.emulator.counters import Counters
from batchforge.emulator.received import Received
from batchforge.emulator.scenario import Fault, RowRule, Scenario, ScenarioError, load_scenario
from batchforge.emulator.server import EmulatorServer

__all__ = [
    "Counters",
    "EmulatorServer",
    "Fault",
    "Received",
    "RowRule",
    "Scenario",
    "ScenarioError",
    "load_scenario",
]
