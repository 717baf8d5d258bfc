"""A run on a terminal: a small table that is drawn over, and above it the lines that should stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from batchforge.events import Event
from batchforge.terminal.plain_progress import JobTally, PlainProgress
from batchforge.terminal.terminal import wants_color
from batchforge.terminal.terminal_text import printable
from batchforge.usd import pico, usd_words

_STAYS = frozenset({"job_planned", "job_failed", "job_skipped", "warning", "stopped"})
"""What is written above the table; all else is in it."""
_BEGINS = frozenset({"batch_submitted", "batch_progress", "results_stored", "answers_stored", "waiting"})
"""Only now is there something to watch; before, a person may be asked a question."""
_NARROW = 100


@dataclass(slots=True)
class LiveProgress:
    lines: PlainProgress
    _tallies: dict[str, JobTally] = field(default_factory=dict)
    _live: Live | None = None

    def __call__(self, event: Event) -> None:
        if event.job:
            self._tallies.setdefault(event.job, JobTally()).take(event)
        if self.lines.tells(event) and (event.name.value in _STAYS or self.lines.is_verbose):
            self._write(self.lines.line(event))
        if event.name.value in _BEGINS and self._live is None:
            self._begin()
        elif self._live is not None:
            self._live.update(self)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _begin(self) -> None:
        stream = self.lines.stream
        console = Console(file=stream, no_color=not wants_color(stream), highlight=False, markup=False, emoji=False)
        self._live = Live(self, console=console, refresh_per_second=4, transient=True)
        self._live.start()

    def _write(self, line: str) -> None:
        if self._live is None:
            self.lines.write(line)
        else:
            self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def __rich__(self) -> Any:
        """Called by the display whenever it draws, so that the time goes on."""
        columns = self._live.console.width if self._live else 80
        return Group(self._table(columns), self._foot(columns))

    def _table(self, columns: int) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("job", overflow="ellipsis", no_wrap=True, max_width=max(12, columns - 56))
        for name in ("batches", "answered", "failed", "to go", "tokens", "spent"):
            table.add_column(name, justify="right", no_wrap=True)
        for job, tally in list(self._tallies.items()):
            table.add_row(printable(job), *self._cells(tally, columns))
        return table

    def _cells(self, tally: JobTally, columns: int) -> list[Text]:
        ended, batches = tally.batches
        waiting = sum(tally.left.values())
        to_go = max(0, tally.to_send - tally.statuses.total() - tally.answers) if tally.to_send else waiting
        spent = usd_words(pico(tally.spent_usd), decimals=2)
        if columns >= _NARROW and tally.estimated_usd is not None:
            spent += f" of about {usd_words(pico(tally.estimated_usd), decimals=2)}"
        return [
            Text(f"{ended}/{batches}" if batches else "-"),
            Text(f"{tally.answered:,}", "green" if tally.answered else ""),
            Text(f"{tally.failed:,}", "red" if tally.failed else ""),
            Text(f"{to_go:,}"),
            Text(f"{short_count(tally.input_tokens)}/{short_count(tally.output_tokens)}"),
            Text(spent),
        ]

    def _foot(self, columns: int) -> Text:
        batches = sum(all_ - ended for ended, all_ in (tally.batches for tally in self._tallies.values()))
        told = next((tally.waits_for for tally in self._tallies.values() if tally.waits_for), "")
        waits = told or (f"waiting for {batches} batch{'es' if batches != 1 else ''}" if batches else "working")
        text = Text(f"{printable(waits)} · {self.lines.elapsed()}", "dim")
        text.truncate(columns, overflow="ellipsis")
        return text


def short_count(count: int) -> str:
    """
    >>> short_count(950), short_count(12_345), short_count(2_500_000)
    ('950', '12k', '2.5M')
    """
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:,.0f}k" if count < 1_000_000 else f"{count / 1e6:,.1f}M"
