"""What jobs cost under `cache: off`, under marks that are always set for an hour, and under `cache: auto`.

    python -m tests.benchmarks.caching_policy

Every cell is a run against an emulator of its own that caches as the API is described to: an entry can be read only
once the answer that writes it has begun, so the first rows of a cold batch all miss.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from batchforge import pipeline
from batchforge.claude_models import price_table
from batchforge.emulator import EmulatorServer, Scenario
from batchforge.results import Brought
from batchforge.running.run_options import RunOptions
from batchforge.spec import CachePolicy
from tests.builders import ProjectFiles

MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-haiku-4-5")
PREFIX_WORDS = (200, 800, 6_000)
ROWS = (2, 3, 10, 200)
POLICIES = {
    "off": CachePolicy(mode="off"),
    "always 1h": CachePolicy(mode="on", ttl="1h", prime="off"),
    "auto": CachePolicy(),
}
_SENTENCE = "Say in one sentence what the text is about and be exact. "


@dataclass(frozen=True, slots=True)
class Cell:
    model: str
    prefix_words: int
    rows: int
    bills: dict[str, Brought]
    """Policy -> what its run came to."""

    def usd(self, policy: str) -> float:
        return self.bills[policy].cost_usd

    @property
    def priming_row_usd(self) -> float:
        """What the row that goes first may cost: one request, its whole prompt written to the cache for an hour."""
        prices = price_table().prices_of(self.model)
        assert prices is not None
        usage, billed = self.bills["auto"].usage, self.bills["auto"].billed
        tier = prices.tier_for(usage.prompt_tokens // billed)
        per_row = usage.prompt_tokens * tier.cache_write_1h + usage.output_tokens * tier.output
        return float(per_row * prices.batch_multiplier) / billed / 1e6

    @property
    def is_kept(self) -> bool:
        """`auto` is not dearer than the better of the others by more than the priming row."""
        return self.usd("auto") <= min(self.usd("off"), self.usd("always 1h")) + self.priming_row_usd


def measure(models: Sequence[str], prefix_words: Sequence[int], rows: Sequence[int]) -> Iterator[Cell]:
    for model, words, count in product(models, prefix_words, rows):
        bills = {name: _bill(model, words, count, policy) for name, policy in POLICIES.items()}
        yield Cell(model, words, count, bills)


def _bill(model: str, prefix_words: int, rows: int, policy: CachePolicy) -> Brought:
    scenario = Scenario(processing_time_s=0.2, retry_after_s=None)  # rows of a wave need time to miss each other
    with tempfile.TemporaryDirectory() as folder, EmulatorServer(scenario=scenario) as emulator:
        project = ProjectFiles(Path(folder) / "project", emulator)
        project.write_prompt(_SENTENCE * (prefix_words // len(_SENTENCE.split())))
        project.write_job(model=model, thinking=None, canary="off")
        project.write_rows([f"Text number {n} about a red bicycle in the rain." for n in range(rows)])
        loaded, jobs, target = project.load()
        summary = pipeline.run(loaded, [replace(job, cache=policy) for job in jobs], target, RunOptions())
        return summary.jobs[0].brought


def main() -> None:
    print(f"{'model':20}{'prefix':>8}{'rows':>6}" + "".join(f"{name:>13}" for name in POLICIES) + "   hits of auto")
    cells = []
    for cell in measure(MODELS, PREFIX_WORDS, ROWS):
        cells.append(cell)
        costs = "".join(f"{cell.usd(name):>13.6f}" for name in POLICIES)
        hits = f"{cell.bills['auto'].cache_hit_rate or 0:>14.0%}"
        print(f"{cell.model:20}{cell.prefix_words:>8,}{cell.rows:>6,}{costs}{hits}{'' if cell.is_kept else '  DEARER'}")
    dearer = sum(not cell.is_kept for cell in cells)
    print(f"{len(cells)} cells; in {dearer} of them auto was dearer than the better one by more than the priming row")
    sys.exit(1 if dearer else 0)


if __name__ == "__main__":
    main()
