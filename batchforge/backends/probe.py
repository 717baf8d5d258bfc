"""Ask a server which models it has: a call that costs nothing, to see whether it can be reached."""

from __future__ import annotations

from itertools import islice

from batchforge.backends.base import Connection
from batchforge.backends.client import make_client, reading

_MOST_MODELS = 1_000


def list_models(connection: Connection) -> list[str]:
    """The ids, newest first.

    Raises:
        ApiError: the credentials are refused.
        BatchGone: the server is there, but has no list of models.
        Unavailable: it cannot be reached, or does not answer in time.
    """
    client = make_client(connection)
    try:
        with reading("list of models"):
            return [model.id for model in islice(client.models.list(limit=_MOST_MODELS), _MOST_MODELS)]
    finally:
        client.close()
