"""Everything behind the HTTP layer, put together: store, clock, batches, answers, limits, faults, log."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

from batchforge.emulator.answering import Answering
from batchforge.emulator.answers import AnswerSource
from batchforge.emulator.batch_store import BatchStore
from batchforge.emulator.clock import ServerClock
from batchforge.emulator.deciding import Deciding, DecidingThread
from batchforge.emulator.faults import Faults
from batchforge.emulator.file_store import FileStore
from batchforge.emulator.limits import RateLimits
from batchforge.emulator.other_people import add_other_batches
from batchforge.emulator.received import ReceivedLog
from batchforge.emulator.row_rules import RowRules
from batchforge.emulator.scenario import Scenario
from batchforge.emulator.store import Store

PATIENCE_S = 5.0
"""How long a poll waits for results that are due before it says that the batch is still in progress."""


class Application:
    def __init__(
        self, database: Path, scenario: Scenario, source: AnswerSource, api_keys: frozenset[str] | None
    ) -> None:
        self.scenario = scenario
        self.api_keys = api_keys
        self.store = Store(database)
        self.clock = ServerClock(self.store)
        self.organization = self.store.fact_or("organization", str(uuid.uuid4()))
        self.batches = BatchStore(self.store)
        self.files = FileStore(self.store)
        self.answering = Answering(scenario, source, self.files, self.clock)
        self.deciding = Deciding(
            self.store, self.batches, self.clock, self.answering, RowRules(scenario, self.batches.submissions)
        )
        self.background = DecidingThread(self.deciding, self.batches, self.clock, self.report)
        self.limits = RateLimits(scenario, self.store, self.clock)
        self.faults = Faults(self.store, scenario)
        self.log = ReceivedLog(self.store, self.clock)
        self.add_other_batches()

    def add_other_batches(self) -> None:
        add_other_batches(self.store, self.batches, self.scenario, self.clock.now_s())

    def report(self, error: Exception) -> None:
        """A mistake of the emulator itself: for whoever runs it."""
        logging.getLogger("batchforge.emulator").error("the emulator failed on a request", exc_info=error)

    def close(self) -> None:
        self.background.stop()
        self.store.close()
