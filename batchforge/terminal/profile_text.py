"""A profile -> a table for a terminal, or one line of the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TextIO

from batchforge.profiling import Profile, peak_memory_mb
from batchforge.terminal.log_format import write_line


def profile_lines(profile: Profile) -> Iterator[str]:
    """The stages, the dearest first, and their sums."""
    stages = profile.table()
    wall_s, cpu_s = (sum(getattr(stage, name) for stage in stages) for name in ("wall_s", "cpu_s"))
    yield f"{'stage':24}{'wall s':>10}{'CPU s':>10}{'share':>8}{'peak MB':>10}{'times':>10}"
    for stage in stages:
        share = stage.wall_s / wall_s if wall_s else 0.0
        yield (
            f"{stage.name:24}{stage.wall_s:10.3f}{stage.cpu_s:10.3f}{share:8.1%}"
            f"{stage.peak_growth_mb:+10.1f}{stage.times:10,}"
        )
    yield f"{'all':24}{wall_s:10.3f}{cpu_s:10.3f}{1:8.1%}{peak_memory_mb():10.1f}"


def log_profile(stream: TextIO, profile: Profile) -> None:
    stages = {stage.name: asdict(stage) for stage in profile.table()}
    write_line(stream, "profiled", "where the time went", {"stages": stages, "peak_mb": peak_memory_mb()})
