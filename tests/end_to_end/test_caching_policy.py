"""`cache: auto` in a small table of runs; tests/benchmarks/caching_policy.py prints the large one."""

from __future__ import annotations

from tests.benchmarks.caching_policy import measure


def test_auto_is_not_dearer_than_the_better_of_off_and_always_by_more_than_the_priming_row() -> None:
    cells = list(measure(["claude-haiku-5-5"], [200, 1_500], [2, 90]))
    assert all(cell.is_kept for cell in cells)
    primed = cells[-1]
    assert primed.usd("auto") < 0.8 * primed.usd("off")
    assert primed.usd("auto") < primed.usd("always 1h")
    assert primed.bills["auto"].cache_hits == 89
