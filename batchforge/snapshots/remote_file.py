"""A file that lies elsewhere, and what a server may do that ends the reading of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from batchforge.errors import BatchForgeError, Location


@dataclass(frozen=True, slots=True)
class RemoteFile:
    name: str
    """As the store knows it."""
    shown_as: str
    """Its URL, without what may be secret in it."""
    etag: str | None = None
    modified: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    wait_s: float = 60.0
    """For the next bytes."""
    tries: int = 5
    pause_s: float = 0.5

    def pauses(self) -> Iterator[None]:
        """One step a try; each waits twice as long as the one before."""
        for number in range(self.tries):
            if number:
                time.sleep(self.pause_s * 2 ** (number - 1))
            yield


class Interrupted(Exception):
    """The server broke off; what was read so far may be gone on with."""


class NotThere(BatchForgeError):
    """The server knows of no such file, or shows it to nobody: asking again would not help."""


def unreadable(url: str, reason: str, location: Location | None, hint: str = "") -> BatchForgeError:
    hint = hint or "The snapshot that was there is untouched. Check the address and the network, then fetch again."
    return BatchForgeError("BF240", f"{url} cannot be read: {reason}", location=location, hint=hint)
