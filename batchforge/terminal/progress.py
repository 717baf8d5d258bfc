"""The progress display that fits the screen and the options."""

from __future__ import annotations

from typing import Protocol, TextIO

from batchforge.events import Event
from batchforge.terminal.plain_progress import PlainProgress
from batchforge.terminal.terminal import is_live


class Progress(Protocol):
    """A listener with an end."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


def open_progress(stream: TextIO, *, quiet: bool, verbose: bool, log_format: str) -> Progress:
    """What fits the screen and the options."""
    if log_format == "json":
        from batchforge.terminal.log_format import JsonLog

        return JsonLog(stream)
    lines = PlainProgress(stream, is_quiet=quiet, is_verbose=verbose)
    if quiet or not is_live(stream):
        return lines
    from batchforge.terminal.live_progress import LiveProgress

    return LiveProgress(lines)
