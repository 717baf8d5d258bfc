"""What kind of screen we write to."""

from __future__ import annotations

import os
from typing import TextIO


def wants_color(stream: TextIO) -> bool:
    """Colour only on a terminal, and not where NO_COLOR (https://no-color.org) or TERM=dumb says so."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def is_live(stream: TextIO) -> bool:
    """Whether a line may be written over: on a terminal that is not a CI system's log."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"
