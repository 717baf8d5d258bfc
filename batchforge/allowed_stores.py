"""The address of a file elsewhere -> whether this machine's owner lets a project read or write there.

Specs come from pull requests, and the credentials of the environment may open more than a project should see.
"""

from __future__ import annotations

import os
from urllib.parse import unquote

from batchforge.errors import Location, ProjectError

ALLOWED_STORES = "BATCHFORGE_ALLOWED_STORES"


def check_allowed(address: str, location: Location | None = None) -> None:
    """Everything is allowed where the variable is not set.

    Raises:
        ProjectError: BF126 it lies below none of the addresses that the environment names.
    """
    named = os.environ.get(ALLOWED_STORES)
    if named is None or is_below(address, named.split(",")):
        return
    place = "/".join(address.partition("?")[0].split("/")[:3])
    raise ProjectError(
        "BF126",
        f"The address `{address.partition('?')[0]}` is not one that this machine lets projects use.",
        hint=f"If you trust it, name it in your own environment: {ALLOWED_STORES}={place} (several with commas).",
        location=location,
    )


def is_below(address: str, allowed: list[str]) -> bool:
    """
    >>> is_below("s3://bucket/in/a.csv", ["s3://bucket/in"])
    True
    """
    plain = unquote(address)
    if any(step in (".", "..") for step in plain.replace("\\", "/").split("/")):
        return False
    places = (place.strip().rstrip("/") for place in allowed)
    return any(address == place or address.startswith(f"{place}/") for place in places if "://" in place)
