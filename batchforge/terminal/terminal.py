"""What kind of screen we write to."""

from __future__ import annotations

import errno
import os
from typing import TextIO


def wants_color(stream: TextIO) -> bool:
    """Colour only on a terminal, and not where NO_COLOR (https://no-color.org) or TERM=dumb says so."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def let_go_of_closed_terminal() -> bool:
    """Whether the terminal that we write to has been closed; what is written to it from now on is lost."""
    try:
        import termios
    except ImportError:  # Windows
        return False
    closed = []
    for stream in (1, 2):
        try:
            termios.tcgetattr(stream)
        except termios.error as exc:
            closed += [stream] if exc.args[0] == errno.EIO else []
    for stream in closed:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream)
        os.close(nowhere)
    return bool(closed)


def is_live(stream: TextIO) -> bool:
    """Whether a line may be written over: on a terminal that is not a CI system's log."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
